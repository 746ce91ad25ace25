"""The connection pool: test what has been idle before handing it out, and say what the pool looks like."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, QueuePool, event
from sqlalchemy.exc import DisconnectionError

__all__ = [
    "PoolSnapshot",
    "cut",
    "dispose",
    "install_ping",
    "is_closed",
    "known_closed",
    "pool_snapshot",
    "run_quickly",
]

_USED = "querywright_used"


@dataclass(frozen=True)
class PoolSnapshot:
    """What a pool holds at one moment.

    Attributes:
        size: Connections the pool keeps open.
        checked_out: Connections in use.
        idle: Connections open and free.
        overflow: Connections open above ``size``.
    """

    size: int
    checked_out: int
    idle: int
    overflow: int


def pool_snapshot(engine: Engine) -> PoolSnapshot:
    """Count the connections of an engine's pool, without taking one.

    Example:
        >>> from querywright import Database
        >>> with Database("sqlite+pysqlite:///:memory:") as db:
        ...     pool_snapshot(db.engine).checked_out
        0
    """
    pool = engine.pool
    if not isinstance(pool, QueuePool):
        return PoolSnapshot(size=1, checked_out=0, idle=1, overflow=0)
    return PoolSnapshot(
        size=pool.size(),
        checked_out=pool.checkedout(),
        idle=pool.checkedin(),
        overflow=max(pool.overflow(), 0),
    )


def is_closed(connection: Connection) -> bool:
    """Return whether a connection is known to be closed, by the driver or by the server; needs no round trip."""
    if connection.invalidated:
        return True
    lent = connection.connection.dbapi_connection
    return known_closed(connection.dialect, lent) or _server_has_left(connection.dialect, lent)


def known_closed(dialect: Dialect, connection: Any) -> bool:
    """Return the same of what the pool lends."""
    check = _IS_CLOSED.get(dialect.driver)
    return check is not None and check(connection)


def _server_has_left(dialect: Dialect, lent: Any) -> bool:
    """Return whether the server has closed the connection, which drivers see when they, or their event loop, next read.

    More than that there is something to read: a server may send a notice at any time.
    """
    file_of = _FILE_OF.get(dialect.driver)
    if file_of is None or not _HUNG_UP:
        return False
    poll = select.poll()
    poll.register(file_of(getattr(lent, "driver_connection", lent)), _HUNG_UP)
    return bool(poll.poll(0))


def cut(connection: Connection) -> None:
    """Close the socket of a connection that someone else is waiting on; a goodbye would get into their answer."""
    end = _CUT.get(connection.dialect.driver)
    if end is not None and not connection.closed and not connection.invalidated:
        end(connection.connection.driver_connection)


def dispose(engine: Engine) -> None:
    """Close the idle connections now, and those in use when they come back.

    SQLAlchemy's own ``dispose()`` forgets the latter: they return to the pool that it has replaced, and stay open
    there until they are garbage. It closes before it replaces, so that of two at once one replaces what the other has
    just made, and is in use.
    """
    replaced = engine.pool
    engine.dispose(close=False)
    if isinstance(replaced, QueuePool):
        # Not before: the new pool would inherit the listener.
        event.listen(replaced, "checkin", _close)
    replaced.dispose()


def _close(_connection: Any, record: Any) -> None:
    record.invalidate()


def install_ping(engine: Engine, *, after_idle: float) -> None:
    """Test a connection at checkout if its last use began more than ``after_idle`` seconds ago.

    SQLAlchemy's own pre-ping tests at every checkout: one to three round trips, more than a fast query costs; and it
    waits for the answer as long as for that of any statement.
    """
    dialect = engine.dialect
    ping = partial(run_quickly, command="SELECT 1") if dialect.name == "postgresql" else dialect.do_ping

    def checked_out(connection: Any, record: Any, _proxy: Any) -> None:
        now = time.monotonic()
        used = record.info.get(_USED)
        record.info[_USED] = now
        if used is not None and (
            known_closed(dialect, connection) or (now - used > after_idle and not answers(connection))
        ):
            # The pool throws the connection away and opens another.
            raise DisconnectionError

    def answers(connection: Any) -> bool:
        try:
            ping(connection)
        except Exception:  # noqa: BLE001 - drivers have many words for it
            return False
        return True

    event.listen(engine.pool, "checkout", checked_out)


def run_quickly(connection: Any, command: str) -> None:
    """Run what never takes long, in one round trip and within the limit for connecting (PostgreSQL).

    Args:
        connection: What SQLAlchemy's pool lends: the driver's connection, or the adapter around an asynchronous one.
        command: The SQL, outside of a transaction.
    """
    if hasattr(connection, "run_async"):
        connection.run_async(lambda driver: driver.quickly(command))
    else:
        connection.quickly(command)


def _is_closed_asyncpg(connection: Any) -> bool:
    # asyncpg notices a closed socket by itself, so this needs no round trip.
    driver = connection.driver_connection
    return bool(driver.is_closed() or _is_of_other_loop(driver))


def _is_of_other_loop(driver: Any) -> bool:
    # An engine of the application's own has the driver's plain connections.
    return hasattr(driver, "is_of_other_loop") and bool(driver.is_of_other_loop())


def _is_closed_psycopg(connection: Any) -> bool:
    return bool(getattr(connection, "driver_connection", connection).closed)


def _is_closed_pymysql(connection: Any) -> bool:
    return not connection.open


def _is_closed_aiomysql(connection: Any) -> bool:
    driver = connection.driver_connection
    return bool(driver.closed or _is_of_other_loop(driver))


_IS_CLOSED = {
    "asyncpg": _is_closed_asyncpg,
    "psycopg": _is_closed_psycopg,
    "pymysql": _is_closed_pymysql,
    "aiomysql": _is_closed_aiomysql,
}

# Linux tells of it even where something is left to read (poll(2)).
_HUNG_UP = getattr(select, "POLLRDHUP", 0)
_FILE_OF: dict[str, Callable[[Any], int]] = {
    "asyncpg": lambda driver: driver._transport.get_extra_info("socket").fileno(),  # noqa: SLF001 - nothing public
    "psycopg": lambda driver: driver.pgconn.socket,
    "pymysql": lambda driver: driver._sock.fileno(),  # noqa: SLF001 - nothing public
    "aiomysql": lambda driver: driver._writer.transport.get_extra_info("socket").fileno(),  # noqa: SLF001 - nothing public
}

_CUT: dict[str, Callable[[Any], object]] = {
    "asyncpg": lambda driver: driver.terminate(),
    "psycopg": lambda driver: driver.pgconn.finish(),
}
