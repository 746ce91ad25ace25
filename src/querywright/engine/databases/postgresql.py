"""PostgreSQL's connections: limits that the server keeps, TLS, and what a pooler in between does not understand."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from sqlalchemy import URL

from querywright.engine.limits import Limits
from querywright.engine.tls import Tls, system_authorities
from querywright.settings import DatabaseSettings

__all__ = ["asyncpg_tls_arguments", "connect_arguments", "psycopg_tls_arguments"]


def connect_arguments(settings: DatabaseSettings, url: URL) -> dict[str, Any]:
    """Translate settings into arguments of asyncpg or psycopg."""
    server = _server_settings(settings)
    if url.drivername.endswith("+asyncpg"):
        limits = Limits.of(settings)
        arguments = {"timeout": limits.connect, "command_timeout": limits.statement, "server_settings": server}
        return arguments | (_UNPREPARED_ASYNCPG if settings.pooler else {})
    arguments = {"connect_timeout": max(1, round(settings.connect_timeout))}
    if settings.pooler:
        return arguments | server | {"prepare_threshold": None}
    options = " ".join(f"-c {name}={_escape(value)}" for name, value in server.items())
    # Behind ours, for the last one counts.
    options += f" {url.query['options']}" if "options" in url.query else ""
    return arguments | {"options": options}


def asyncpg_tls_arguments(tls: Tls) -> dict[str, Any]:
    """Translate what applies into arguments of asyncpg."""
    if tls.is_required:
        return {"ssl": tls.context()}
    # It goes on without TLS only if it is told the mode, and takes files beside a mode only here.
    return {"dsn": f"postgresql://?{urlencode(_libpq_parameters(tls))}"}


def psycopg_tls_arguments(tls: Tls) -> dict[str, Any]:
    """Translate what applies into arguments of psycopg, and so of libpq."""
    parameters = _libpq_parameters(tls)
    return parameters if tls.root or not tls.verifies else parameters | {"sslrootcert": system_authorities()}


def _libpq_parameters(tls: Tls) -> dict[str, str]:
    parameters = {
        "sslmode": tls.mode,
        "sslrootcert": tls.root,
        "sslcert": tls.certificate,
        "sslkey": tls.key,
        "sslpassword": tls.password,
    }
    return {name: value for name, value in parameters.items() if value}


# A pooler that lends its connections for one transaction: no statement may be prepared under a name, for the next
# message may go to a server that does not know it. Both SQLAlchemy and asyncpg keep such names.
_UNPREPARED_ASYNCPG = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: "",
}


def _server_settings(settings: DatabaseSettings) -> dict[str, str]:
    if settings.pooler:
        # PgBouncer refuses other parameters (https://www.pgbouncer.org/config.html#ignore_startup_parameters).
        return {"application_name": settings.application_name}
    return {
        "application_name": settings.application_name,
        "statement_timeout": _milliseconds(settings.statement_timeout),
        "lock_timeout": _milliseconds(settings.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(settings.idle_in_transaction_timeout),
        "timezone": "UTC",
    }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _escape(value: str) -> str:
    """Escape a value for libpq's ``options`` (PostgreSQL manual, 34.1.2)."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
