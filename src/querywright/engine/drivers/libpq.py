"""What the drivers of PostgreSQL have in common: libpq's parameters, levels, and the words of the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Dialect

from querywright.engine.drivers.driver import Diagnostics
from querywright.engine.tls import Tls, system_authorities
from querywright.settings import DatabaseSettings

__all__ = [
    "ACTIVE", "INERROR", "INTRANS", "connect_arguments", "diagnosed", "join_options", "parameters_of", "tls_arguments",
    "unusual", "without_sql",
]  # fmt: skip

# libpq's PQTRANS_ACTIVE and those after it.
ACTIVE, INTRANS, INERROR = 1, 2, 3


def connect_arguments(settings: DatabaseSettings, session: Mapping[str, Any]) -> dict[str, Any]:
    """Translate settings into parameters for connecting."""
    ours = {"connect_timeout": max(1, round(settings.connect_timeout))}
    if settings.pooler:
        # It does not understand "options".
        return ours | dict(session)
    return ours | {"options": " ".join(f"-c {name}={_escape(value)}" for name, value in session.items())}


def join_options(ours: str, given: str) -> str:
    """Join two values of "options", of which the last word counts."""
    return f"{ours} {given}"


def _escape(value: str) -> str:
    """Escape a value for libpq's ``options`` (PostgreSQL manual, 34.1.2)."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def parameters_of(tls: Tls) -> dict[str, str]:
    """Write what applies of TLS as libpq's parameters."""
    written = {
        "sslmode": tls.mode,
        "sslrootcert": tls.root,
        "sslcert": tls.certificate,
        "sslkey": tls.key,
        "sslpassword": tls.password,
    }
    return {name: value for name, value in written.items() if value}


def tls_arguments(tls: Tls) -> dict[str, Any]:
    """Write the same for a libpq that may have an OpenSSL of its own."""
    written = parameters_of(tls)
    return written if tls.root or not tls.verifies else written | {"sslrootcert": system_authorities()}


def unusual(dialect: Dialect, level: str | None) -> str | None:
    """Return an isolation level that is not the default: SQLAlchemy sets that where none was set."""
    default: str | None = getattr(dialect, "default_isolation_level", None)
    return None if level in {None, "NONE", default} else level


def diagnosed(error: Any) -> Diagnostics:
    """Read what libpq has made of an error's fields."""
    told = error.diag
    names = {"table": told.table_name, "column": told.column_name, "constraint": told.constraint_name}
    return Diagnostics(without_sql(error, told.message_primary), **names)


def without_sql(error: BaseException, message: str | None) -> str:
    """Leave out the text of the statement, which the parser cites up to its end: it may hold a value.

    Args:
        error: The driver's error; its own words are of no value where it is about connections.
        message: The server's primary message, if there is one.
    """
    if message is None and _is_about_connections(error):
        message = str(error)
    return (message or "").partition(" at or near ")[0]


def _is_about_connections(error: BaseException) -> bool:
    """Recognise errors of a driver that are not about a value, which all drivers have DataError for."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"InterfaceError", "OperationalError"}) and not isinstance(error, ValueError)
