"""Turn settings into an engine whose defaults survive production."""

from __future__ import annotations

import os
from typing import Any

import sqlalchemy
from sqlalchemy import Engine, QueuePool
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.ext.asyncio import create_async_engine as sqlalchemy_create_async_engine

from querywright.engine.arguments import merged, require_known
from querywright.engine.connecting import install_connecting
from querywright.engine.databases.advice import install_advice
from querywright.engine.databases.lookup import backend_named, backend_of
from querywright.engine.databases.values import install_values
from querywright.engine.documents import write_json
from querywright.engine.drivers.lookup import parse_url, registered
from querywright.engine.limits import Limits
from querywright.engine.pool.fork import forget_in_child
from querywright.engine.pool.health import install_ping
from querywright.engine.pool.opening import AsyncPool, SyncPool
from querywright.engine.pool.reset import install_reset
from querywright.engine.pool.streams import install_streams
from querywright.engine.statements.observation import install_timing
from querywright.engine.statements.pooler import install_pooler
from querywright.engine.statements.transactions import install_transactions
from querywright.engine.tls import Tls, without_tls
from querywright.errors import ConfigurationError
from querywright.settings import DatabaseSettings

__all__ = ["create_async_engine", "create_sync_engine"]

# SQLAlchemy shows the query of an engine's URL to everyone, so these go to the driver without it.
_SECRETS = ("password",)


def create_sync_engine(settings: DatabaseSettings) -> Engine:
    """Make an engine for `Database`; no connection is opened yet.

    Raises:
        ConfigurationError: The URL names no usable driver, something that the driver does not take, or TLS that cannot
            be had.
    """
    url = parse_url(settings.url.get_secret_value(), asynchronous=False)
    tls = _tls(url)
    engine = sqlalchemy.create_engine(_plain(url), **_arguments(settings, url, SyncPool))
    require_known(engine.dialect, url, settings.connect_args)
    _install(engine, settings, tls)
    return engine


def create_async_engine(settings: DatabaseSettings) -> AsyncEngine:
    """Make an engine for `AsyncDatabase`; no connection is opened yet.

    Raises:
        ConfigurationError: The URL names no usable driver, something that the driver does not take, or TLS that cannot
            be had.
    """
    url = parse_url(settings.url.get_secret_value(), asynchronous=True)
    tls = _tls(url)
    engine = sqlalchemy_create_async_engine(_plain(url), **_arguments(settings, url, AsyncPool))
    require_known(engine.dialect, url, settings.connect_args)
    _install(engine.sync_engine, settings, tls)
    return engine


def _tls(url: sqlalchemy.URL) -> Tls:
    driver = registered(url)
    if backend_named(driver.database).is_local:
        return Tls("disable")
    return Tls.of(url, os.environ, knows_more=driver.load().knows_more_tls)


def _plain(url: sqlalchemy.URL) -> sqlalchemy.URL:
    """Leave in a URL what SQLAlchemy is to read of it."""
    plain = url.difference_update_query(_SECRETS)
    return plain if backend_named(registered(url).database).is_local else without_tls(plain)


def _arguments(settings: DatabaseSettings, url: sqlalchemy.URL, pool: type[QueuePool]) -> dict[str, Any]:
    """Translate settings into the arguments of SQLAlchemy and of the driver."""
    ours = _connect_arguments(settings, url)
    secrets = {name: url.query[name] for name in _SECRETS if name in url.query}
    return {
        # Bound values are users' data: they stay out of messages and logs.
        "hide_parameters": True,
        # What json.dumps() writes may be something that no list can be sent with any more.
        "json_serializer": write_json,
        "echo": settings.echo,
        "poolclass": pool,
        "pool_size": settings.pool_size,
        "max_overflow": settings.max_overflow,
        "pool_timeout": settings.pool_timeout,
        "pool_recycle": settings.pool_recycle,
        # The connection used last is the likeliest to be alive and warm; the others may age out.
        "pool_use_lifo": True,
        # install_reset() does it.
        "pool_reset_on_return": None,
        "connect_args": secrets | merged(registered(url), ours, url, settings.connect_args),
    }


def _connect_arguments(settings: DatabaseSettings, url: sqlalchemy.URL) -> dict[str, Any]:
    driver = registered(url)
    backend = backend_named(driver.database)
    if settings.pooler and not backend.takes_pooler:
        raise ConfigurationError(f"pooler={settings.pooler!r} does not fit {backend.name}, only PostgreSQL.")
    return driver.load().arguments(settings, backend.session(settings, url))


def _install(engine: Engine, settings: DatabaseSettings, tls: Tls) -> None:
    backend = backend_of(engine.dialect)
    backend.install(engine)
    install_connecting(engine, Limits.of(settings), tls)
    install_advice(engine, pooled=settings.pooler is not None)
    install_timing(engine)
    install_transactions(engine)
    install_values(engine)
    if not backend.is_local:
        install_ping(engine, after_idle=settings.ping_after_idle)
    if settings.pooler:
        install_pooler(engine)
    # Behind a pooler another server may get the next message: there is no session to reset.
    install_reset(engine, when="never" if settings.pooler else settings.reset_on_return)
    install_streams(engine, most=settings.most_streams, seconds=settings.pool_timeout)
    forget_in_child(engine)
