"""PostgreSQL: limits that the server keeps, what sessions may leave behind, what a pooler does not understand."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from sqlalchemy import URL, BigInteger, Connection, DateTime, Insert, Table, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from querywright.engine.databases.backend import Backend
from querywright.engine.databases.traces import calls, makes_temporary, names, rules
from querywright.engine.sqltext import DOUBLE, ESCAPED, PLAIN, TO_THE_END, WORD, Tokens, grammar
from querywright.settings import DatabaseSettings

__all__ = ["POSTGRESQL"]

# All of DISCARD ALL but DEALLOCATE ALL, for the drivers keep prepared statements
# (https://www.postgresql.org/docs/18/sql-discard.html).
_DISCARD = (
    "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; UNLISTEN *;"
    " SELECT pg_advisory_unlock_all(); DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES"
)
_TRANSACTION_TIMEOUT = (17,)


def _session(settings: DatabaseSettings, _url: URL) -> dict[str, Any]:
    if settings.pooler:
        # PgBouncer refuses other parameters (https://www.pgbouncer.org/config.html#ignore_startup_parameters).
        return {"application_name": settings.application_name}
    return {
        "application_name": settings.application_name,
        "statement_timeout": _milliseconds(settings.statement_timeout),
        "lock_timeout": _milliseconds(settings.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(settings.idle_in_transaction_timeout),
        "timezone": "UTC",
    }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _insert_once(table: Table) -> Insert:
    return insert(table).on_conflict_do_nothing()


def _advisory_lock(connection: Connection, key: int, wait: bool) -> bool:  # noqa: FBT001 - as the record has it
    bigint = literal(key, BigInteger())
    if wait:
        connection.execute(select(func.pg_advisory_xact_lock(bigint)))
        return True
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(bigint))))


def _limit(connection: Connection, seconds: float) -> None:
    version: Any = connection.dialect.server_version_info
    settings = ["statement_timeout"]
    if version >= _TRANSACTION_TIMEOUT:
        settings.append("transaction_timeout")
    value = f"{max(1, round(seconds * 1000))}ms"
    # The third argument: for this transaction only, as with SET LOCAL.
    set_each = ", ".join(f"set_config('{name}', '{value}', true)" for name in settings)
    connection.exec_driver_sql(f"SELECT {set_each}")


def _clock(connection: Connection) -> dt.datetime:
    # Leases would overlap if each relay trusted the clock of its own machine.
    now: dt.datetime = connection.execute(select(func.clock_timestamp(type_=DateTime(timezone=True)))).scalar_one()
    return now.astimezone(dt.timezone.utc)


def _changes(tokens: Tokens) -> bool:
    first, second = tokens[0], (*tokens, "")[1]
    if first in {"set", "prepare"}:
        return second not in ({"local", "transaction", "constraints"} if first == "set" else {"transaction"})
    if first == "declare" and "hold" in tokens:
        return True
    # UPDATE of this view is SET.
    if "update" in tokens and "pg_settings" in names(tokens):
        return True
    return makes_temporary(tokens) or any(map(_is_for_the_session, calls(tokens, "set_config")))


def _is_for_the_session(arguments: Tokens) -> bool:
    """Return whether set_config() sets for the session; a third argument that is true makes it SET LOCAL."""
    return arguments[-2:] != [",", "true"]


def _outlasts(tokens: Tokens) -> bool:
    """Return whether a statement is known to change what its transaction does not take back."""
    if ("on", "commit", "drop") in zip(tokens, tokens[1:], tokens[2:], strict=False):
        return False
    known = tokens[0] in _OUTLASTING or _changes(tokens)
    return known or any(map(_OUTLASTING_CALLS.fullmatch, names(tokens)))


_OUTLASTING = frozenset({"listen", "load"})
_OUTLASTING_CALLS = re.compile(r"pg_(?:try_)?advisory_lock\w*|setseed")
_RULES = rules(
    grammar(rf"[eE]{ESCAPED}|{PLAIN}|\$(?P<tag>(?:{WORD})?)\$.*?\$(?P=tag)\$", DOUBLE, TO_THE_END, nests=True),
    "merge table show notify truncate comment grant revoke copy vacuum reindex cluster refresh checkpoint fetch"
    " move close lock start end abort security reassign import declare set prepare",
    r"pg_temp\w*|pg_(?:try_)?advisory_lock\w*|dblink\w*|setseed|execute",
    _changes,
    also_ends=lambda tokens: tokens[:2] == ["prepare", "transaction"],
    outlasts=_outlasts,
)

POSTGRESQL = Backend(
    "postgresql",
    rules=_RULES,
    takes_pooler=True,
    has_standbys=True,
    has_transaction_status=True,
    session=_session,
    autocommit={"isolation_level": "AUTOCOMMIT"},
    read_only={"postgresql_readonly": True},
    deferrable={"postgresql_deferrable": True},
    isolation="isolation_level",
    reset=_DISCARD,
    explain=("EXPLAIN", "EXPLAIN (ANALYZE, BUFFERS)"),
    insert_once=_insert_once,
    advisory_lock=_advisory_lock,
    limit=_limit,
    clock=_clock,
)
