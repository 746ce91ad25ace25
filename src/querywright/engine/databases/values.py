"""Distinguish a value that cannot be stored from a fault of the application, by the error that it was refused with."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any

from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.exc import DBAPIError, StatementError

from querywright.engine.drivers.lookup import driver_for
from querywright.errors import InvalidValue

__all__ = ["OF_APPLICATION", "column_of", "install_values", "refuses_text", "refuses_value", "was_reading"]

# The codes of class 22 that speak of no value that was sent: of what a statement computes of its rows, of documents in
# them, and of itself. All others may be a client's: what the server reads, stores or compares, and the arguments that
# stand in a statement, such as LIMIT. https://www.postgresql.org/docs/18/errcodes-appendix.html
OF_APPLICATION = {
    "22012": "A statement divides by zero.",
    "2201E": "A statement takes a logarithm that there is not.",
    "2201F": "A statement takes a power that there is not.",
    "22P01": "A statement computes a value that is not a number.",
    "22011": "A statement cuts a text to a negative length.",
    "22027": "A statement cuts off more than one character.",
    "2200H": "A sequence has no more numbers.",
    # What SQL/JSON does not find in a document, where a path is strict or has to lead to one item.
    **dict.fromkeys(
        ("22031", "22033", "22034", "22035", "22036", "22038", "22039", "2203A", "2203B", "2203C", "2203F", "2203G"),
        "A document is not as a statement expects it.",
    ),
    # Escape characters, types and variables, which the text of a statement or function chooses.
    **dict.fromkeys(
        ("22002", "22005", "22010", "22019", "2200B", "2200G", "22022", "22P06"), "A statement cannot run as it is."
    ),
}

# What types raise, and drivers before they send: a number out of range, half of a surrogate pair, an unknown name of an
# enum, a document too deep for its parser. A TypeError or AttributeError is of a value that never was of the type.
_REFUSALS = (InvalidValue, ValueError, ArithmeticError, LookupError, RecursionError)
# What drivers raise that is no error of the DBAPI, so that SQLAlchemy would let it pass unseen; a ValueError may be of
# anything in a driver.
_OF_DRIVERS = (InvalidValue, UnicodeEncodeError, ArithmeticError, RecursionError)
# What SQLAlchemy calls of a TypeDecorator.
_TAKES_VALUE = "process_bind_param"
# Values in a language of their own, which PostgreSQL parses where it reads them: the error is one of syntax, without a
# place in the statement.
_LANGUAGES = re.compile(r"\b(?:tsquery|jsonpath|lquery|ltxtquery)\b")
_CITED = re.compile(r'"(.*)"', re.DOTALL)
_NO_COLUMN = re.compile(r"no such column: (\S+)$")
# At its end, for the value itself stands before it. MySQL's and MariaDB's, and SQLite's.
_NAMED = re.compile(
    r"(?:column|field) [`'](?:[^`']*`\.`)*([^`']+)[`'] (?:at row \d+|cannot be null|doesn't have a default value)$"
    r"|^NOT NULL constraint failed: .+\.(.+)$",
    re.IGNORECASE,
)


def refuses_value(error: BaseException | None) -> bool:
    """Return whether an error that was raised while values were bound speaks of a value.

    Example:
        >>> refuses_value(OverflowError("too large")), refuses_value(TypeError("not serializable"))
        (True, False)
    """
    return isinstance(error, _REFUSALS) or (isinstance(error, TypeError) and _raised_by_type(error.__traceback__))


def _raised_by_type(trace: TracebackType | None) -> bool:
    """Recognise the TypeError with which many types refuse a naive datetime, as in SQLAlchemy's own recipe."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_name == _TAKES_VALUE


def was_reading(error: BaseException | None) -> bool:
    """Return whether psycopg raised an error for what it read, such as a year beyond 9999; its class is the same."""
    trace = None if error is None else error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_name.startswith("fetch") and str(frame.f_globals.get("__name__")).startswith("psycopg."):
            return True
        trace = trace.tb_next
    return False


def refuses_text(error: DBAPIError) -> bool:
    """Return whether a server could not read a text that is a search, a pattern or a path, where no code tells.

    Example:
        >>> import sqlite3
        >>> failed = sqlite3.OperationalError("user-defined function raised exception")
        >>> refuses_text(DBAPIError("SELECT name FROM tags WHERE name REGEXP ?", None, failed))
        True
    """
    original: Any = error.orig
    for each in (original, getattr(original, "__cause__", None)):
        if "42601" in {getattr(each, "sqlstate", None), getattr(each, "pgcode", None)}:
            told = getattr(each, "diag", each)
            message = getattr(told, "message_primary", None) or getattr(told, "message", None)
            places = ("statement_position", "position", "internal_position")
            is_placed = any(getattr(told, place, None) for place in places)
            if message and not (is_placed and _is_written(message, error.statement or "")):
                return _LANGUAGES.search(message) is not None
    text, statement = str(original), error.statement or ""
    if text == "user-defined function raised exception":
        return " REGEXP " in statement
    # A full-text search of SQLite takes a word with a colon or a minus behind it for one.
    found = _NO_COLUMN.match(text)
    return found is not None and " MATCH " in statement and found[1] not in statement


def _is_written(message: str, statement: str) -> bool:
    """Return whether what a message cites is of the statement itself; psycopg2 puts values into what it sends."""
    cited = _CITED.search(message)
    return cited is None or cited[1] in statement


def column_of(original: Any) -> str | None:
    """Find the name of the column in an error of a driver, if it tells one.

    Example:
        >>> import sqlite3
        >>> column_of(sqlite3.IntegrityError("NOT NULL constraint failed: tags.name"))
        'name'
    """
    for error in (original, getattr(original, "__cause__", None)):
        if name := getattr(getattr(error, "diag", error), "column_name", None):
            return str(name)
    found = _NAMED.search(str(next(reversed(getattr(original, "args", ())), "")))
    return (found[1] or found[2]) if found else None


def install_values(engine: Engine) -> None:
    """Let SQLAlchemy wrap all that drivers raise for a value."""
    event.listen(engine, "handle_error", _wrap)


def _wrap(context: ExceptionContext) -> StatementError | None:
    error: Any = context.original_exception
    # psycopg2's own connections, those of an engine of the application, raise a plain ValueError for a zero byte.
    is_of_value = isinstance(error, _OF_DRIVERS) or (type(error) is ValueError and "NUL (0x00)" in str(error))
    if not is_of_value or context.sqlalchemy_exception:
        return None
    if driver_for(context.dialect).wraps_values:
        # The rest is of what it reads.
        return None
    return StatementError(str(error), context.statement, None, error, hide_parameters=True)
