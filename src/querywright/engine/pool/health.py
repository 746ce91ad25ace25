"""The connection pool: test what has been idle before handing it out, and say what the pool looks like."""

from __future__ import annotations

import select
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, event
from sqlalchemy.exc import DisconnectionError

from querywright.engine.drivers.driver import Driver
from querywright.engine.drivers.lookup import driver_for

__all__ = ["PoolSnapshot", "cut", "dispose", "install_ping", "is_closed", "pool_snapshot"]

_USED = "querywright_used"
# Linux tells of it even where something is left to read (poll(2)).
_HUNG_UP = getattr(select, "POLLRDHUP", 0)


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
    driver, lent = driver_for(connection.dialect), connection.connection.dbapi_connection
    return driver.is_closed(lent) or _server_has_left(driver, lent)


def _server_has_left(driver: Driver, lent: Any) -> bool:
    """Return whether the server has closed the connection, which drivers see when they, or their event loop, next read.

    More than that there is something to read: a server may send a notice at any time.
    """
    number = driver.socket_of(lent) if _HUNG_UP else None
    if number is None:
        return False
    poll = select.poll()
    poll.register(number, _HUNG_UP)
    return bool(poll.poll(0))


def cut(connection: Connection) -> None:
    """Close the socket of a connection that someone else is waiting on; a goodbye would get into their answer."""
    if not connection.closed and not connection.invalidated:
        driver_for(connection.dialect).cut(connection.connection.dbapi_connection)


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
    dialect, driver = engine.dialect, driver_for(engine.dialect)

    def checked_out(connection: Any, record: Any, _proxy: Any) -> None:
        now = time.monotonic()
        used = record.info.get(_USED)
        record.info[_USED] = now
        if used is not None and (driver.is_closed(connection) or (now - used > after_idle and not answers(connection))):
            # The pool throws the connection away and opens another.
            raise DisconnectionError

    def answers(connection: Any) -> bool:
        try:
            driver.ping(dialect, connection)
        except Exception:  # noqa: BLE001 - drivers have many words for it
            return False
        return True

    event.listen(engine.pool, "checkout", checked_out)
