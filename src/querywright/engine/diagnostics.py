"""Read of a database's error what may stand in a log: the server's own words, but never a value of a user.

PostgreSQL keeps values out of its primary message, but for the classes 22 (data) and 23 (integrity); elsewhere they are
in DETAIL (https://www.postgresql.org/docs/18/error-style-guide.html). MariaDB, SQLite and drivers have no such rule, so
of theirs only forms are shown that name nothing but tables, columns and the like.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy.exc import DBAPIError

from querywright.engine.databases.errors import classify, sqlstate_of
from querywright.engine.drivers.driver import Diagnostics
from querywright.engine.drivers.lookup import driver_of_error
from querywright.errors import DatabaseUnavailable, InvalidValue

__all__ = ["Diagnostics", "diagnose"]


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
        driver = driver_of_error(original)
        if driver is not None:
            yield driver.diagnose(original, error.statement or "")
        original = original.__cause__
