"""Column types whose values survive every database unchanged."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Numeric
from sqlalchemy.types import TypeDecorator, TypeEngine
from typing_extensions import override

__all__ = ["Document", "ExactDecimal", "UTCDateTime"]

_INT64_DIGITS = 18


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
        return dialect.type_descriptor(known.get("jsonb", JSON)())


class ExactDecimal(TypeDecorator[Decimal]):
    """A decimal that never passes through a float.

    PostgreSQL stores ``NUMERIC(precision, scale)``. SQLite would store a float, so there the value is an integer of
    ``10**-scale`` units: order, comparison and ``sum()`` are exact, and plain SQL sees the integer.

    Args:
        precision: All digits, at most 18, which is what a 64-bit integer holds.
        scale: Digits behind the point.

    Raises:
        ValueError: A bound value needs more digits than the type has.

    Example:
        >>> from sqlalchemy import Column
        >>> Column("price", ExactDecimal(12, 2)).type
        ExactDecimal(precision=12, scale=2)
    """

    impl = Numeric
    cache_ok = True

    def __init__(self, precision: int = 18, scale: int = 6) -> None:
        if not 0 <= scale <= precision <= _INT64_DIGITS:
            message = f"ExactDecimal({precision}, {scale}): 0 <= scale <= precision <= {_INT64_DIGITS} must hold"
            raise ValueError(message)
        super().__init__(precision=precision, scale=scale)
        self.precision = precision
        self.scale = scale

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose NUMERIC, or an integer where the database has no decimals."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(Numeric(self.precision, self.scale))

    @override
    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | int | None:
        """Check that the value fits, and scale it where the database has no decimals."""
        if value is None:
            return None
        units = Decimal(value).scaleb(self.scale)
        if not units.is_finite() or units != units.to_integral_value() or abs(units) >= 10**self.precision:
            message = f"ExactDecimal({self.precision}, {self.scale}) cannot hold {value!s} exactly; round it first"
            raise ValueError(message)
        return int(units) if dialect.name == "sqlite" else Decimal(value)

    @override
    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Return a Decimal with exactly ``scale`` digits behind the point."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return Decimal(value).scaleb(-self.scale)
        # asyncpg leaves out zeros: 6250000 comes as 6.25E+6.
        return Decimal(value).quantize(Decimal(1).scaleb(-self.scale))
