"""Facts about databases and drivers: which there are, what they need, what their errors mean."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as SATimeoutError

from querywright.engine.databases.advice import advice_in
from querywright.engine.databases.mysql import ISOLATION as MYSQL_ISOLATION
from querywright.engine.databases.mysql import READ_ONLY as MYSQL_READ_ONLY
from querywright.engine.databases.mysql import mysql_sqlstate
from querywright.engine.databases.sqlite import AUTOCOMMIT as SQLITE_AUTOCOMMIT
from querywright.engine.databases.sqlite import READ_ONLY as SQLITE_READ_ONLY
from querywright.engine.databases.values import OF_APPLICATION, column_of, refuses_text, refuses_value, was_reading
from querywright.errors import (
    ConfigurationError,
    Conflict,
    ConstraintViolation,
    DatabaseError,
    DatabaseUnavailable,
    InvalidValue,
    LockNotAvailable,
    MissingExtra,
    PoolTimeout,
    StatementTimeout,
    TransactionConflict,
    TransactionLost,
)

__all__ = [
    "AUTOCOMMIT_OPTIONS",
    "DRIVERS",
    "ISOLATION_OPTIONS",
    "READ_ONLY_OPTIONS",
    "SNAPSHOT_OPTIONS",
    "Driver",
    "classify",
    "driver_of",
    "is_connection_loss",
    "never_connected",
    "parse_url",
    "sqlstate_of",
]


@dataclass(frozen=True)
class Driver:
    """One supported driver.

    Attributes:
        name: Drivername of the URL.
        module: The package that must be importable.
        extra: The extra of Querywright that installs it; empty for the standard library.
        sync: Whether `Database` can use it.
        asynchronous: Whether `AsyncDatabase` can use it.
    """

    name: str
    module: str
    extra: str
    sync: bool = False
    asynchronous: bool = False

    @property
    def database(self) -> str:
        """The database family: ``postgresql``, ``sqlite``, ``mysql`` or ``mariadb``."""
        return self.name.partition("+")[0]


DRIVERS = {
    driver.name: driver
    for driver in (
        Driver("postgresql+asyncpg", "asyncpg", "postgres", asynchronous=True),
        Driver("postgresql+psycopg", "psycopg", "psycopg", sync=True, asynchronous=True),
        Driver("sqlite+aiosqlite", "aiosqlite", "sqlite", asynchronous=True),
        Driver("sqlite+pysqlite", "sqlite3", "", sync=True),
        *(Driver(f"{name}+aiomysql", "aiomysql", "mysql", asynchronous=True) for name in ("mysql", "mariadb")),
        *(Driver(f"{name}+pymysql", "pymysql", "mysql", sync=True) for name in ("mysql", "mariadb")),
    )
}


# Execution options under which one statement runs without BEGIN and ROLLBACK around it.
AUTOCOMMIT_OPTIONS: dict[str, dict[str, Any]] = {
    "postgresql": {"isolation_level": "AUTOCOMMIT"},
    "sqlite": {SQLITE_AUTOCOMMIT: True},
    # To turn it on and off again takes two round trips; the ROLLBACK of a connection that comes back takes one.
    "mysql": {},
    "mariadb": {},
}

# Execution options under which the database refuses to write.
READ_ONLY_OPTIONS: dict[str, dict[str, Any]] = {
    "postgresql": {"postgresql_readonly": True},
    "sqlite": {SQLITE_READ_ONLY: True},
    "mysql": {MYSQL_READ_ONLY: True},
    "mariadb": {MYSQL_READ_ONLY: True},
}

# The execution option that is the isolation level of a transaction, where a level is more than a word.
ISOLATION_OPTIONS = {"postgresql": "isolation_level", "mysql": MYSQL_ISOLATION, "mariadb": MYSQL_ISOLATION}

# Execution options under which several statements see the same rows.
SNAPSHOT_OPTIONS: dict[str, dict[str, Any]] = {
    "postgresql": {"isolation_level": "REPEATABLE READ", **READ_ONLY_OPTIONS["postgresql"]},
    "sqlite": READ_ONLY_OPTIONS["sqlite"],
    "mysql": {MYSQL_ISOLATION: "REPEATABLE READ", **READ_ONLY_OPTIONS["mysql"]},
    "mariadb": {MYSQL_ISOLATION: "REPEATABLE READ", **READ_ONLY_OPTIONS["mariadb"]},
}


def parse_url(url: str | URL, *, asynchronous: bool) -> URL:
    """Check that a URL names a driver that exists, is installed, and can do what is asked.

    Args:
        url: The database URL.
        asynchronous: Whether the driver has to work under asyncio.

    Raises:
        ConfigurationError: The URL cannot be read, or its driver is absent, unknown or of the other kind.
        MissingExtra: The driver's package is not installed, or lacks something.

    Example:
        >>> parse_url("sqlite+aiosqlite:///blog.db", asynchronous=True).database
        'blog.db'
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        message = "The database URL cannot be read."
        hint = "Write driver://user:password@host:port/name; percent-encode special characters in the password."
        raise ConfigurationError(message, hint=hint) from None
    if parsed.drivername.startswith("sqlite") and (parsed.host or parsed.username or parsed.port):
        # A name behind two slashes is a host.
        hint = "Write three slashes before the name of a file, and four before a path from the root."
        raise ConfigurationError("SQLite has no server, and the database URL names one.", hint=hint)
    usable = [d.name for d in DRIVERS.values() if (d.asynchronous if asynchronous else d.sync)]
    driver = DRIVERS.get(parsed.drivername)
    if driver is None or driver.name not in usable:
        raise _unusable(parsed.drivername, usable, asynchronous=asynchronous)
    if importlib.util.find_spec(driver.module) is None:
        raise MissingExtra(driver.module, driver.extra)
    try:
        importlib.import_module(driver.module)
    except ImportError as error:
        # Also one that is there without what it needs, such as psycopg without libpq.
        raise MissingExtra(driver.module, driver.extra) from error
    return parsed


def _unusable(name: str, usable: list[str], *, asynchronous: bool) -> ConfigurationError:
    """Return an error that says why the driver cannot be used here and which ones can."""
    here, there = ("AsyncDatabase", "Database") if asynchronous else ("Database", "AsyncDatabase")
    same = [u for u in usable if u.startswith(f"{name.partition('+')[0]}+")]
    hint = f"Write {' or '.join(f'{u}://' for u in same or usable)}."
    if name in DRIVERS:
        message = f"{here} cannot use the driver {name!r}"
        return ConfigurationError(f"{message}: it belongs to {there}.", hint=hint)
    if "+" not in name:
        return ConfigurationError(f"The database URL names no driver, only {name!r}.", hint=hint)
    return ConfigurationError(f"The driver {name!r} is not supported.", hint=hint)


def driver_of(url: URL) -> Driver:
    """Look up the driver of a URL that `parse_url` accepted."""
    return DRIVERS[url.drivername]


_NO_PATTERN = "2201B"
# https://www.postgresql.org/docs/18/errcodes-appendix.html
_SQLSTATES: dict[str, tuple[type[DatabaseError], str]] = {
    "23505": (Conflict, "A row with the same unique value already exists."),
    "23503": (Conflict, "The row refers to, or is referred to by, a row that stands in the way."),
    "23P01": (Conflict, "The row overlaps another."),
    "23502": (InvalidValue, "A required value is missing."),
    "23514": (InvalidValue, "A value breaks a rule of the table."),
    "22001": (InvalidValue, "A text is longer than its column."),
    "22003": (InvalidValue, "A number is out of range."),
    "2201W": (InvalidValue, "A limit or offset is negative, or too large."),
    "2201X": (InvalidValue, "A limit or offset is negative, or too large."),
    _NO_PATTERN: (InvalidValue, "A search or pattern cannot be read."),
    "22025": (InvalidValue, "A search or pattern cannot be read."),
    **{state: (DatabaseError, message) for state, message in OF_APPLICATION.items()},
    "25006": (DatabaseUnavailable, "The database takes no writes."),
    "40001": (TransactionConflict, "The transaction collided with another."),
    "40P01": (TransactionConflict, "The transaction was chosen to end a deadlock."),
    "53100": (DatabaseUnavailable, "The database has no room left."),
    "55P03": (LockNotAvailable, "A lock was not free in time."),
    "57014": (StatementTimeout, "The statement took too long."),
    "25P02": (TransactionLost, "A statement had failed, and the whole transaction was lost with it."),
    "25P03": (StatementTimeout, "The transaction was idle for too long."),
    "25P04": (StatementTimeout, "The transaction took too long."),
}
_BAD_VALUE = "A value does not fit its column."
_UNKNOWN = "The database reported an error."
_UNAVAILABLE = (DatabaseUnavailable, "The database cannot be reached at the moment.")
# Class 08: connections; 28: a role or its password; 3D: a database; 53: resources; 57P: operator intervention.
_UNAVAILABLE_PREFIXES = ("08", "28", "3D", "53", "57P")
# Where it is asked for a connection: a right to the database, a setting that it does not know or not take.
_KEEPS_OUT_PREFIXES = ("22", "42")

_POOL_STATE = re.compile(r"size (\d+) overflow (\d+) reached, .* timeout ([\d.]+)")

# SQLite names the constraint's kind only in its message on Python 3.10 (sqlite_errorname is 3.11).
_SQLITE_MESSAGES = {
    "UNIQUE constraint failed": "23505",
    "FOREIGN KEY constraint failed": "23503",
    "NOT NULL constraint failed": "23502",
    "CHECK constraint failed": "23514",
    "database is locked": "55P03",
    "database table is locked": "55P03",
    "unable to open database file": "08001",
    "interrupted": "57014",
    "database or disk is full": "53100",
    "attempt to write a readonly database": "25006",
    "disk I/O error": "58030",
    "too many SQL variables": "54023",
    "Expression tree is too large": "54001",
    "string or blob too big": "54000",
    "LIKE or GLOB pattern too complex": "54001",
    "integer overflow": "22003",
    "datatype mismatch": "22000",
    "JSON path error": "22023",
    "bad JSON path": "22023",
    "fts5: ": _NO_PATTERN,
    "unterminated string": _NO_PATTERN,
    "unknown special query": _NO_PATTERN,
    "malformed MATCH expression": _NO_PATTERN,
    'expected integer, got "': _NO_PATTERN,
    "argument of ntile": "22014",
    "second argument to nth_value": "22016",
}
# What drivers of PostgreSQL refuse to send, without a code.
_TOO_MANY_PARAMETERS = re.compile("number of query arguments cannot exceed|number of parameters must be between")


def classify(error: BaseException) -> DatabaseError | None:
    """Turn an error of SQLAlchemy into one that is safe to show; ``None`` if it is not a database's.

    Args:
        error: What was caught, usually a `sqlalchemy.exc.DBAPIError`.

    Returns:
        An error without the driver's words; the caller decides whether to raise it.

    Example:
        >>> classify(ValueError("nothing to do with a database")) is None
        True
    """
    if isinstance(error, SATimeoutError):
        return _pool_timeout(error)
    if not isinstance(error, StatementError):
        return InvalidValue(_BAD_VALUE) if isinstance(error, OverflowError) else None
    if not isinstance(error, DBAPIError):
        return _refused(error.orig)
    state = sqlstate_of(error.orig)
    kind, message = _kind_of(error, _NO_PATTERN if refuses_text(error) else state or "")
    if kind is InvalidValue:
        return InvalidValue(message, sqlstate=state, column=column_of(error.orig))
    return kind(message, sqlstate=state, hint=advice_in(error))


def _refused(original: BaseException | None) -> DatabaseError:
    """Classify what was raised before the statement was sent: by a type's processor, or by the driver for a value."""
    if isinstance(original, DatabaseError):
        return original
    return InvalidValue(_BAD_VALUE) if refuses_value(original) else DatabaseError(_UNKNOWN)


def _kind_of(error: DBAPIError, state: str) -> tuple[type[DatabaseError], str]:
    if state in _SQLSTATES:
        return _SQLSTATES[state]
    if is_connection_loss(error) or state.startswith(_UNAVAILABLE_PREFIXES) or _is_kept_out(error, state):
        return _UNAVAILABLE
    if state.startswith("22") or (type(error).__name__ == "DataError" and not was_reading(error.orig)):
        return InvalidValue, _BAD_VALUE
    if state.startswith("54"):
        return InvalidValue, "A value, or a list of them, is larger than the database takes."
    if state.startswith("23"):
        return ConstraintViolation, "A row breaks a constraint."
    return DatabaseError, _UNKNOWN


def _is_kept_out(error: DBAPIError, state: str) -> bool:
    """Recognise a server that lets nobody in; libpq has no codes for what asyncpg and MySQL have some for."""
    kind = type(error).__name__
    return error.statement is None and kind == "OperationalError" and state.startswith(_KEEPS_OUT_PREFIXES)


def _pool_timeout(error: SATimeoutError) -> DatabaseUnavailable:
    """Read the pool's state out of SQLAlchemy's message, which alone has it as it was."""
    found = _POOL_STATE.search(str(error))
    if found is None:
        return DatabaseUnavailable("No database connection became free in time.")
    return PoolTimeout(size=int(found[1]), overflow=int(found[2]), seconds=float(found[3]))


def sqlstate_of(original: Any) -> str | None:
    """Find the SQLSTATE in an error of a driver, wherever it keeps it.

    Example:
        >>> import sqlite3
        >>> sqlstate_of(sqlite3.OperationalError("database is locked"))
        '55P03'
    """
    if state := mysql_sqlstate(getattr(original, "args", ())):
        return state
    # SQLAlchemy leaves the code of asyncpg's InvalidCachedStatementError behind, in the error's cause.
    for error in (original, getattr(original, "__cause__", None)):
        if state := getattr(error, "sqlstate", None) or getattr(error, "pgcode", None):
            return str(state)
    text = str(original)
    if _TOO_MANY_PARAMETERS.search(text):
        return "54023"
    return next((code for start, code in _SQLITE_MESSAGES.items() if text.startswith(start)), None)


def is_connection_loss(error: DBAPIError) -> bool:
    """Return whether a connection was lost or never came about, as opposed to a server's answer."""
    state = sqlstate_of(error.orig) or ""
    return error.connection_invalidated or state.startswith(("08", "57P0")) or never_connected(error)


def never_connected(error: DBAPIError) -> bool:
    """Recognise a failed connection attempt: no statement was running and there is no SQLSTATE."""
    unnamed = error.statement is None and sqlstate_of(error.orig) is None
    return unnamed and type(error).__name__ in {"OperationalError", "InterfaceError"}
