"""Make SQLite keep its promises: real transactions, enforced foreign keys, readers beside a writer."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine, event

from querywright.engine.drivers.state import require_transactions

__all__ = [
    "AUTOCOMMIT", "BEGIN_WRITING", "BEGUN", "READ_ONLY", "SQLiteConnection", "begin_late", "install_sqlite",
    "install_sqlite_begin",
]  # fmt: skip

# Execution options that say how a transaction of this connection begins.
AUTOCOMMIT = "querywright_autocommit"
READ_ONLY = "querywright_read_only"

_QUERY_ONLY = "querywright_query_only"
# Whether the transaction of a connection has begun; None where there is to be none.
BEGUN = "querywright_begun"
# Waits for other writers, and takes the lock that a COMMIT needs.
BEGIN_WRITING = "BEGIN IMMEDIATE"


class SQLiteConnection(sqlite3.Connection):
    """A connection that ends its transaction when it is closed.

    SQLite keeps a closed connection, and its locks, until the last of its cursors is gone
    (https://www.sqlite.org/c3ref/close.html), and the traceback of a cancelled task holds one.
    """

    def close(self) -> None:
        """Roll back and close."""
        with suppress(sqlite3.Error):
            self.rollback()
        super().close()


def install_sqlite(engine: Engine) -> None:
    """Set the pragmas of every new connection and begin transactions explicitly."""
    event.listen(engine, "connect", _configure)
    install_sqlite_begin(engine)


def install_sqlite_begin(engine: Engine, *, late: bool = False) -> None:
    """Begin transactions explicitly, whatever the pragmas of a connection.

    Args:
        engine: The engine.
        late: Whether others listen, who may begin by hand, as SQLAlchemy's guide tells: twice is an error, and they are
            called after us. Then `begin_late` does it.
    """
    event.listen(engine, "begin", _leave_to_others if late else _begin)


def begin_late(connection: Connection) -> None:
    """Begin a transaction that has been left to others, unless one of them has."""
    if connection.info.get(BEGUN) is not False:
        return
    if getattr(connection.connection.driver_connection, "in_transaction", False):
        _set_query_only(connection)
        connection.info[BEGUN] = True
    else:
        _begin(connection)


def _leave_to_others(connection: Connection) -> None:
    connection.info[BEGUN] = None if connection.get_execution_options().get(AUTOCOMMIT) else False


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
    if options.get(AUTOCOMMIT):
        connection.info[BEGUN] = None
        return
    require_transactions(connection.dialect, connection.connection.dbapi_connection)
    _set_query_only(connection)
    connection.exec_driver_sql("BEGIN" if options.get(READ_ONLY) else BEGIN_WRITING)
    connection.info[BEGUN] = True


def _set_query_only(connection: Connection) -> None:
    read_only = bool(connection.get_execution_options().get(READ_ONLY))
    if connection.info.get(_QUERY_ONLY, False) != read_only:
        # Nobody knows it of a connection whose user was cancelled here.
        connection.info[_QUERY_ONLY] = None
        # In this spelling it counts as ours, see changes.py.
        connection.exec_driver_sql(f"PRAGMA query_only({int(read_only)})")
        connection.info[_QUERY_ONLY] = read_only
