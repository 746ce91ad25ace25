"""Read of a database's error what may stand in a log: the server's own words, but never a value of a user.

PostgreSQL keeps values out of its primary message, but for the classes 22 (data) and 23 (integrity); elsewhere they are
in DETAIL (https://www.postgresql.org/docs/18/error-style-guide.html). MariaDB, SQLite and drivers have no such rule, so
of theirs only forms are shown that name nothing but tables, columns and the like.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.exc import DBAPIError

from querywright.engine.databases.dialect import classify, sqlstate_of
from querywright.errors import DatabaseUnavailable, InvalidValue

__all__ = ["Diagnostics", "diagnose"]

_LONGEST = 500


@dataclass(frozen=True)
class Diagnostics:
    """What an operator may read of an error.

    Attributes:
        message: The server's primary message; our own where that could hold a value.
        sqlstate: The SQLSTATE, if there is one.
        code: What the database itself calls the error, if it does.
        table: Whose row was refused.
        column: Whose value was refused.
        constraint: What refused it.
    """

    message: str
    sqlstate: str | None = None
    code: str | None = None
    table: str | None = None
    column: str | None = None
    constraint: str | None = None

    def __str__(self) -> str:
        names = (("table", self.table), ("column", self.column), ("constraint", self.constraint))
        named = ", ".join(f"{kind} {name}" for kind, name in names if name)
        codes = ", ".join(filter(None, (self.code, self.sqlstate and f"SQLSTATE {self.sqlstate}")))
        message = f"{self.message.rstrip('.')}: {named}" if named else self.message
        return _in_one_line(f"{message} ({codes})" if codes else message)


def diagnose(error: DBAPIError) -> Diagnostics:
    """Read what may be told of an error.

    Example:
        >>> import sqlite3
        >>> from sqlalchemy.exc import IntegrityError, OperationalError
        >>> diagnose(OperationalError("SELECT", {}, sqlite3.OperationalError("no such table: nowhere"))).message
        'no such table: nowhere'
        >>> diagnose(IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE constraint failed: t.name"))).column
        'name'
    """
    state = sqlstate_of(error.orig)
    read = next(_readings(error), Diagnostics(""))
    known = classify(error)
    ours = known.message if known is not None else ""
    is_of_values = isinstance(known, InvalidValue) or (state or "").startswith(("22", "23"))
    if (is_of_values and not isinstance(known, DatabaseUnavailable)) or type(error).__name__ in {
        "DataError",
        "IntegrityError",
    }:
        return replace(read, message=ours, sqlstate=state)
    # What goes wrong outside of any statement has no values.
    other = ours if error.statement is not None else str(error.orig)
    return Diagnostics(read.message or other, state, read.code)


def _readings(error: DBAPIError) -> Iterator[Diagnostics]:
    """Read the error of the driver, which SQLAlchemy's adapters wrap in one of their own."""
    original: BaseException | None = error.orig
    while original is not None:
        reader = _READERS.get(type(original).__module__.partition(".")[0])
        if reader is not None:
            yield reader(original, error.statement or "")
        original = original.__cause__


def _in_one_line(text: str) -> str:
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:_LONGEST]


def _named(patterns: tuple[re.Pattern[str], ...], message: str) -> dict[str, str | None]:
    """Find the names in a message; each pattern reaches to its end, behind any value that imitates it."""
    return next((found.groupdict() for each in patterns if (found := each.search(message))), {})


def _read_asyncpg(error: Any, _statement: str) -> Diagnostics:
    message = getattr(error, "message", None)
    if message is None and _is_about_connections(error):
        message = str(error)
    names = {kind: getattr(error, f"{kind}_name", None) for kind in ("table", "column", "constraint")}
    return Diagnostics(_without_sql(message or ""), **names)


def _read_psycopg(error: Any, _statement: str) -> Diagnostics:
    told = error.diag
    message = told.message_primary
    if message is None and _is_about_connections(error):
        message = str(error)
    names = {"table": told.table_name, "column": told.column_name, "constraint": told.constraint_name}
    return Diagnostics(_without_sql(message or ""), **names)


def _without_sql(message: str) -> str:
    """Leave out the text of the statement, which the parser cites up to its end: it may hold a value."""
    return message.partition(" at or near ")[0]


def _is_about_connections(error: BaseException) -> bool:
    """Recognise errors of a driver that are not about a value, which both drivers have DataError for."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"InterfaceError", "OperationalError"}) and not isinstance(error, ValueError)


_MYSQL_NAMES = tuple(
    map(
        re.compile,
        (
            r" for key '(?:(?P<table>[^'.]*)\.)?(?P<constraint>[^']*)'$",
            r" for column '(?P<column>[^']*)' at row \d+$",
            r" for column `[^`]*`\.`(?P<table>[^`]*)`\.`(?P<column>[^`]*)` at row \d+$",
            r"^(?:Column|Field) '(?P<column>[^']*)' (?:cannot be null|doesn't have a default value)$",
            r"\(`[^`]*`\.`(?P<table>[^`]*)`, CONSTRAINT `(?P<constraint>[^`]*)` FOREIGN KEY [^']*\)$",
            r"^CONSTRAINT `(?P<constraint>[^`]*)` failed for `[^`]*`\.`(?P<table>[^`]*)`$",
            r"^Check constraint '(?P<constraint>[^']*)' is violated\.$",
        ),
    )
)
# The errors whose words in quotes are names: of users, databases, tables, columns, functions and settings. Elsewhere
# they may be a part of the statement, in which the driver has put the values, or a value.
_MYSQL_ONLY_NAMES = frozenset(
    {1022, 1036, 1044, 1045, 1046, 1049, 1050, 1051, 1052, 1054, 1055, 1060, 1061, 1066, 1072, 1091, 1103, 1109, 1114}
    | {1129, 1130, 1142, 1143, 1146, 1176, 1193, 1203, 1226, 1227, 1235, 1238, 1290, 1304, 1305, 1317, 1356, 1370, 1698}
    | {2002, 2003, 2005, 2006, 2013, 2026, 2061, 4078}
)
_QUOTED = re.compile(r"""['"].*['"]""", re.DOTALL)


def _read_mysql(error: Any, _statement: str) -> Diagnostics:
    number, message = (*error.args, "", "")[:2]
    if not isinstance(number, int) or not message:
        return Diagnostics("")
    text = str(message)
    shown = text if number in _MYSQL_ONLY_NAMES else _QUOTED.sub("'...'", text)
    return Diagnostics(shown, code=f"error {number}", **_named(_MYSQL_NAMES, text))


_SQLITE_NAMES = tuple(
    map(
        re.compile,
        (
            r"^(?:UNIQUE|NOT NULL) constraint failed: (?P<table>[^.,]+)\.(?P<column>[^.,]+)$",
            r"^(?:UNIQUE|CHECK) constraint failed: (?P<constraint>.+)$",
            r"^cannot store \w+ value in \w+ column (?P<table>[^.]+)\.(?P<column>.+)$",
        ),
    )
)
_SQLITE_FORMS = tuple(
    map(
        re.compile,
        (
            r"no such (?:table|function|module|index|view|collation sequence|savepoint): [^\s]+$",
            r"table \S+ (?:has no column named \S+|has \d+ columns but \d+ values were supplied|already exists)$",
            r"ambiguous column name: \S+$|\d+ values for \d+ columns$|wrong number of arguments to function \S+\(\)$",
            r"(?:near \"[^\"]*\": syntax error|incomplete input|too many SQL variables|not an error)$",
            r"(?:unable to open database file|file is not a database|database disk image is malformed|disk I/O error)$",
            r"(?:attempt to write a readonly database|database or disk is full|interrupted|out of memory)$",
            r"database (?:table |schema )?is locked(?:: \S+)?$|not authorized$|access to \S+ is prohibited$",
            r"cannot (?:start a transaction within a transaction|(?:commit|rollback) - no transaction is active)$",
            r"cannot modify \S+ because it is a view$",
        ),
    )
)
_SQLITE_COLUMN = re.compile(r"no such column: (\S+)$")


def _read_sqlite(error: Any, statement: str) -> Diagnostics:
    message = str(error)
    shown = any(form.match(message) for form in _SQLITE_FORMS)
    if column := _SQLITE_COLUMN.match(message):
        # A full-text search takes a word of the value for one.
        shown = column[1] in statement
    code: str | None = getattr(error, "sqlite_errorname", None)
    return Diagnostics(message if shown else "", code=code, **_named(_SQLITE_NAMES, message))


_READERS: dict[str, Callable[[Any, str], Diagnostics]] = {
    "asyncpg": _read_asyncpg,
    "psycopg": _read_psycopg,
    "pymysql": _read_mysql,
    "sqlite3": _read_sqlite,
}
