"""Find out what became of a COMMIT whose answer was lost, by asking PostgreSQL for the transaction's status.

https://www.postgresql.org/docs/18/functions-info.html#FUNCTIONS-PG-SNAPSHOT: ``pg_xact_status``.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from querywright.engine.databases.errors import is_connection_loss, sqlstate_of
from querywright.engine.databases.lookup import backend_named, backend_of

__all__ = ["Outcome", "Receipt", "find_outcome", "is_answer", "take_receipt"]


class Outcome(Enum):
    """What became of a COMMIT."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Receipt:
    """What identifies a transaction after its connection is gone.

    Attributes:
        transaction: PostgreSQL's number of it; ``None`` if it has written nothing.
        remote: Whether it may have written on other servers, which leaves no trace here: through foreign tables
            (postgres_fdw commits there before it does here) or Citus.
        timeline: The history it belongs to. A standby that was promoted begins another one: it may lack the
            transaction, and give its number to another.
        crash: When the server last came up from a crash, which may do the same: the number of a transaction is not
            yet on disk while it runs.
    """

    transaction: str | None
    remote: bool
    timeline: str | None
    crash: str | None


# A standby has no such position, and nothing to commit.
_TIMELINE = "CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END"
_REMOTE = (
    "NOT pg_is_in_recovery() AND (EXISTS (SELECT FROM pg_catalog.pg_foreign_server)"
    " OR EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus'))"
)
# A crash, and nothing else that happens by itself, begins the statistics anew (PostgreSQL manual, 27.2).
_CRASH = "pg_stat_get_bgwriter_stat_reset_time()::text"
# A transaction that writes on other servers only has no number here, unless it is asked for one.
_NUMBER = f"CASE WHEN {_REMOTE} THEN pg_current_xact_id() ELSE pg_current_xact_id_if_assigned() END"
_TAKE = f"SELECT ({_NUMBER})::text, {_REMOTE}, {_TIMELINE}, {_CRASH}"
_STATUS = "SELECT pg_xact_status('{}'::xid8)"
# statement_completion_unknown, transaction_resolution_unknown
_OPEN = frozenset({"40003", "08007"})
# "transaction ID is in the future"
_FUTURE = "22023"
# How long the server is asked, and how often: it may be starting again, or the COMMIT still running.
_SECONDS = 10.0
_PAUSE = 0.2


def take_receipt(connection: Connection) -> Receipt | None:
    """Ask for the number of the open transaction, in one round trip; ``None`` where a database has none."""
    if not backend_of(connection.dialect).has_transaction_status:
        return None
    return Receipt(*connection.exec_driver_sql(_TAKE).one())


def is_answer(error: BaseException, database: str) -> bool:
    """Return whether a failed COMMIT was refused by the database, rather than left without an answer.

    Args:
        error: What the COMMIT failed with.
        database: The name of the database.
    """
    if not isinstance(error, DBAPIError):
        # Of our own kind, raised before anything was sent; all else comes from the network or a timer.
        return not isinstance(error, (OSError, asyncio.TimeoutError))
    if backend_named(database).is_local:
        return True
    state = sqlstate_of(error.orig) or ""
    if not state or state in _OPEN:
        return False
    # Class 40 is a rollback, although drivers may have given up the connection with it.
    return state.startswith("40") or not is_connection_loss(error)


def find_outcome(engine: Engine, receipt: Receipt | None) -> Outcome:
    """Ask until there is an answer, for at most ten seconds.

    Args:
        engine: Where new connections to the same server come from.
        receipt: What was taken before the COMMIT; without one nothing can be found out.
    """
    if receipt is None:
        return Outcome.UNKNOWN
    if receipt.transaction is None:
        # Nothing was written: as good as rolled back, and safe to run again.
        return Outcome.ABORTED
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        try:
            status = _status(engine, receipt)
        except (SQLAlchemyError, OSError, asyncio.TimeoutError):
            status = "in progress"
        if status != "in progress":
            return {"committed": Outcome.COMMITTED, "aborted": Outcome.ABORTED}.get(status or "", Outcome.UNKNOWN)
        _pause(random.uniform(0, _PAUSE))  # noqa: S311 - it spreads load
    return Outcome.UNKNOWN


def _status(engine: Engine, receipt: Receipt) -> str | None:
    with engine.connect() as connection:
        if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
            return "in progress"
        timeline, crash = connection.exec_driver_sql(f"SELECT {_TIMELINE}, {_CRASH}").one()
        if timeline != receipt.timeline:
            return None
        try:
            status: str | None = connection.exec_driver_sql(_STATUS.format(int(receipt.transaction or 0))).scalar_one()
        except DBAPIError as error:
            if sqlstate_of(error.orig) != _FUTURE:
                raise
            # The crash has taken even the number back.
            status = "aborted"
        if crash == receipt.crash:
            return status
        # After a crash another transaction may bear the number; one that was aborted proves that this one was too, but
        # not that nothing was committed elsewhere.
        return None if status == "committed" or receipt.remote else status


def _pause(seconds: float) -> None:
    if in_greenlet():
        await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)
