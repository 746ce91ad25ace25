"""Write JSON on PostgreSQL: text joined of to_json() and casts.

What a driver makes of a value decides how it is written: asyncpg reads binary forms, the others text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Text, and_, bindparam, case, cast, exists, func, literal_column, null, select
from sqlalchemy.types import TypeEngine
from typing_extensions import override

from querywright.errors import InvalidCursor
from querywright.fetching.plan.nodes import Encoding
from querywright.fetching.plan.types import EXACT_ITEMS, encoding_of, storage_encoding, unwrap_type
from querywright.fetching.writers import postgresql_numbers as numbers
from querywright.fetching.writers import postgresql_times as times
from querywright.fetching.writers.base import (
    Encoder,
    Fragments,
    JsonWriter,
    Nesting,
    SQLText,
    Use,
    Value,
    as_text,
    join,
    literal,
)
from querywright.fetching.writers.kinds import POSTGRESQL_KINDS
from querywright.fetching.writers.postgresql_times import Zone

__all__ = ["ASYNCPG", "POSTGRESQL"]


def _quote(value: ColumnElement[Any]) -> SQLText:
    return cast(func.to_json(value), Text)


def _aggregate(item: SQLText, order: Sequence[Any]) -> SQLText:
    comma = literal(",")
    if not order:
        return func.string_agg(item, comma)
    # Not postgresql.aggregate_order_by: that module loads every driver's dialect.
    return func.string_agg(item, comma.op("ORDER BY")(order[0]), *order[1:])


def _json(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return (_quote(column),)


def _string(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return (_quote(cast(column, Text)),)


def _uuid(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    # The inner cast gives dashes to a Uuid(native_uuid=False), which is a CHAR(32).
    return ('"', cast(cast(column, sa.UUID), Text), '"')


def _bytes(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return ('"', func.encode(column, literal("hex")), '"')


def _interval(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
    """Write microseconds, with the years of 365 and months of 30 days that the drivers read."""
    if isinstance(column_type, sa.Interval) and not column_type.native:
        return (_quote(column),)

    def part(name: str, factor: int) -> ColumnElement[Any]:
        # A double has not enough digits for the microseconds of 300 years, and a bigint not for those of 300,000.
        return cast(func.date_part(literal(name), column), sa.Numeric) * literal_column(str(factor))

    day = 86_400_000_000
    days = part("year", 365 * day) + part("month", 30 * day) + part("day", day)
    time = part("hour", day // 24) + part("minute", 60_000_000) + part("microseconds", 1)
    return (cast(days + time, Text),)


def _range(zone: Zone) -> Encoder:
    """Write ``[lower, upper, bounds]``, and nothing between the brackets of an empty range."""

    def write(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
        in_utc = zone == "UTC" and column_type.__visit_name__ == "TSTZRANGE"
        ends = [_end(bound, in_utc=in_utc) for bound in (func.lower(column), func.upper(column))]
        left = case((func.lower_inc(column), literal("[")), else_=literal("("))
        right = case((func.upper_inc(column), literal("]")), else_=literal(")"))
        written = cast(func.json_build_array(*ends, left.concat(right)), Text)
        return (case((func.isempty(column), literal("[]")), (column.is_not(None), written)),)

    return write


def _end(bound: ColumnElement[Any], *, in_utc: bool) -> ColumnElement[Any]:
    """Write an end of a range; NULL where there is none."""
    value = func.timezone(literal("UTC"), bound) if in_utc else bound
    # Through to_json(), which writes timestamps as ISO 8601 and leaves text alone.
    text = func.to_json(value).op("#>>")(literal("{}"))
    return func.coalesce(text.concat("+00:00") if in_utc else text, null())


_DATES = ("date", "timestamp without time zone", "timestamp with time zone")
_FLOATS = ("real", "double precision")
# As format_type() writes one: a name, perhaps in quotes and with a schema, or one of SQL's own; perhaps an array.
_NAME = r'("([^"]|"")+"|[^\W\d][\w$]*)'
_OWN = "double precision|character varying|bit varying|time(stamp)? with(out)? time zone"
_TYPE_NAME = re.compile(rf"({_OWN}|({_NAME}\.)?{_NAME})(\[\])*")


@dataclass(frozen=True)
class _PostgreSQLWriter(JsonWriter):
    """A writer that knows arrays."""

    @override
    def quote(self, value: ColumnElement[Any]) -> SQLText:
        return _quote(value)

    @override
    def aggregate(self, item: SQLText, order: Sequence[Any]) -> SQLText:
        return _aggregate(item, order)

    @override
    def writes(self, encoding: Encoding) -> bool:
        return encoding is Encoding.ARRAY or super().writes(encoding)

    @override
    def value(
        self, encoding: Encoding, column: ColumnElement[Any], column_type: TypeEngine[Any], *, use: Use = "client"
    ) -> Value:
        if encoding is not Encoding.ARRAY:
            return super().value(encoding, column, column_type, use=use)
        return self._array(column, column_type) if use == "client" else self._model_array(column, column_type)

    @override
    def extreme(self, function: str, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """PostgreSQL orders, but does not aggregate, booleans and, before 19, UUIDs."""
        encoding = storage_encoding(unwrap_type(column.type))
        if encoding is Encoding.BOOLEAN:
            return func.bool_or(column) if function == "max" else func.bool_and(column)
        if encoding is Encoding.UUID:
            text = sa.cast(column, sa.Text).collate("C")
            return sa.cast(getattr(func, function)(text), column.type)
        return super().extreme(function, column)

    def _array(self, column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
        """Write an array for a client: NULL among its elements, or other dimensions, make its row a broken one."""
        elements = _elements(column, sa.Text())
        full = ~exists(select(literal_column("1")).select_from(elements).where(elements.c.e.is_(None)))
        broken = self.broken("an element of an array")
        right = and_(_dimensions(column, column_type), full)
        written = self._elements_of(column, column_type, use="client")
        return (case((column.is_(None), null()), (right, written), else_=broken),)

    def _model_array(self, column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
        """Write an array for a model, which judges of NULL among its elements."""
        assert isinstance(column_type, sa.ARRAY)  # noqa: S101 - the encoding says so
        if _is_whole(column_type):
            return (_quote(column),)
        written = self._elements_of(column, column_type, use="model")
        broken = self.broken("an array of other dimensions")
        return (case((column.is_(None), null()), (_dimensions(column, column_type), written), else_=broken),)

    def _elements_of(self, column: ColumnElement[Any], column_type: Any, *, use: Use) -> SQLText:
        if _is_whole(column_type):
            return _quote(column)
        item = unwrap_type(column_type.item_type)
        encoding = encoding_of(item)
        assert encoding is not None  # noqa: S101 - planned before
        if (getattr(column_type, "dimensions", None) or 1) > 1:
            is_number = encoding in {Encoding.DECIMAL, Encoding.FLOAT}
            return _quote(cast(column, sa.ARRAY(Text))) if is_number else self.broken("an array of several dimensions")
        rows = _elements(column, item)
        text = self.text(self.value(encoding, rows.c.e, item, use=use))
        items = select(_aggregate(func.coalesce(text, literal("null")), [rows.c.n])).select_from(rows)
        return join("[", func.coalesce(items.scalar_subquery(), literal("")), "]")

    @override
    def position(self, key: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        # Not its name alone: "bit" and "character" would be cast to one bit and to one character.
        kind = func.format_type(func.pg_typeof(key), literal_column("-1"))
        # Of a date as ISO 8601, whatever the session's DateStyle. A float's digits depend on the session as well, so
        # its bits: record_send() gives them behind twelve bytes of the record's own.
        iso = func.to_json(key).op("#>>")(literal("{}"))
        bits = func.encode(func.record_send(func.row(key)), literal("hex"))
        whens = [(kind.in_(list(map(literal, names))), text) for names, text in ((_DATES, iso), (_FLOATS, bits))]
        return [kind, case((key.is_(None), null()), *whens, else_=cast(key, Text))]

    @override
    def cursor_parameter(self, name: str, kind: str) -> ColumnElement[Any]:
        if not _TYPE_NAME.fullmatch(kind):
            raise InvalidCursor("The cursor is not one of this list.", hint="Begin again at the first page.")
        return cast(bindparam(name, type_=Text()), Text).op("::")(literal_column(kind))


def _is_whole(array: sa.ARRAY[Any]) -> bool:
    """Return whether to_json writes the elements as they are written by themselves."""
    item = unwrap_type(array.item_type)
    encoding = encoding_of(item)
    return encoding in EXACT_ITEMS and encoding is not Encoding.DECIMAL and not isinstance(item, sa.types.TypeDecorator)


def _elements(column: ColumnElement[Any], item: TypeEngine[Any]) -> Any:
    """Select the elements of an array and their numbers."""
    return func.unnest(column).table_valued(sa.column("e", item), with_ordinality="n").render_derived()


def _dimensions(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> ColumnElement[bool]:
    """Return whether an array has its dimensions, which PostgreSQL does not demand; an empty one has none."""
    declared: ColumnElement[int] = literal_column(str(getattr(column_type, "dimensions", None) or 1))
    return func.coalesce(func.array_ndims(column), declared) == declared


def _writer(zone: Zone, *, is_binary: bool, many: bool = True) -> _PostgreSQLWriter:
    """Make the writer for a driver.

    Args:
        zone: The zone of the moments that it reads.
        is_binary: Whether it reads binary forms: a REAL as a double, 10000 as ``1E+4``.
        many: Whether it is for statements that return many rows.
    """
    decimal = numbers.decimal(strips_zeros=is_binary, finite=True)
    encoders: dict[Encoding, Encoder] = {
        **_ENCODERS,
        # to_json writes "NaN" and "Infinity" as strings; Pydantic writes null.
        Encoding.FLOAT: numbers.float_(widens_real=is_binary, infinite=lambda _: literal("null")),
        Encoding.DECIMAL: decimal,
        Encoding.TIMESTAMP: times.moment(zone, many=many),
        Encoding.UTC_TIMESTAMP: times.moment(zone, utc=True, many=many),
    }
    model_encoders: dict[Encoding, Encoder] = {
        **_MODEL_ENCODERS,
        Encoding.RANGE: _range(zone),
        Encoding.FLOAT: numbers.float_(widens_real=is_binary, infinite=_quote),
        Encoding.DECIMAL: numbers.decimal(strips_zeros=is_binary, finite=False),
    }
    return _PostgreSQLWriter(
        encoders=encoders,
        model_encoders=model_encoders,
        wire_encoders={
            Encoding.TIMESTAMP: times.bound_moment(),
            Encoding.UTC_TIMESTAMP: times.bound_moment(utc=True),
        },
        aggregate_orders=True,
        # A server sends each large row as soon as it has one, and wakes the client for it.
        client_joins=False,
        nulls_are_largest=True,
        distinct_on=True,
        missing=func.chr(literal_column("1")),
        slot=func.chr(literal_column("2")),
        nesting=Nesting(
            most=600,
            statement=75,
            page=75,
            join=18,
            subquery=48,
            groups=40,
            compact=19,
            slot=40,
            value=30,
            values=dict.fromkeys((Encoding.INTEGER, Encoding.TEXT, Encoding.DATE), 10),
        ),
        sort_kinds=POSTGRESQL_KINDS,
        of_one=_writer(zone, is_binary=is_binary, many=False) if many else None,
    )


_ENCODERS: dict[Encoding, Encoder] = {
    Encoding.INTEGER: as_text,
    Encoding.TEXT: _json,
    Encoding.BOOLEAN: as_text,
    Encoding.DATE: times.date,
    Encoding.TIME: times.time,
    Encoding.UUID: _uuid,
    Encoding.JSON: as_text,
}
_MODEL_ENCODERS: dict[Encoding, Encoder] = {
    Encoding.NAME: _string,
    Encoding.BYTES: _bytes,
    Encoding.INTERVAL: _interval,
    Encoding.NETWORK: _json,
}
POSTGRESQL: JsonWriter = _writer("session", is_binary=False)
ASYNCPG: JsonWriter = _writer("UTC", is_binary=True)
