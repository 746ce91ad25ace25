"""What the drivers of PostgreSQL have in common: libpq's parameters, levels, and the words of the server."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from sqlalchemy import Dialect
from typing_extensions import override

from querywright.engine.drivers.driver import Diagnostics, Driver, Join, Rows
from querywright.engine.tls import Tls, system_authorities
from querywright.settings import DatabaseSettings

__all__ = ["ACTIVE", "INERROR", "INTRANS", "Libpq", "autocommitting", "parameters_of", "shut", "unusual", "without_sql"]

# libpq's PQTRANS_ACTIVE and those after it.
ACTIVE, INTRANS, INERROR = 1, 2, 3


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


def unusual(dialect: Dialect, level: str | None) -> str | None:
    """Return an isolation level that is not the default: SQLAlchemy sets that where none was set."""
    default: str | None = getattr(dialect, "default_isolation_level", None)
    return None if level in {None, "NONE", default} else level


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


class Libpq(Driver):
    """What psycopg and psycopg2 have in common; their connections have a method `quickly`."""

    # Of "options" the last word counts.
    joined: ClassVar[Mapping[str, Join]] = {"options": lambda ours, given: f"{ours} {given}"}
    takes_straight = True
    knows_more_tls = True

    @override
    def arguments(self, settings: DatabaseSettings, session: Mapping[str, Any]) -> dict[str, Any]:
        ours = {"connect_timeout": max(1, round(settings.connect_timeout))}
        if settings.pooler:
            # It does not understand "options".
            return ours | dict(session)
        return ours | {"options": " ".join(f"-c {name}={_escape(value)}" for name, value in session.items())}

    @override
    def tls_arguments(self, tls: Tls) -> dict[str, Any]:
        # Its libpq may have an OpenSSL of its own.
        written = parameters_of(tls)
        return written if tls.root or not tls.verifies else written | {"sslrootcert": system_authorities()}

    @override
    def ping(self, dialect: Dialect, lent: Any) -> None:
        self.run_quickly(lent, "SELECT 1")

    @override
    def run_quickly(self, lent: Any, command: str) -> None:
        lent.quickly(command)

    @override
    def fetch(self, lent: Any, sql: str, parameters: Any) -> Rows:
        with lent.cursor() as cursor:
            cursor.execute(sql, parameters)
            rows: Rows = cursor.fetchall()
        return rows

    @override
    def fetch_alone(self, lent: Any, sql: str, parameters: Any) -> Rows:
        with autocommitting(lent):
            return self.fetch(lent, sql, parameters)

    @override
    def diagnose(self, error: Any, statement: str) -> Diagnostics:
        told = error.diag
        names = {"table": told.table_name, "column": told.column_name, "constraint": told.constraint_name}
        return Diagnostics(without_sql(error, told.message_primary), **names)


def _escape(value: str) -> str:
    """Escape a value for libpq's ``options`` (PostgreSQL manual, 34.1.2)."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def shut(number: int) -> None:
    """Close a socket for whoever waits for it, who has an error then; libpq still has its own hold on it."""
    with suppress(OSError), socket.socket(fileno=os.dup(number)) as mine:
        mine.shutdown(socket.SHUT_RDWR)


@contextmanager
def autocommitting(connection: Any) -> Iterator[None]:
    """Keep a driver from beginning a transaction."""
    if connection.autocommit:
        yield
        return
    connection.autocommit = True
    try:
        yield
    finally:
        if not connection.closed:
            connection.autocommit = False
