"""Open connections: with bounded calls, TLS, errors of one kind, and without a leak when the caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from sqlalchemy import URL, Dialect, Engine, event

from querywright.engine.databases.mysql import tls_arguments
from querywright.engine.databases.postgresql import asyncpg_tls_arguments, psycopg_tls_arguments
from querywright.engine.limits import Limits
from querywright.engine.pool.opening import Openings
from querywright.engine.tls import Tls

__all__ = ["install_connecting"]

# Opens a connection of an asynchronous driver.
Opening = Callable[..., Coroutine[Any, Any, Any]]


def install_connecting(engine: Engine, limits: Limits, tls: Tls) -> None:
    """Decide how the connections of an engine are opened."""
    dialect = engine.dialect
    connect: Callable[..., Any] = dialect.connect
    if dialect.is_async:
        connect = partial(dialect.connect, async_creator_fn=_undisturbed(engine, _ASYNC[dialect.driver](limits, tls)))
    elif dialect.driver in _SYNC:
        connect = _SYNC[dialect.driver](limits, tls)
    secure = _TLS_ARGUMENTS.get(dialect.driver, _no_arguments)
    if dialect.driver == "asyncpg":
        _translate_asyncpg(engine)
    elif dialect.driver == "psycopg":
        _adapt_psycopg(engine)

    where = _host_of(engine.url)

    def do_connect(_dialect: Dialect, _record: Any, arguments: Any, options: Any) -> Any:
        # What connect_args say of TLS wins.
        return _connect(dialect, lambda: connect(*arguments, **{**secure(tls), **options}), where)

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


def _asyncpg(limits: Limits, _tls: Tls) -> Opening:
    import asyncpg  # noqa: PLC0415 - an optional package

    from querywright.engine.drivers.asyncpg import bounded_class  # noqa: PLC0415 - as above

    return partial(asyncpg.connect, connection_class=bounded_class(limits))


def _psycopg(limits: Limits, _tls: Tls) -> Callable[..., Any]:
    from querywright.engine.drivers.psycopg import bounded_class  # noqa: PLC0415 - an optional package

    return bounded_class(limits).connect


def _async_psycopg(limits: Limits, _tls: Tls) -> Opening:
    from querywright.engine.drivers.psycopg import bounded_async_class  # noqa: PLC0415 - an optional package

    return bounded_async_class(limits).connect


def _aiosqlite(_limits: Limits, _tls: Tls) -> Opening:
    from querywright.engine.drivers.aiosqlite import open_connection  # noqa: PLC0415 - an optional package

    return open_connection


def _pymysql(_limits: Limits, tls: Tls) -> Callable[..., Any]:
    from querywright.engine.drivers.pymysql import secured_class  # noqa: PLC0415 - an optional package

    return secured_class(tls)


def _aiomysql(limits: Limits, tls: Tls) -> Opening:
    from querywright.engine.drivers.aiomysql import opening  # noqa: PLC0415 - an optional package

    return opening(limits, tls)


def _no_arguments(_tls: Tls) -> dict[str, Any]:
    return {}


_SYNC: dict[str, Callable[[Limits, Tls], Callable[..., Any]]] = {"psycopg": _psycopg, "pymysql": _pymysql}
_ASYNC: dict[str, Callable[[Limits, Tls], Opening]] = {
    "asyncpg": _asyncpg,
    "psycopg": _async_psycopg,
    "aiosqlite": _aiosqlite,
    "aiomysql": _aiomysql,
}
# Written anew for each connection: a certificate may have been renewed.
_TLS_ARGUMENTS: dict[str, Callable[[Tls], dict[str, Any]]] = {
    "asyncpg": asyncpg_tls_arguments,
    "psycopg": psycopg_tls_arguments,
    "pymysql": partial(tls_arguments, driver="pymysql"),
    "aiomysql": partial(tls_arguments, driver="aiomysql"),
}


def _translate_asyncpg(engine: Engine) -> None:
    from querywright.engine.drivers.asyncpg import translate  # noqa: PLC0415 - an optional package

    event.listen(engine, "handle_error", translate)


def _adapt_psycopg(engine: Engine) -> None:
    from querywright.engine.drivers.psycopg import adapt  # noqa: PLC0415 - an optional package

    event.listen(engine, "connect", lambda _, record: adapt(record.driver_connection))


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
        failure: Exception = dbapi.OperationalError(f"SQLSTATE {state} while connecting")
        failure.sqlstate = failure.pgcode = state  # type: ignore[attr-defined] # where SQLAlchemy keeps it
        return failure
    is_drivers = isinstance(error, internal) or type(error).__module__.startswith("asyncpg.")
    if is_drivers or isinstance(error, (OSError, asyncio.TimeoutError)):
        reason = f"{type(error).__name__} while connecting to {where}"
        return dbapi.OperationalError(reason)  # type: ignore[no-any-return]
    return None
