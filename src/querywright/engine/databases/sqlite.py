"""SQLite keeps its promises: real transactions, enforced foreign keys, readers beside a writer."""

from __future__ import annotations

import datetime as dt
import re
import sqlite3
import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, Insert, Table, event
from sqlalchemy.dialects.sqlite import insert

from querywright.engine.databases.backend import BEGUN, Backend, Lift
from querywright.engine.databases.memory import CONNECT_ARGUMENTS, install_memory, is_memory
from querywright.engine.databases.traces import makes_temporary, names, rules
from querywright.engine.drivers.lookup import driver_for
from querywright.engine.sqltext import DOUBLE, PLAIN, TO_THE_END, Tokens, grammar
from querywright.settings import DatabaseSettings

__all__ = ["BEGIN_WRITING", "SQLITE", "sqlite_sqlstate"]

# Execution options that say how a transaction of this connection begins.
_AUTOCOMMIT = "querywright_autocommit"
_READ_ONLY = "querywright_read_only"

_QUERY_ONLY = "querywright_query_only"
# Waits for other writers, and takes the lock that a COMMIT needs.
BEGIN_WRITING = "BEGIN IMMEDIATE"
# Steps of SQLite's virtual machine between two looks at the clock: some hundred microseconds.
_STEPS = 10_000

# It names the constraint's kind only in its message on Python 3.10 (sqlite_errorname is 3.11).
_MESSAGES = {
    "UNIQUE constraint failed": "23505",
    "FOREIGN KEY constraint failed": "23503",
    "NOT NULL constraint failed": "23502",
    "CHECK constraint failed": "23514",
    "database is locked": "55P03",
    "database table is locked": "55P03",
    "unable to open database file": "08001",
    "interrupted": "57014",
    "database or disk is full": "53100",
    "attempt to write a readonly database": "25006",
    "disk I/O error": "58030",
    "too many SQL variables": "54023",
    "Expression tree is too large": "54001",
    "string or blob too big": "54000",
    "LIKE or GLOB pattern too complex": "54001",
    "integer overflow": "22003",
    "datatype mismatch": "22000",
    "JSON path error": "22023",
    "bad JSON path": "22023",
    "fts5: ": "2201B",
    "unterminated string": "2201B",
    "unknown special query": "2201B",
    "malformed MATCH expression": "2201B",
    'expected integer, got "': "2201B",
    "argument of ntile": "22014",
    "second argument to nth_value": "22016",
}


def sqlite_sqlstate(message: str) -> str | None:
    """Find the SQLSTATE that an error would have elsewhere, by its message; ``None`` if it is not known."""
    return next((code for start, code in _MESSAGES.items() if message.startswith(start)), None)


def _session(settings: DatabaseSettings, url: URL) -> dict[str, Any]:
    return {"timeout": settings.busy_timeout, **(CONNECT_ARGUMENTS if is_memory(url) else {})}


def _install(engine: Engine) -> None:
    """Set the pragmas of every new connection and begin transactions explicitly."""
    if is_memory(engine.url):
        install_memory(engine)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)


def _install_adopted(engine: Engine, *, others: bool) -> None:
    """Begin transactions explicitly, whatever the pragmas of a connection.

    Args:
        engine: The engine.
        others: Whether others listen, who may begin by hand, as SQLAlchemy's guide tells: twice is an error, and they
            are called after us. Then `_begin_late` does it.
    """
    event.listen(engine, "begin", _leave_to_others if others else _begin)


def _begin_late(connection: Connection) -> None:
    """Begin a transaction that has been left to others, unless one of them has."""
    if connection.info.get(BEGUN) is not False:
        return
    if getattr(connection.connection.driver_connection, "in_transaction", False):
        _set_query_only(connection)
        connection.info[BEGUN] = True
    else:
        _begin(connection)


def _leave_to_others(connection: Connection) -> None:
    connection.info[BEGUN] = None if connection.get_execution_options().get(_AUTOCOMMIT) else False


def _configure(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN skips SELECT, DDL and SAVEPOINT; ours does not
    # (https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#pysqlite-serializable).
    connection.isolation_level = None
    cursor = connection.cursor()
    _write_ahead(cursor)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Let readers and a writer work side by side.

    The first connections of a new file change its mode all at once, and whoever comes second is told at once that the
    file is locked, whatever the busy timeout (https://www.sqlite.org/wal.html). A BEGIN does wait for the first.

    Raises:
        sqlite3.OperationalError: The file was locked for longer than the busy timeout.
    """
    deadline = None
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            deadline = deadline or time.monotonic() + _busy_timeout(cursor)
            if time.monotonic() > deadline:
                raise
        else:
            return
        cursor.execute(BEGIN_WRITING)
        cursor.execute("ROLLBACK")


def _busy_timeout(cursor: Any) -> float:
    cursor.execute("PRAGMA busy_timeout")
    [milliseconds] = cursor.fetchone()
    return float(milliseconds) / 1000


def _begin(connection: Connection) -> None:
    """Begin as a writer, unless the connection's options say that it only reads.

    A deferred transaction that has read and then writes fails at once with SQLITE_BUSY_SNAPSHOT when another
    writer committed in between, whatever the busy timeout (https://www.sqlite.org/isolation.html).
    """
    options = connection.get_execution_options()
    if options.get(_AUTOCOMMIT):
        connection.info[BEGUN] = None
        return
    driver_for(connection.dialect).require_transactions(connection.connection.dbapi_connection)
    _set_query_only(connection)
    connection.exec_driver_sql("BEGIN" if options.get(_READ_ONLY) else BEGIN_WRITING)
    connection.info[BEGUN] = True


def _set_query_only(connection: Connection) -> None:
    read_only = bool(connection.get_execution_options().get(_READ_ONLY))
    if connection.info.get(_QUERY_ONLY, False) != read_only:
        # Nobody knows it of a connection whose user was cancelled here.
        connection.info[_QUERY_ONLY] = None
        # In this spelling it counts as ours, see changes.py.
        connection.exec_driver_sql(f"PRAGMA query_only({int(read_only)})")
        connection.info[_QUERY_ONLY] = read_only


def _insert_once(table: Table) -> Insert:
    return insert(table).on_conflict_do_nothing()


def _advisory_lock(connection: Connection, _key: int, _wait: bool) -> bool:  # noqa: FBT001 - as the record has it
    """Do nothing: writing transactions follow each other already."""
    SQLITE.require_writing(connection)
    return True


def _limit(connection: Connection, seconds: float) -> Lift:
    until: float | None = time.monotonic() + seconds

    def too_late() -> int:
        return int(until is not None and time.monotonic() > until)

    def lift() -> None:
        # The handler stays with the connection, and from now on lets everything pass.
        nonlocal until
        until = None

    adapted: Any = connection.connection.dbapi_connection
    if hasattr(adapted, "run_async"):
        adapted.run_async(lambda driver: driver.set_progress_handler(too_late, _STEPS))
    else:
        adapted.set_progress_handler(too_late, _STEPS)
    return lift


def _clock(_connection: Connection) -> dt.datetime:
    # All who use a file are on one machine.
    return dt.datetime.now(dt.timezone.utc)


_TELLING = re.compile(r"(?:info|list|check|checkpoint|optimize|vacuum)$")


def _changes(tokens: Tokens) -> bool:
    if tokens[0] == "pragma":
        # Those that only tell something change nothing; query_only(1) is our own, and is taken back by us.
        name, *value = tokens[3:] if tokens[2:3] == ["."] else tokens[1:]
        ours = name == "query_only" and value[:1] == ["("]
        return bool(value) and not ours and _TELLING.search(name) is None
    in_temp = ("temp", ".") in zip(names(tokens), tokens[1:], strict=False)
    return makes_temporary(tokens) or (tokens[0] == "create" and in_temp)


SQLITE = Backend(
    "sqlite",
    rules=rules(
        grammar(PLAIN, rf"{DOUBLE}|`(?:[^`]|``)*`|\[[^\]]*\]", TO_THE_END, nests=False),
        "replace reindex vacuum end pragma",
        "load_extension",
        _changes,
    ),
    is_local=True,
    is_in_memory=is_memory,
    session=_session,
    install=_install,
    install_adopted=_install_adopted,
    begin_late=_begin_late,
    autocommit={_AUTOCOMMIT: True},
    read_only={_READ_ONLY: True},
    explain=("EXPLAIN QUERY PLAN", "EXPLAIN QUERY PLAN"),
    insert_once=_insert_once,
    advisory_lock=_advisory_lock,
    limit=_limit,
    clock=_clock,
)
