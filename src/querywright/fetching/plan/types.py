"""Match a column's type with a field's annotation: how the value is written, and who writes it."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args, get_origin

import sqlalchemy as sa
from sqlalchemy import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from querywright.fetching.plan.nodes import Encoding
from querywright.models.types import ExactDecimal, UTCDateTime

__all__ = [
    "EXACT_ITEMS",
    "accepts",
    "annotated_type",
    "encoding_of",
    "has_hooks",
    "is_exact",
    "is_native",
    "members_of",
    "storage_encoding",
    "stored_type",
    "unwrap_type",
]

# Methods by which a type changes what is read.
_RESULT_HOOKS = ("process_result_value", "result_processor")


def has_hooks(column_type: TypeEngine[Any]) -> bool:
    """Return whether a type that is neither SQLAlchemy's nor ours changes in Python what is read."""
    # MySQL's SET is a text that SQLAlchemy makes a set of.
    if isinstance(column_type, sa.PickleType) or column_type.__visit_name__ == "SET":
        return True
    theirs = [
        cls for cls in type(column_type).__mro__ if not cls.__module__.startswith(("sqlalchemy.", "querywright."))
    ]
    return any(hook in cls.__dict__ for cls in theirs for hook in _RESULT_HOOKS)


# Decorators whose values are written and read as such, whatever a database stores for them.
_KNOWN_DECORATORS = (UTCDateTime, ExactDecimal, sa.Interval)


def unwrap_type(column_type: TypeEngine[Any]) -> TypeEngine[Any]:
    """Look through type decorators that leave results alone, such as SQLModel's AutoString."""
    while isinstance(column_type, TypeDecorator) and not isinstance(column_type, _KNOWN_DECORATORS):
        if has_hooks(column_type):
            return column_type
        column_type = column_type.impl_instance
    return column_type


def stored_type(column_type: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """Look through a custom type: what this database stores for it."""
    while isinstance(column_type, TypeDecorator) and not isinstance(column_type, _KNOWN_DECORATORS):
        column_type = column_type.load_dialect_impl(dialect)
    if isinstance(column_type, sa.ARRAY):
        item = stored_type(column_type.item_type, dialect)
        return sa.ARRAY(item, as_tuple=column_type.as_tuple, dimensions=column_type.dimensions)
    return column_type


def encoding_of(column_type: TypeEngine[Any]) -> Encoding | None:
    """Choose how values of this type are written; ``None`` where that is not known."""
    if has_hooks(column_type):
        return Encoding.CUSTOM
    return storage_encoding(column_type)


def storage_encoding(column_type: TypeEngine[Any]) -> Encoding | None:
    """Choose how values of this type are written, whatever Python makes of them."""
    by_name = _BY_NAME.get(column_type.__visit_name__)
    if by_name:
        return by_name
    return next((choose(column_type) for kind, choose in _ENCODINGS if isinstance(column_type, kind)), None)


def _enum_encoding(enum_type: sa.Enum) -> Encoding:
    if enum_type.enum_class is None:
        return Encoding.TEXT
    plain = all(type(member.value) in {str, int} for member in enum_type.enum_class)
    return Encoding.ENUM if plain else Encoding.NAME


def members_of(column_type: sa.Enum) -> list[tuple[str, object]]:
    """Pair each stored string with the value of its member."""
    named = (column_type.enum_class or enum.Enum).__members__.values()
    # The stored strings leave aliases out, unless told otherwise.
    members = named if len(named) == len(column_type.enums) else list(column_type.enum_class or ())
    return [(stored, member.value) for stored, member in zip(column_type.enums, members, strict=True)]


def _array_encoding(array: sa.ARRAY[Any]) -> Encoding | None:
    return Encoding.ARRAY if encoding_of(unwrap_type(array.item_type)) else None


# By the names that SQLAlchemy's compilers know: PostgreSQL's types live in a package that loads all its drivers.
_BY_NAME = {
    "INET": Encoding.NETWORK,
    "CIDR": Encoding.NETWORK,
    "MACADDR": Encoding.TEXT,
    "MACADDR8": Encoding.TEXT,
    "INTERVAL": Encoding.INTERVAL,
    **dict.fromkeys(("INT4RANGE", "INT8RANGE", "NUMRANGE", "DATERANGE", "TSRANGE", "TSTZRANGE"), Encoding.RANGE),
}

# The first match counts: SQLAlchemy's Enum is a String, and its Float was a Numeric before 2.1.
_ENCODINGS: tuple[tuple[type[TypeEngine[Any]], Callable[[Any], Encoding | None]], ...] = (
    (UTCDateTime, lambda _: Encoding.UTC_TIMESTAMP),
    (ExactDecimal, lambda _: Encoding.DECIMAL),
    (sa.Interval, lambda _: Encoding.INTERVAL),
    (TypeDecorator, lambda _: None),
    (sa.Enum, _enum_encoding),
    (sa.Float, lambda number: None if number.asdecimal else Encoding.FLOAT),
    (sa.Numeric, lambda number: Encoding.DECIMAL if number.asdecimal else Encoding.FLOAT),
    (sa.Uuid, lambda _: Encoding.UUID),
    (sa.Boolean, lambda _: Encoding.BOOLEAN),
    (sa.Integer, lambda _: Encoding.INTEGER),
    (sa.String, lambda _: Encoding.TEXT),
    (sa.LargeBinary, lambda _: Encoding.BYTES),
    (sa.DateTime, lambda _: Encoding.TIMESTAMP),
    (sa.Date, lambda _: Encoding.DATE),
    (sa.Time, lambda _: Encoding.TIME),
    (sa.JSON, lambda _: Encoding.JSON),
    (sa.ARRAY, _array_encoding),
)

# The types of expressions that have none of their own, by the annotation of their field.
_ANNOTATED: dict[Any, TypeEngine[Any]] = {
    int: sa.BigInteger(),
    str: sa.Text(),
    bool: sa.Boolean(),
    float: sa.Double(),
    decimal.Decimal: sa.Numeric(),
    dt.datetime: sa.DateTime(),
    dt.date: sa.Date(),
    uuid.UUID: sa.Uuid(),
}


def annotated_type(annotation: Any) -> TypeEngine[Any] | None:
    """Guess the type of an expression whose type SQLAlchemy does not know."""
    return _ANNOTATED.get(annotation) if isinstance(annotation, type) else None


# The class of the values that an ORM object holds.
_PYTHON: dict[Encoding, type] = {
    Encoding.INTEGER: int,
    Encoding.TEXT: str,
    Encoding.BOOLEAN: bool,
    Encoding.FLOAT: float,
    Encoding.DECIMAL: decimal.Decimal,
    Encoding.TIMESTAMP: dt.datetime,
    Encoding.UTC_TIMESTAMP: dt.datetime,
    Encoding.DATE: dt.date,
    Encoding.TIME: dt.time,
    Encoding.BYTES: bytes,
    Encoding.INTERVAL: dt.timedelta,
}


def _python_type(encoding: Encoding, column_type: TypeEngine[Any]) -> type | None:
    if isinstance(column_type, sa.Enum) and column_type.enum_class:
        return column_type.enum_class
    if isinstance(column_type, sa.Uuid):
        return uuid.UUID if column_type.as_uuid else str
    return _PYTHON.get(encoding)


# Pydantic turns a number into a number, and leaves alone what is not in here.
_CONVERTS = {
    decimal.Decimal: (decimal.Decimal, float, int),
    float: (float, decimal.Decimal, int),
    dt.date: (dt.date, dt.datetime),
    dt.datetime: (dt.datetime, dt.date),
    bytes: (bytes, str),
}
_BUILTIN = (
    *(str, int, float, bool, bytes, dict, list, decimal.Decimal, uuid.UUID),
    *(dt.datetime, dt.date, dt.time, dt.timedelta),
)


def accepts(encoding: Encoding, column_type: TypeEngine[Any], annotation: Any) -> tuple[type, ...]:
    """List the annotations that hold this column's values; empty if this one does, or the model may judge."""
    held = _python_type(encoding, column_type)
    if held is None or encoding in _NATIVE or annotation not in _BUILTIN:
        return ()
    allowed = _CONVERTS.get(held, (held,))
    return () if annotation in allowed or issubclass(held, annotation) else allowed


# These look the same to Pydantic whether they come from Python or from JSON.
_NATIVE = frozenset({Encoding.INTEGER, Encoding.TEXT, Encoding.BOOLEAN, Encoding.JSON})
_FOR_PYTHON = frozenset(
    {Encoding.BYTES, Encoding.INTERVAL, Encoding.NAME, Encoding.NETWORK, Encoding.RANGE, Encoding.CUSTOM}
)
_DOCUMENTS: tuple[Any, ...] = (Any, dict, list, dict[str, Any], list[Any])


def is_native(encoding: Encoding, column_type: TypeEngine[Any], annotation: Any) -> bool:
    """Return whether the model makes the same of the JSON of a value as of the value itself."""
    if encoding in _FOR_PYTHON or encoding in {Encoding.ARRAY, Encoding.TIME}:
        return is_exact(encoding, column_type, annotation)
    return encoding in _NATIVE or annotation is _python_type(encoding, column_type)


def is_exact(encoding: Encoding, column_type: TypeEngine[Any], annotation: Any) -> bool:
    """Return whether SQL writes this column exactly as Pydantic would write this annotation."""
    if encoding in _FOR_PYTHON:
        return False
    if encoding is Encoding.JSON:
        return any(annotation is known or annotation == known for known in _DOCUMENTS)
    if encoding is Encoding.TIME:
        return annotation is dt.time and not getattr(column_type, "timezone", False)
    if isinstance(column_type, sa.ARRAY):
        return _is_exact_array(column_type, annotation)
    if isinstance(column_type, sa.Enum) and column_type.enum_class is None and get_origin(annotation) is Literal:
        return set(column_type.enums) <= set(get_args(annotation))
    return annotation is _python_type(encoding, column_type)


# Whose arrays SQL writes as Pydantic does.
EXACT_ITEMS = frozenset({Encoding.INTEGER, Encoding.TEXT, Encoding.BOOLEAN, Encoding.DECIMAL, Encoding.UUID})


def _is_exact_array(array: sa.ARRAY[Any], annotation: Any) -> bool:
    for _ in range(array.dimensions or 1):
        if get_origin(annotation) not in {list, Sequence} or array.as_tuple:
            return False
        [annotation] = get_args(annotation)
    item = unwrap_type(array.item_type)
    encoding = encoding_of(item)
    # Elements that have to be written one by one lose how they are nested.
    nested = encoding is Encoding.DECIMAL and (array.dimensions or 1) > 1
    return encoding in EXACT_ITEMS and annotation is _python_type(encoding, item) and not nested
