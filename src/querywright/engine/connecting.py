"""Open connections: with bounded calls, with errors of one kind, and without a leak when the caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from sqlalchemy import Dialect, Engine, event

from querywright.engine.limits import Limits
from querywright.engine.opening import AsyncPool, Openings

__all__ = ["install_connecting"]

# Opens a connection of an asynchronous driver.
Opening = Callable[..., Coroutine[Any, Any, Any]]


def install_connecting(engine: Engine, limits: Limits) -> None:
    """Decide how the connections of an engine are opened."""
    dialect = engine.dialect
    connect: Callable[..., Any] = dialect.connect
    if dialect.is_async:
        connect = partial(dialect.connect, async_creator_fn=_undisturbed(engine, _ASYNC[dialect.driver](limits)))
    elif dialect.driver == "psycopg":
        connect = _psycopg(limits)
    if dialect.driver == "asyncpg":
        _listen_for_silence(engine)

    def do_connect(_dialect: Dialect, _record: Any, arguments: Any, options: Any) -> Any:
        return _connect(dialect, partial(connect, *arguments, **options))

    event.listen(engine, "do_connect", do_connect)


def _undisturbed(engine: Engine, driver: Opening) -> Opening:
    """Open connections of a driver; the pool does it in such a way as well, but not where it replaces one."""
    openings = Openings()

    async def open_connection(*arguments: Any, **options: Any) -> Any:
        return await openings.open(driver(*arguments, **options), _close)

    def finish(disposed: Engine) -> None:
        openings.finish()
        if isinstance(disposed.pool, AsyncPool):
            disposed.pool.openings.finish()

    event.listen(engine, "engine_disposed", finish)
    return open_connection


async def _close(connection: Any) -> None:
    closed = connection.close()
    if closed is not None:
        await closed


def _asyncpg(limits: Limits) -> Opening:
    import asyncpg  # noqa: PLC0415 - an optional package

    from querywright.engine.asyncpg import bounded_class  # noqa: PLC0415 - as above

    return partial(asyncpg.connect, connection_class=bounded_class(limits))


def _psycopg(limits: Limits) -> Callable[..., Any]:
    from querywright.engine.psycopg import bounded_class  # noqa: PLC0415 - an optional package

    return bounded_class(limits).connect


def _async_psycopg(limits: Limits) -> Opening:
    from querywright.engine.psycopg import bounded_async_class  # noqa: PLC0415 - an optional package

    return bounded_async_class(limits).connect


def _aiosqlite(_limits: Limits) -> Opening:
    from querywright.engine.aiosqlite import open_connection  # noqa: PLC0415 - an optional package

    return open_connection


def _aiomysql(limits: Limits) -> Opening:
    from querywright.engine.aiomysql import opening  # noqa: PLC0415 - an optional package

    return opening(limits)


_ASYNC: dict[str, Callable[[Limits], Opening]] = {
    "asyncpg": _asyncpg,
    "psycopg": _async_psycopg,
    "aiosqlite": _aiosqlite,
    "aiomysql": _aiomysql,
}


def _listen_for_silence(engine: Engine) -> None:
    from querywright.engine.asyncpg import lose_silent_connection  # noqa: PLC0415 - an optional package

    event.listen(engine, "handle_error", lose_silent_connection)


def _connect(dialect: Any, connect: Callable[[], Any]) -> Any:
    """Connect, and report a refused or unfinished attempt as the driver's OperationalError.

    SQLAlchemy 2.0 lets asyncpg's own errors and OSError escape from here (sqlalchemy#11956, fixed in 2.1).
    """
    dbapi = dialect.loaded_dbapi
    try:
        return connect()
    except dbapi.Error:
        raise
    except (OSError, asyncio.TimeoutError) as error:
        reason = f"{type(error).__name__} while connecting"
        raise dbapi.OperationalError(reason) from error
    except Exception as error:
        state = getattr(error, "sqlstate", None)
        if state is None:
            raise
        failure = dbapi.OperationalError(f"SQLSTATE {state} while connecting")
        failure.sqlstate = failure.pgcode = state
        raise failure from error
