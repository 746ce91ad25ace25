"""sqlite3, the driver of the standard library: SQLAlchemy calls it pysqlite."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import Dialect
from typing_extensions import override

from querywright.engine.drivers.driver import Diagnostics, Driver, Rows, State, names_in, unwrapped
from querywright.settings import DatabaseSettings

__all__ = ["SYNC", "SQLite", "SQLiteConnection"]


class SQLiteConnection(sqlite3.Connection):
    """A connection that ends its transaction when it is closed.

    SQLite keeps a closed connection, and its locks, until the last of its cursors is gone
    (https://www.sqlite.org/c3ref/close.html), and the traceback of a cancelled task holds one.
    """

    def close(self) -> None:
        """Roll back and close."""
        with suppress(sqlite3.Error):
            self.rollback()
        super().close()


class SQLite(Driver):
    """What sqlite3 does, also behind aiosqlite."""

    decided = frozenset({"autocommit", "factory", "isolation_level"})
    takes_straight = True

    @override
    def known_arguments(self) -> set[str]:
        """Name what `sqlite3.connect` takes; the rest of a URL's query goes into the name of the file."""
        common = "timeout detect_types isolation_level check_same_thread factory cached_statements uri"
        return {*common.split()} | ({"autocommit"} if hasattr(sqlite3, "LEGACY_TRANSACTION_CONTROL") else set())

    @override
    def arguments(self, settings: DatabaseSettings, session: Mapping[str, Any]) -> dict[str, Any]:
        return {"factory": SQLiteConnection, **session}

    @override
    def state(self, dialect: Dialect, lent: Any) -> State:
        driver = unwrapped(lent)
        return State(driver.isolation_level, bool(driver.in_transaction))

    @override
    def commits_each(self, lent: Any) -> bool:
        # Where COMMIT does nothing, or a transaction is always open: sqlite3's attribute autocommit of Python 3.12.
        legacy = getattr(sqlite3, "LEGACY_TRANSACTION_CONTROL", None)
        driver = unwrapped(lent)
        return getattr(getattr(driver, "_conn", driver), "autocommit", legacy) != legacy

    @override
    def has_lost(self, lent: Any) -> bool:
        # A full disk or an input/output error rolls back everything (https://www.sqlite.org/lang_transaction.html).
        return not unwrapped(lent).in_transaction

    @override
    def fetch(self, lent: Any, sql: str, parameters: Any) -> Rows:
        rows: Rows = lent.execute(sql, parameters).fetchall()
        return rows

    @override
    def diagnose(self, error: Any, statement: str) -> Diagnostics:
        message = str(error)
        shown = any(form.match(message) for form in _FORMS)
        if column := _COLUMN.match(message):
            # A full-text search takes a word of the value for one.
            shown = column[1] in statement
        code: str | None = getattr(error, "sqlite_errorname", None)
        return Diagnostics(message if shown else "", code=code, **names_in(message, _NAMES))


_NAMES = tuple(
    map(
        re.compile,
        (
            r"^(?:UNIQUE|NOT NULL) constraint failed: (?P<table>[^.,]+)\.(?P<column>[^.,]+)$",
            r"^(?:UNIQUE|CHECK) constraint failed: (?P<constraint>.+)$",
            r"^cannot store \w+ value in \w+ column (?P<table>[^.]+)\.(?P<column>.+)$",
        ),
    )
)
_FORMS = tuple(
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
_COLUMN = re.compile(r"no such column: (\S+)$")

SYNC = SQLite()
