"""Turn what SQL wrote back into the values that an ORM object would hold, for models that want those."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import importlib
import ipaddress
import json
import math
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from querywright.fetching.plan.nodes import (
    Aggregate,
    Embedded,
    Encoding,
    Field,
    Groups,
    Node,
    Scalar,
    Shape,
    ToMany,
    ToOne,
    Variants,
)
from querywright.fetching.plan.types import encoding_of, has_hooks, storage_encoding, stored_type, unwrap_type
from querywright.fetching.writers import writer_for

__all__ = ["Reader", "parses_documents", "reader_of", "row_reader"]

Reader = Callable[[Any], Any]

# Pydantic reads every notation that a database writes; fromisoformat of Python 3.10 does not.
_parse_moment: Callable[[Any], dt.datetime] = TypeAdapter(dt.datetime).validate_python
_day: Reader = TypeAdapter(dt.date).validate_python
_parse_time: Reader = TypeAdapter(dt.time).validate_python
_EPOCH = dt.datetime.fromtimestamp(0, dt.timezone.utc).replace(tzinfo=None)


def reader_of(node: Node, dialect: Dialect) -> Reader | None:
    """Make a function that converts the parsed JSON of a node; ``None`` if nothing in it has to be converted."""
    return _NODES[type(node)](node, dialect)


def _optional(read: Reader | None) -> Reader | None:
    return read and (lambda value: None if value is None else read(value))


def _list(read: Reader | None) -> Reader | None:
    return read and (lambda values: [read(value) for value in values])


def _object_reader(shape: Shape, dialect: Dialect) -> Reader | None:
    found = [(field.input_key, reader_of(field.value, dialect)) for field in shape.fields]
    readers = [(key, read) for key, read in found if read is not None]
    if not readers and not shape.attributes:
        return None

    def read_object(row: dict[str, Any]) -> Any:
        for key, read in readers:
            row[key] = read(row[key])
        return SimpleNamespace(**row) if shape.attributes else row

    return read_object


def _groups_reader(node: Groups, dialect: Dialect) -> Reader | None:
    read = reader_of(node.target, dialect)
    read = read if node.single else _list(read)
    return read and (lambda groups: {key: read(value) for key, value in groups.items()})


def _variants_reader(node: Variants, dialect: Dialect) -> Reader | None:
    found = [(values, shape, _object_reader(shape, dialect)) for values, shape in node.cases]
    readers = {_plain(value): read for values, _, read in found for value in values}
    [key] = {_discriminator_key(shape, node.discriminator) for _, shape, _ in found}

    def read_variant(row: dict[str, Any]) -> Any:
        read = readers[row[key]]
        return read(row) if read else row

    return read_variant if any(read for _, _, read in found) else None


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value


def _discriminator_key(shape: Shape, discriminator: Scalar) -> str:
    fields: list[Field] = [
        field
        for field in shape.fields
        if isinstance(field.value, Scalar) and field.value.source == discriminator.source
    ]
    return fields[0].input_key


def row_reader(nodes: Sequence[Scalar], dialect: Dialect) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Make a function that converts several values, each by a node of its own."""
    readers = [reader_of(node, dialect) for node in nodes]
    return lambda values: tuple(read(value) if read else value for read, value in zip(readers, values, strict=True))


def value_reader(encoding: Encoding, column_type: TypeEngine[Any], dialect: Dialect) -> Reader | None:
    """Make a function that converts one value which is not ``None``."""
    if encoding is Encoding.CUSTOM:
        return _custom_reader(column_type, dialect)
    if isinstance(column_type, sa.ARRAY):
        return _array_reader(column_type, dialect)
    if encoding is Encoding.JSON:
        return _document_reader(dialect)
    if encoding is Encoding.NETWORK:
        return _network_reader(column_type, dialect)
    if encoding in _MAKERS:
        return _MAKERS[encoding](column_type)
    return _READERS.get(encoding)


def _custom_reader(column_type: TypeEngine[Any], dialect: Dialect) -> Reader | None:
    """Read what the database stores, then let the type's own Python change it."""
    stored = stored_type(column_type, dialect)
    change: Reader | None = None
    if isinstance(column_type, TypeDecorator) and not has_own_processor(column_type):
        change = partial(_process, column_type, dialect)
    # SQLAlchemy may replace a subclass of its own type by that of the dialect, and loses what it does.
    elif has_hooks(impl := column_type.dialect_impl(dialect)):
        change = impl.result_processor(dialect, None)
    encoding = storage_encoding(stored)
    assert encoding is not None  # noqa: S101 - compiled before it is read
    read = value_reader(encoding, stored, dialect)
    if change is None or read is None:
        return change or read
    return lambda value: change(read(value))


# Parsers that make of JSON what Python's own does.
_PARSERS = {"json", "orjson", "ujson", "simplejson", "rapidjson", "msgspec", "pydantic_core", "_pydantic_core"}


def parses_documents(dialect: Dialect) -> bool:
    """Return whether an engine has a ``json_deserializer`` that may make something of its own of a document."""
    parser = getattr(dialect, "_json_deserializer", None)
    return parser is not None and str(getattr(parser, "__module__", "")).partition(".")[0] not in _PARSERS


def _document_reader(dialect: Dialect) -> Reader | None:
    if not parses_documents(dialect):
        return None
    parse: Any = dialect._json_deserializer  # noqa: SLF001 - what create_engine() was given
    return lambda value: parse(json.dumps(value))


def has_own_processor(column_type: TypeDecorator[Any]) -> bool:
    """Return whether a decorator replaces the whole processing of results, as PickleType does."""
    return type(column_type).result_processor is not TypeDecorator.result_processor


def _process(column_type: TypeDecorator[Any], dialect: Dialect, value: Any) -> Any:
    return column_type.process_result_value(value, dialect)


def _array_reader(array: sa.ARRAY[Any], dialect: Dialect) -> Reader | None:
    item = unwrap_type(array.item_type)
    encoding = encoding_of(item)
    assert encoding is not None  # noqa: S101 - planned before it is read
    read = value_reader(encoding, item, dialect) or (lambda value: value)
    collect: Callable[[Any], Any] = tuple if array.as_tuple else list
    # An element that is written as a list itself lies below the dimensions that are declared; PostgreSQL checks none.
    most = (array.dimensions or 1) if storage_encoding(item) in {Encoding.JSON, Encoding.RANGE} else math.inf

    def read_array(values: Any, depth: int = 0) -> Any:
        if isinstance(values, list) and depth < most:
            return collect(read_array(value, depth + 1) for value in values)
        return None if values is None else read(values)

    return read_array


def _enum_reader(enum_type: sa.Enum) -> Reader | None:
    return enum_type.enum_class


def _name_reader(enum_type: sa.Enum) -> Reader:
    return enum_type._object_value_for_elem  # noqa: SLF001 - what its own result processor calls


def _uuid_reader(key: Any) -> Reader | None:
    return uuid.UUID if key.as_uuid else None


def _interval(written: int | str) -> dt.timedelta:
    """Read microseconds; or the timestamp, counted from 1970, that SQLAlchemy stores where there are no intervals."""
    if isinstance(written, str):
        return _moment(written) - _EPOCH
    return dt.timedelta(microseconds=written)


def _time(text: str) -> Any:
    # PostgreSQL leaves out the minutes of a time zone.
    return _parse_time(f"{text}:00" if text[-3] in "+-" else text)


def _moment(text: str) -> dt.datetime:
    moment = _parse_moment(text)
    # UTC as drivers give it, and not Pydantic's own class.
    return moment if moment.tzinfo is None or moment.utcoffset() else moment.replace(tzinfo=dt.timezone.utc)


def _network(text: str) -> Any:
    return (ipaddress.ip_interface if "/" in text else ipaddress.ip_address)(text)


def _network_reader(column_type: TypeEngine[Any], dialect: Dialect) -> Reader | None:
    # What create_engine(native_inet_types=False) asks for.
    texts = getattr(dialect, "_native_inet_types", None) is False
    if texts or not writer_for(dialect.name, dialect.driver).reads_networks:
        return None
    return ipaddress.ip_network if column_type.__visit_name__ == "CIDR" else _network


def _range_reader(column_type: TypeEngine[Any]) -> Reader:
    # The class lives beside the types, in a package that would load every driver.
    range_class: Any = importlib.import_module("sqlalchemy.dialects.postgresql.ranges").Range
    read = _RANGED[column_type.__visit_name__]

    def read_range(written: list[Any]) -> Any:
        if not written:
            return range_class(empty=True)
        lower, upper, bounds = written
        return range_class(lower and read(lower), upper and read(upper), bounds=bounds)

    return read_range


_RANGED: dict[str, Reader] = {
    "INT4RANGE": int,
    "INT8RANGE": int,
    "NUMRANGE": decimal.Decimal,
    "DATERANGE": _day,
    "TSRANGE": _moment,
    "TSTZRANGE": _moment,
}
_READERS: dict[Encoding, Reader] = {
    # NaN and the infinities come as text.
    Encoding.FLOAT: float,
    Encoding.DECIMAL: decimal.Decimal,
    Encoding.TIMESTAMP: _moment,
    Encoding.UTC_TIMESTAMP: _moment,
    Encoding.DATE: _day,
    Encoding.TIME: _time,
    Encoding.BYTES: bytes.fromhex,
    Encoding.INTERVAL: _interval,
}
_MAKERS: dict[Encoding, Callable[[Any], Reader | None]] = {
    Encoding.ENUM: _enum_reader,
    Encoding.NAME: _name_reader,
    Encoding.UUID: _uuid_reader,
    Encoding.RANGE: _range_reader,
}


def _scalar_reader(node: Scalar, dialect: Dialect) -> Reader | None:
    read = value_reader(node.encoding, node.type, dialect)
    custom = node.type if node.encoding is Encoding.CUSTOM else None
    if not isinstance(custom, TypeDecorator) or has_own_processor(custom):
        return _optional(read)
    process = partial(_process, custom, dialect)
    return lambda value: process(None) if value is None else (read or process)(value)


_NODES: dict[type, Callable[[Any, Dialect], Reader | None]] = {
    Scalar: _scalar_reader,
    Aggregate: lambda node, dialect: reader_of(node.value, dialect),
    Shape: _object_reader,
    ToOne: lambda node, dialect: _optional(reader_of(node.target, dialect)),
    ToMany: lambda node, dialect: _list(reader_of(node.target, dialect)),
    Embedded: lambda node, dialect: _optional(reader_of(node.shape, dialect)),
    Groups: _groups_reader,
    Variants: _variants_reader,
}
