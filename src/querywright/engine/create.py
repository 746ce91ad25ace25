"""Turn settings into an engine whose defaults survive production."""

from __future__ import annotations

from typing import Any

import sqlalchemy
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.ext.asyncio import create_async_engine as sqlalchemy_create_async_engine

from querywright.engine.connecting import install_connecting
from querywright.engine.dialect import driver_of, parse_url
from querywright.engine.limits import Limits
from querywright.engine.mysql import connect_arguments as mysql_connect_arguments
from querywright.engine.mysql import install_mysql
from querywright.engine.pool import install_ping
from querywright.engine.sqlite import SQLiteConnection, install_sqlite
from querywright.engine.statements import install_timing
from querywright.engine.transactions import install_transactions
from querywright.settings import DatabaseSettings

__all__ = ["create_async_engine", "create_sync_engine"]


def create_sync_engine(settings: DatabaseSettings) -> Engine:
    """Make an engine for `Database`; no connection is opened yet.

    Raises:
        ConfigurationError: The URL names no usable driver.
    """
    url = parse_url(settings.url.get_secret_value(), asynchronous=False)
    engine = sqlalchemy.create_engine(url, **_arguments(settings, url))
    _install(engine, settings)
    return engine


def create_async_engine(settings: DatabaseSettings) -> AsyncEngine:
    """Make an engine for `AsyncDatabase`; no connection is opened yet.

    Raises:
        ConfigurationError: The URL names no usable driver.
    """
    url = parse_url(settings.url.get_secret_value(), asynchronous=True)
    engine = sqlalchemy_create_async_engine(url, **_arguments(settings, url))
    _install(engine.sync_engine, settings)
    return engine


def _arguments(settings: DatabaseSettings, url: sqlalchemy.URL) -> dict[str, Any]:
    """Translate settings into the arguments of SQLAlchemy and of the driver."""
    arguments: dict[str, Any] = {
        # Bound values are users' data: they stay out of messages and logs.
        "hide_parameters": True,
        "pool_recycle": settings.pool_recycle,
        # What the URL says for itself wins; "options" holds both.
        "connect_args": {
            name: value
            for name, value in _connect_arguments(settings, url).items()
            if name not in url.query or name == "options"
        },
    }
    if not _is_memory(url):
        arguments |= {
            "pool_size": settings.pool_size,
            "max_overflow": settings.max_overflow,
            "pool_timeout": settings.pool_timeout,
            # The connection used last is the likeliest to be alive and warm; the others may age out.
            "pool_use_lifo": True,
        }
    return arguments


def _connect_arguments(settings: DatabaseSettings, url: sqlalchemy.URL) -> dict[str, Any]:
    driver = driver_of(url)
    if driver.database == "sqlite":
        return {"timeout": settings.busy_timeout, "factory": SQLiteConnection}
    if driver.extra == "mysql":
        return mysql_connect_arguments(settings)
    server = {
        "application_name": settings.application_name,
        "statement_timeout": _milliseconds(settings.statement_timeout),
        "lock_timeout": _milliseconds(settings.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(settings.idle_in_transaction_timeout),
        "timezone": "UTC",
    }
    if driver.module == "asyncpg":
        # Without command_timeout a cancellation can wait for a silent server for ever (asyncpg#1326).
        limits = Limits.of(settings)
        return {"timeout": limits.connect, "command_timeout": limits.statement, "server_settings": server}
    options = " ".join(f"-c {name}={_escape(value)}" for name, value in server.items())
    # Behind ours, for the last one counts.
    options += f" {url.query['options']}" if "options" in url.query else ""
    return {"connect_timeout": max(1, round(settings.connect_timeout)), "options": options}


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _escape(value: str) -> str:
    """Escape a value for libpq's ``options`` (PostgreSQL manual, 34.1.2)."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def _is_memory(url: sqlalchemy.URL) -> bool:
    return driver_of(url).database == "sqlite" and (
        url.database in {None, "", ":memory:"} or url.query.get("mode") == "memory"
    )


def _install(engine: Engine, settings: DatabaseSettings) -> None:
    install_connecting(engine, Limits.of(settings))
    install_timing(engine)
    install_transactions(engine)
    if engine.dialect.name == "sqlite":
        install_sqlite(engine)
    else:
        if engine.dialect.name in {"mysql", "mariadb"}:
            install_mysql(engine)
        install_ping(engine, after_idle=settings.ping_after_idle)
