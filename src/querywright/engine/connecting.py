"""Open connections: with bounded calls, with errors of one kind, and without a leak when the caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import URL, Dialect, Engine, event
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.util import await_only

from querywright.engine.limits import Limits

__all__ = ["install_connecting"]

# Opens a connection of an asynchronous driver.
Opening = Callable[..., Coroutine[Any, Any, Any]]


def install_connecting(engine: Engine, limits: Limits) -> None:
    """Decide how the connections of an engine are opened."""
    dialect = engine.dialect
    connect: Callable[..., Any] = dialect.connect
    if dialect.is_async:
        openings = _Openings(_ASYNC[dialect.driver](limits))
        connect = partial(dialect.connect, async_creator_fn=openings.open)
        event.listen(engine, "engine_disposed", openings.finish)
    elif dialect.driver == "psycopg":
        connect = _psycopg(limits)
    if dialect.driver == "asyncpg":
        _listen_for_silence(engine)

    where = _host_of(engine.url)

    def do_connect(_dialect: Dialect, _record: Any, arguments: Any, options: Any) -> Any:
        return _connect(dialect, partial(connect, *arguments, **options), where)

    event.listen(engine, "do_connect", do_connect)


class _Openings:
    """Open each connection in a task of its own, which a cancellation of the caller does not reach.

    asyncpg and aiosqlite lose a half-open connection, and aiosqlite its thread with it, when they are cancelled in
    the middle (aiosqlite#259). So the task goes on, within the limit for connecting, and closes what it has opened.
    """

    def __init__(self, driver: Opening) -> None:
        self._driver = driver
        self._abandoned: set[asyncio.Task[Any]] = set()

    async def open(self, *arguments: Any, **options: Any) -> Any:
        """Open a connection of the driver."""
        task = asyncio.ensure_future(self._driver(*arguments, **options))
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            closing = asyncio.ensure_future(_close_when_open(task))
            self._abandoned.add(closing)
            closing.add_done_callback(self._abandoned.discard)
            raise
        return task.result()

    def finish(self, _engine: Engine) -> None:
        """Wait for what was abandoned, if this is a place to wait in."""
        with suppress(RuntimeError, MissingGreenlet):
            loop = asyncio.get_running_loop()
            if mine := {task for task in self._abandoned if task.get_loop() is loop}:
                await_only(asyncio.wait(mine))


async def _close_when_open(task: asyncio.Task[Any]) -> None:
    with suppress(Exception):
        connection = await task
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


def _host_of(url: URL) -> str:
    """Say where a URL leads to."""
    several = ", ".join(url.normalized_query.get("host", ()))
    return several or (f"{url.host}:{url.port}" if url.port else str(url.host or url.database))


def _connect(dialect: Any, connect: Callable[[], Any], where: str) -> Any:
    """Connect, and report a refused or unfinished attempt as the driver's OperationalError.

    SQLAlchemy 2.0 lets asyncpg's own errors and OSError escape from here (sqlalchemy#11956, fixed in 2.1).
    """
    dbapi = dialect.loaded_dbapi
    try:
        return connect()
    except dbapi.Error:
        raise
    except (OSError, asyncio.TimeoutError) as error:
        reason = f"{type(error).__name__} while connecting to {where}"
        raise dbapi.OperationalError(reason) from error
    except Exception as error:
        state = getattr(error, "sqlstate", None)
        if state is None:
            raise
        failure = dbapi.OperationalError(f"SQLSTATE {state} while connecting")
        failure.sqlstate = failure.pgcode = state
        raise failure from error
