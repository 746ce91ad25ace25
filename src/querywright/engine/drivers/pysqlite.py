"""sqlite3, the driver of the standard library: SQLAlchemy calls it pysqlite."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial, wraps
from typing import Any

from sqlalchemy import Dialect
from typing_extensions import override

from querywright.engine.drivers.driver import Diagnostics, Driver, Rows, State, names_in, unwrapped
from querywright.settings import DatabaseSettings

__all__ = ["SYNC", "SQLite", "SQLiteConnection"]

# As sqlite3 has it, and SQLAlchemy knows it.
_CLOSED = "Cannot operate on a closed database."
_new_cursor = sqlite3.Connection.cursor


def _within(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let another thread close the connection while a method of it, or of one of its cursors, is under way.

    sqlite3 would go on without its database then, and the process would crash. Arguments by name would take longer.
    """

    @wraps(method)
    def call(self: SQLiteConnection | SQLiteCursor, *arguments: Any) -> Any:
        connection = self.connection
        # Before the look at `ended`, as close() looks the other way round: one of both sees the other.
        connection.running += 1
        try:
            if connection.ended:
                raise sqlite3.ProgrammingError(_CLOSED)
            return method(self, *arguments)
        except sqlite3.OperationalError as error:
            if connection.ended:
                raise sqlite3.ProgrammingError(_CLOSED) from error
            raise
        finally:
            connection.running -= 1
            if connection.ended:
                connection.finish()

    return call


class SQLiteConnection(sqlite3.Connection):
    """A connection that ends its transaction when it is closed, and may be closed while a thread is in a call of it.

    SQLite keeps a closed connection, and its locks, until the last of its cursors is gone
    (https://www.sqlite.org/c3ref/close.html), and the traceback of a cancelled task holds one.

    Attributes:
        running: How many calls are under way.
        ended: Whether it was closed, or will be by the last of these calls.
    """

    # Faster than a dictionary, twice for each call.
    __slots__ = ("__dict__", "__weakref__", "ended", "running")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.running = 0
        self.ended = False
        super().__init__(*arguments, **options)

    @property
    def connection(self) -> SQLiteConnection:
        """Itself, as its cursors have it."""
        return self

    def cursor(self, factory: Any = None) -> Any:
        """Make a cursor."""
        return _new_cursor(self, factory or SQLiteCursor)

    # Since Python 3.12 these would make a cursor of another kind.
    def execute(self, *arguments: Any) -> Any:
        """Run a statement with a cursor of its own."""
        return self.cursor().execute(*arguments)

    def executemany(self, *arguments: Any) -> Any:
        """Run a statement with one set of values after the other."""
        return self.cursor().executemany(*arguments)

    def executescript(self, *arguments: Any) -> Any:
        """Run several statements."""
        return self.cursor().executescript(*arguments)

    def close(self) -> None:
        """Roll back and close; while calls are under way, interrupt them and let the last one do it."""
        if self.ended:
            return
        # Where each thread is to have a connection of its own, this is the error of another one.
        _new_cursor(self)
        self.ended = True
        if self.running:
            # They may have ended since.
            with suppress(sqlite3.Error):
                self.interrupt()
        else:
            self.finish()

    def finish(self) -> None:
        """Roll back and close, once and when no call is under way."""
        if self.running:
            return
        self.running = 1
        with suppress(sqlite3.Error):
            super().rollback()
        super().close()

    commit = _within(sqlite3.Connection.commit)
    rollback = _within(sqlite3.Connection.rollback)
    __exit__ = _within(sqlite3.Connection.__exit__)
    _run = _within(lambda _connection, call: call())

    def backup(self, *arguments: Any, **options: Any) -> None:
        """Copy the database into that of another connection."""
        self._run(partial(super().backup, *arguments, **options))


class SQLiteCursor(sqlite3.Cursor):
    """A cursor whose connection may be closed while it is in a call."""

    connection: SQLiteConnection  # pyright: ignore[reportIncompatibleMethodOverride] # there it is a member as well
    execute = _within(sqlite3.Cursor.execute)
    executemany = _within(sqlite3.Cursor.executemany)
    executescript = _within(sqlite3.Cursor.executescript)
    fetchone = _within(sqlite3.Cursor.fetchone)
    fetchall = _within(sqlite3.Cursor.fetchall)
    __next__ = _within(sqlite3.Cursor.__next__)
    _fetchmany = _within(sqlite3.Cursor.fetchmany)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """Read some rows."""
        rows: list[Any] = self._fetchmany(self.arraysize if size is None else size)
        return rows


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
        return State((driver.isolation_level, driver.row_factory, driver.text_factory), bool(driver.in_transaction))

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
