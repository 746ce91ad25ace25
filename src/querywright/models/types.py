"""Column types whose values survive every database unchanged."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeDecorator, TypeEngine
from typing_extensions import override

import querywright.models.decimals_sqlite  # noqa: F401 - registers how they are compiled
from querywright.models.decimals import ExactDecimal

__all__ = ["Document", "ExactDecimal", "StoredJSON", "UTCDateTime"]


class UTCDateTime(TypeDecorator[dt.datetime]):
    """An aware timestamp, stored and returned in UTC; a naive value is refused.

    PostgreSQL stores ``timestamptz``. SQLite, MySQL and MariaDB have no such type: the value is stored as UTC, with
    microseconds, and comes back aware.

    Raises:
        ValueError: A bound value has no time zone.

    Example:
        >>> from sqlalchemy import Column
        >>> Column("due", UTCDateTime()).type
        UTCDateTime(timezone=True)
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Ask for microseconds where the database would leave them out."""
        if dialect.name not in {"mysql", "mariadb"}:
            return dialect.type_descriptor(self.impl_instance)
        # By its name, as Document does: nobody else has to load that dialect.
        known: dict[str, Any] = getattr(dialect, "ischema_names", {})
        return dialect.type_descriptor(known["datetime"](fsp=6))

    @override
    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Turn an aware value into UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"UTCDateTime needs an aware datetime, got {value!r}; add a time zone such as datetime.UTC"
            raise ValueError(message)
        return value.astimezone(dt.timezone.utc)

    @override
    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Return an aware value in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=dt.timezone.utc)
        return value.astimezone(dt.timezone.utc)


class StoredJSON(JSON):
    """JSON that comes back as it was.

    SQLite makes a float of a bare number in a column that is declared as JSON, so there the column is one of texts
    (https://www.sqlite.org/datatype3.html, section 3.1).
    """


@compiles(StoredJSON, "sqlite")
def _declare_text(*_: Any, **__: Any) -> str:
    return "TEXT"


class Document(TypeDecorator[Any]):
    """JSON; on PostgreSQL JSONB, which can be indexed.

    Example:
        >>> from sqlalchemy import Column
        >>> Column("data", Document()).type
        Document()
    """

    impl = JSON
    cache_ok = True

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose JSONB where the database has it."""
        # By its name: to import PostgreSQL's types would load the dialect of each of its drivers, for everyone.
        known: dict[str, Any] = getattr(dialect, "ischema_names", {})
        return dialect.type_descriptor(known["jsonb"]()) if "jsonb" in known else StoredJSON()
