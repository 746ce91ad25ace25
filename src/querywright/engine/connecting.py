"""Open connections: with bounded calls, TLS, errors of one kind, and without a leak when the caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from sqlalchemy import URL, Dialect, Engine, event
from sqlalchemy.exc import DBAPIError

from querywright.engine.diagnostics import diagnose
from querywright.engine.drivers.lookup import driver_for
from querywright.engine.limits import Limits
from querywright.engine.pool.opening import Openings
from querywright.engine.tls import Tls

__all__ = ["install_connecting"]

# Opens a connection of an asynchronous driver.
Opening = Callable[..., Coroutine[Any, Any, Any]]


def install_connecting(engine: Engine, limits: Limits, tls: Tls) -> None:
    """Decide how the connections of an engine are opened."""
    dialect, driver = engine.dialect, driver_for(engine.dialect)
    connect: Callable[..., Any] = driver.opening(dialect, limits, tls)
    if dialect.is_async:
        connect = partial(dialect.connect, async_creator_fn=_undisturbed(engine, connect))
    driver.install(engine)
    where = _host_of(engine.url)

    def do_connect(_dialect: Dialect, _record: Any, arguments: Any, options: Any) -> Any:
        # What connect_args say of TLS wins.
        return _connect(dialect, lambda: connect(*arguments, **{**driver.tls_arguments(tls), **options}), where)

    event.listen(engine, "do_connect", do_connect)


def _undisturbed(engine: Engine, driver: Opening) -> Opening:
    """Open connections of a driver; the pool does it in such a way as well, but not where it replaces one."""
    pool: Any = engine.pool
    openings: Openings = pool.openings

    async def open_connection(*arguments: Any, **options: Any) -> Any:
        return await openings.open(driver(*arguments, **options), _close)

    event.listen(engine, "engine_disposed", lambda _: openings.finish())
    return open_connection


async def _close(connection: Any) -> None:
    closed = connection.close()
    if closed is not None:
        await closed


def _host_of(url: URL) -> str:
    """Return the host that a URL leads to, or the file."""
    several = ", ".join(url.normalized_query.get("host", ()))
    return several or (f"{url.host}:{url.port}" if url.port else str(url.host or url.database))


def _connect(dialect: Any, connect: Callable[[], Any], where: str) -> Any:
    """Connect, and report an attempt that came to nothing as the driver's own error.

    SQLAlchemy 2.0 lets asyncpg's errors and OSError escape from here (sqlalchemy#11956, fixed in 2.1).
    """
    try:
        return connect()
    except Exception as error:
        failure = _failure(dialect.loaded_dbapi, error, where)
        if failure is None:
            raise
        raise failure from error


def _failure(dbapi: Any, error: Exception, where: str) -> Exception | None:
    """Make an OperationalError of what is none; ``None`` if the error is one already, or no driver's."""
    # Where no host is a primary, for example: 2.1 translates it, but not into a failure to connect.
    internal = getattr(dbapi, "InternalClientError", ())
    state = getattr(error, "sqlstate", None)
    # 2.1 makes a ProgrammingError of a role without a right to the database.
    is_known = isinstance(error, dbapi.Error) and not isinstance(error, internal)
    if is_known and (state is None or isinstance(error, dbapi.OperationalError)):
        return None
    if state is not None:
        told = diagnose(DBAPIError(None, None, error))
        failure: Exception = dbapi.OperationalError(f"{told} while connecting")
        failure.sqlstate = failure.pgcode = state  # type: ignore[attr-defined] # where SQLAlchemy keeps it
        return failure
    is_drivers = isinstance(error, internal) or type(error).__module__.startswith("asyncpg.")
    if is_drivers or isinstance(error, (OSError, asyncio.TimeoutError)):
        reason = f"{type(error).__name__} while connecting to {where}"
        return dbapi.OperationalError(reason)  # type: ignore[no-any-return]
    return None
