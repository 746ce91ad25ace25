"""Match a column's type with a field's annotation: how the value is written, and who writes it."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

from querywright.fetch.nodes import Encoding
from querywright.models.types import ExactDecimal, UTCDateTime

__all__ = ["accepts", "encoding_of", "is_exact", "unwrap_type"]

# The Python types that can hold a column's values, the one SQLAlchemy returns first.
_PYTHON_TYPES: dict[Encoding, tuple[type, ...]] = {
    Encoding.DECIMAL: (decimal.Decimal, float, int),
    Encoding.TIMESTAMP: (dt.datetime,),
    Encoding.UTC_TIMESTAMP: (dt.datetime,),
    Encoding.DATE: (dt.date, dt.datetime),
    Encoding.UUID: (uuid.UUID,),
}
_EXACT: dict[Encoding, tuple[Any, ...]] = {
    Encoding.INTEGER: (int,),
    Encoding.TEXT: (str,),
    Encoding.BOOLEAN: (bool,),
    Encoding.FLOAT: (float,),
    Encoding.DECIMAL: (decimal.Decimal,),
    Encoding.TIMESTAMP: (dt.datetime,),
    Encoding.UTC_TIMESTAMP: (dt.datetime,),
    Encoding.DATE: (dt.date,),
    Encoding.UUID: (uuid.UUID,),
    Encoding.JSON: (Any, dict, list, dict[str, Any], list[Any]),
}


# Methods by which a type changes what is read, in Python or in SQL.
_RESULT_HOOKS = ("process_result_value", "result_processor", "column_expression")


def unwrap_type(column_type: TypeEngine[Any]) -> TypeEngine[Any]:
    """Look through type decorators that leave results alone, such as SQLModel's AutoString."""
    while isinstance(column_type, TypeDecorator) and not isinstance(column_type, (UTCDateTime, ExactDecimal)):
        if any(getattr(type(column_type), hook) is not getattr(TypeDecorator, hook) for hook in _RESULT_HOOKS):
            return column_type
        column_type = column_type.impl_instance
    return column_type


def encoding_of(column_type: TypeEngine[Any]) -> Encoding | None:
    """Choose how values of this type are written; ``None`` where SQL cannot write what Python would return."""
    cls = type(column_type)
    if not cls.__module__.startswith(("sqlalchemy.", "querywright.")) and any(
        hook in cls.__dict__ for hook in _RESULT_HOOKS
    ):
        return None
    return next((choose(column_type) for kind, choose in _ENCODINGS if isinstance(column_type, kind)), None)


def _enum_encoding(enum_type: sa.Enum) -> Encoding | None:
    if enum_type.enum_class is None:
        return Encoding.TEXT
    return Encoding.ENUM if all(isinstance(member.value, (str, int)) for member in enum_type.enum_class) else None


# The first match counts: SQLAlchemy's Enum is a String, and its Float was a Numeric before 2.1.
_ENCODINGS: tuple[tuple[type[TypeEngine[Any]], Callable[[Any], Encoding | None]], ...] = (
    (UTCDateTime, lambda _: Encoding.UTC_TIMESTAMP),
    (ExactDecimal, lambda _: Encoding.DECIMAL),
    (TypeDecorator, lambda _: None),
    (sa.Enum, _enum_encoding),
    (sa.Float, lambda number: None if number.asdecimal else Encoding.FLOAT),
    (sa.Numeric, lambda number: Encoding.DECIMAL if number.asdecimal else Encoding.FLOAT),
    (sa.Uuid, lambda key: Encoding.UUID if key.as_uuid else None),
    (sa.Boolean, lambda _: Encoding.BOOLEAN),
    (sa.Integer, lambda _: Encoding.INTEGER),
    (sa.String, lambda _: Encoding.TEXT),
    (sa.DateTime, lambda _: Encoding.TIMESTAMP),
    (sa.Date, lambda _: Encoding.DATE),
    (sa.JSON, lambda _: Encoding.JSON),
)


def accepts(encoding: Encoding, column_type: TypeEngine[Any], annotation: Any) -> tuple[type, ...]:
    """List the annotations that hold this column's values; empty if the model itself may judge.

    A number, text, boolean or JSON value looks the same to Pydantic whether it comes from Python or from JSON.
    The others do not: ``str`` would accept the JSON of a UUID but not the UUID that an ORM object holds.
    """
    if isinstance(column_type, sa.Enum) and column_type.enum_class:
        allowed: tuple[type, ...] = (column_type.enum_class,)
    else:
        allowed = _PYTHON_TYPES.get(encoding, ())
    return () if annotation in allowed else allowed


def is_exact(encoding: Encoding, column_type: TypeEngine[Any], annotation: Any) -> bool:
    """Say whether SQL writes this column exactly as Pydantic would write this annotation."""
    if encoding is Encoding.ENUM:
        return isinstance(column_type, sa.Enum) and annotation is column_type.enum_class
    return annotation in _EXACT[encoding]
