"""What an error of a database means: from the driver's own to one that is safe to show."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as SATimeoutError

from querywright.engine.databases.advice import advice_in
from querywright.engine.databases.mysql import mysql_sqlstate
from querywright.engine.databases.sqlite import BEGIN_WRITING, sqlite_sqlstate
from querywright.engine.databases.values import OF_APPLICATION, column_of, refuses_text, refuses_value, was_reading
from querywright.errors import (
    Conflict,
    ConstraintViolation,
    DatabaseError,
    DatabaseUnavailable,
    InvalidValue,
    LockNotAvailable,
    PoolTimeout,
    StatementTimeout,
    TransactionConflict,
    TransactionLost,
)

__all__ = ["classify", "is_connection_loss", "never_connected", "sqlstate_of", "waited_to_write"]

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
    return sqlite_sqlstate(text)


def is_connection_loss(error: DBAPIError) -> bool:
    """Return whether a connection was lost or never came about, as opposed to a server's answer."""
    state = sqlstate_of(error.orig) or ""
    return error.connection_invalidated or state.startswith(("08", "57P0")) or never_connected(error)


def never_connected(error: DBAPIError) -> bool:
    """Recognise a failed connection attempt: no statement was running and there is no SQLSTATE."""
    unnamed = error.statement is None and sqlstate_of(error.orig) is None
    return unnamed and type(error).__name__ in {"OperationalError", "InterfaceError"}


def waited_to_write(error: BaseException) -> bool:
    """Return whether other writers kept a transaction of SQLite from beginning: nothing has been done yet."""
    return isinstance(error, DBAPIError) and error.statement == BEGIN_WRITING and sqlstate_of(error.orig) == "55P03"
