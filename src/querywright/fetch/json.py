"""Write JSON in SQL: how each database turns columns into values, members into an object, rows into an array.

An object is text, joined of constant and computed fragments: ``'{"id":' || id || '}'``. On PostgreSQL that is faster
than its own JSON functions and has no limit of 100 arguments. SQLite's ``json_object`` is faster than joining where
every member is a plain value; nested JSON is joined all the same, for a value that passes through a subquery loses
its JSON subtype and would have to be parsed again at every level.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Text, and_, case, cast, func, literal_column, null, or_
from sqlalchemy.types import TypeEngine

from querywright.errors import ConfigurationError
from querywright.fetch.nodes import Encoding
from querywright.models.types import ExactDecimal

__all__ = ["MISSING", "JsonWriter", "Member", "SQLText", "join", "literal", "writer_for"]

SQLText = ColumnElement[str]
# JSON text in pieces: constant, or computed by the database.
Fragments = tuple[str | SQLText, ...]
# Fragments, or a plain value that the database's own JSON function writes.
Value = Fragments | ColumnElement[Any]
Encoder = Callable[[ColumnElement[Any], TypeEngine[Any]], Value]

# Brackets the path of a model whose required value is NULL. JSON text never holds a raw control character
# (RFC 8259, section 7), so one search through the result finds every such row.
MISSING = "\x01"


@dataclass(frozen=True)
class Member:
    """One member of a JSON object.

    Attributes:
        key: Its key.
        value: Its value.
        required: The column that must not be NULL, or the row is broken; without one, NULL is written as ``null``.
    """

    key: str
    value: Value
    required: ColumnElement[Any] | None = None


@dataclass(frozen=True)
class JsonWriter:
    """How one database writes JSON.

    Attributes:
        encoders: For each encoding, how a column becomes a value; NULL stays NULL.
        model_encoders: What differs when the JSON is read by the model and not by a client.
        object: Write an object of its members; NULL if a required one is NULL.
        aggregate: Join the rows of a group, with commas and in an order, into one text.
        aggregate_orders: Whether ``aggregate`` takes the order, or needs its rows in that order.
        client_joins: Whether an array of few large rows is better joined by the client.
        missing: The character of `MISSING`.
    """

    encoders: dict[Encoding, Encoder]
    model_encoders: dict[Encoding, Encoder]
    object: Callable[[Sequence[Member]], SQLText]
    aggregate: Callable[[SQLText, Sequence[Any]], SQLText]
    aggregate_orders: bool
    client_joins: bool
    missing: SQLText

    def value(
        self, encoding: Encoding, column: ColumnElement[Any], column_type: TypeEngine[Any], *, for_model: bool
    ) -> Value:
        """Write one value; NULL stays NULL."""
        if encoding is Encoding.ENUM:
            return self._enum(column, column_type)
        table = self.model_encoders if for_model and encoding in self.model_encoders else self.encoders
        return table[encoding](column, column_type)

    def array(self, item: SQLText, path: str, order: Sequence[Any] = ()) -> SQLText:
        """Aggregate rows, each an object, into an array."""
        return join("[", func.coalesce(self.aggregate(self.checked(item, path), order), literal("")), "]")

    def checked(self, item: SQLText, path: str) -> SQLText:
        """Write an object, or the marker of a broken row in the place of one that is NULL."""
        return func.coalesce(item, self.broken(path))

    def broken(self, path: str) -> SQLText:
        """Write the marker of a row that lacks a required value."""
        return join(self.missing, path, self.missing)

    def _enum(self, column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
        """Write the value of a member: SQLAlchemy stores names."""
        text = cast(column, Text)
        assert isinstance(column_type, sa.Enum)  # noqa: S101 - the encoding says so
        whens = [(text == literal(stored), literal(_dump(value))) for stored, value in _members(column_type)]
        unknown = self.broken(f"a name that {column_type.enum_class.__name__} does not have")  # type: ignore[union-attr]
        return (case((column.is_(None), null()), *whens, else_=unknown),)


def literal(text: str) -> SQLText:
    """Write a text into the SQL itself: parts of the JSON are not parameters."""
    return literal_column("'" + text.replace("'", "''") + "'", Text)


def join(*fragments: str | SQLText) -> SQLText:
    """Join fragments with ``||``, constant neighbours beforehand."""
    parts: list[SQLText] = []
    for constant, group in groupby(fragments, key=lambda fragment: isinstance(fragment, str)):
        neighbours = list(group)
        parts += [literal("".join(map(str, neighbours)))] if constant else neighbours  # type: ignore[arg-type]
    return reduce(lambda left, right: left.concat(right), parts)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _members(column_type: sa.Enum) -> list[tuple[str, object]]:
    """Pair each stored string with the value of its member."""
    named = (column_type.enum_class or enum.Enum).__members__.values()
    # The stored strings leave aliases out, unless told otherwise.
    members = named if len(named) == len(column_type.enums) else list(column_type.enum_class or ())
    return [(stored, member.value) for stored, member in zip(column_type.enums, members, strict=True)]


def _with_commas(pieces: Iterable[Fragments]) -> list[str | SQLText]:
    joined = [fragment for piece in pieces for fragment in (",", *piece)]
    return joined[1:]


def _text(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return (cast(column, Text),)


def _joined_member(member: Member) -> Fragments:
    """Write one member as text."""
    assert isinstance(member.value, tuple)  # noqa: S101 - a plain value is not joined
    value = member.value if member.required is not None else (func.coalesce(join(*member.value), literal("null")),)
    return (f"{_dump(member.key)}:", *value)


# PostgreSQL ----------------------------------------------------------------------------------------------------------


def _pg_object(members: Sequence[Member]) -> SQLText:
    return join("{", *_with_commas(_joined_member(member) for member in members), "}")


def _pg_aggregate(item: SQLText, order: Sequence[Any]) -> SQLText:
    comma = literal(",")
    if not order:
        return func.string_agg(item, comma)
    # Not postgresql.aggregate_order_by: that module loads every driver's dialect.
    return func.string_agg(item, comma.op("ORDER BY")(order[0]), *order[1:])


def _pg_json(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return (cast(func.to_json(column), Text),)


def _pg_time(first: str, last: str) -> Encoder:
    """Write a date or timestamp; asyncpg stores and reads Python's first and last moment as infinity."""

    def encode(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
        written = case(
            (func.isfinite(column), cast(func.to_json(column), Text)),
            (column == literal_column("'-infinity'"), literal(f'"{first}"')),
            (column == literal_column("'infinity'"), literal(f'"{last}"')),
        )
        return (written,)

    return encode


def _pg_float(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    value = cast(column, sa.Double)
    # to_json writes "NaN" and "Infinity" as strings; Pydantic writes null.
    infinite: list[ColumnElement[float]] = [
        literal_column(f"'{name}'::float8") for name in ("NaN", "Infinity", "-Infinity")
    ]
    return (case((value.in_(infinite), literal("null")), else_=cast(func.to_json(value), Text)),)


def _pg_model_float(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return (cast(func.to_json(cast(column, sa.Double)), Text),)


def _pg_decimal(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return ('"', cast(column, Text), '"')


def _pg_uuid(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    # The inner cast gives dashes to a Uuid(native_uuid=False), which is a CHAR(32).
    return ('"', cast(cast(column, sa.UUID), Text), '"')


_POSTGRESQL = JsonWriter(
    encoders={
        Encoding.INTEGER: _text,
        Encoding.TEXT: _pg_json,
        Encoding.BOOLEAN: _text,
        Encoding.FLOAT: _pg_float,
        Encoding.DECIMAL: _pg_decimal,
        Encoding.TIMESTAMP: _pg_time("0001-01-01T00:00:00", "9999-12-31T23:59:59.999999"),
        Encoding.UTC_TIMESTAMP: _pg_time("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
        Encoding.DATE: _pg_time("0001-01-01", "9999-12-31"),
        Encoding.UUID: _pg_uuid,
        Encoding.JSON: _text,
    },
    model_encoders={Encoding.FLOAT: _pg_model_float},
    object=_pg_object,
    aggregate=_pg_aggregate,
    aggregate_orders=True,
    # A server sends each large row as soon as it has one, and wakes the client for it.
    client_joins=False,
    missing=func.chr(literal_column("1")),
)


# SQLite --------------------------------------------------------------------------------------------------------------

# A function takes at most 127 arguments in SQLite before 3.48, and a member is two.
_LITE_MOST_MEMBERS = 60


def _lite_object(members: Sequence[Member]) -> SQLText:
    """Write plain values with json_object, and join them with the nested JSON between them."""
    runs = [(joined, list(run)) for joined, run in groupby(members, key=lambda member: isinstance(member.value, tuple))]
    if len(runs) == 1 and not runs[0][0] and len(members) <= _LITE_MOST_MEMBERS:
        return _lite_values(members, func.json_object(*_pairs(members)))
    pieces: list[Fragments] = []
    for joined, run in runs:
        pieces += [_joined_member(member) for member in run] if joined else [(text,) for text in _lite_pieces(run)]
    return join("{", *_with_commas(pieces), "}")


def _lite_pieces(members: list[Member]) -> list[SQLText]:
    """Write plain values as members without the braces around them."""
    chunks = [members[start : start + _LITE_MOST_MEMBERS] for start in range(0, len(members), _LITE_MOST_MEMBERS)]
    # No plain value begins or ends with a brace: strings are quoted.
    return [_lite_values(chunk, func.trim(func.json_object(*_pairs(chunk)), literal("{}"))) for chunk in chunks]


def _pairs(members: Sequence[Member]) -> list[Any]:
    return [part for member in members for part in (literal(member.key), member.value)]


def _lite_values(members: Sequence[Member], written: SQLText) -> SQLText:
    """Give NULL if a required value is NULL: json_object would write null."""
    required = [member.required.is_not(None) for member in members if member.required is not None]
    return case((and_(*required), written)) if required else written


def _lite_aggregate(item: SQLText, _order: Sequence[Any]) -> SQLText:
    return func.group_concat(item, literal(","))


def _lite_plain(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    return sa.type_coerce(column, sa.types.NULLTYPE)


def _lite_boolean(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    number = sa.type_coerce(column, sa.Integer)
    text = case((number == literal_column("0"), literal("false")), (number.is_not(None), literal("true")))
    return func.json(text)


def _lite_float(infinity: Callable[[str], str]) -> Encoder:
    def encode(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
        number = sa.type_coerce(column, sa.Float)
        written = case(
            (number > literal_column("1.7976931348623157e308"), literal(infinity("Infinity"))),
            (number < literal_column("-1.7976931348623157e308"), literal(infinity("-Infinity"))),
            # json_object writes 15 digits; 18 give every double back exactly.
            (number.is_not(None), func.printf(literal("%!.18g"), number)),
        )
        return func.json(written)

    return encode


def _lite_decimal(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Value:
    if isinstance(column_type, ExactDecimal):
        return _lite_exact_decimal(column, column_type.scale)
    assert isinstance(column_type, sa.Numeric)  # noqa: S101 - the encoding says so
    scale = column_type.decimal_return_scale if column_type.decimal_return_scale is not None else column_type.scale
    digits = column_type._default_decimal_return_scale if scale is None else scale  # noqa: SLF001 - no public name
    number = sa.type_coerce(column, sa.Float)
    return case((number.is_not(None), func.printf(literal(f"%.{digits}f"), number)))


def _lite_exact_decimal(column: ColumnElement[Any], scale: int) -> Value:
    """Put the point into an integer of ``10**-scale`` units."""
    units = sa.type_coerce(column, sa.Integer)
    if not scale:
        return cast(units, Text)
    one: ColumnElement[int] = literal_column(str(10**scale))
    sign = case((units < literal_column("0"), literal("-")), else_=literal(""))
    whole, rest = func.abs(units).op("/")(one), func.abs(units).op("%")(one)
    return case((units.is_not(None), func.printf(literal(f"%s%d.%0{scale}d"), sign, whole, rest)))


def _lite_timestamp(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    return func.replace(column, literal(" "), literal("T"))


def _lite_utc_timestamp(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    stored = join(func.replace(column, literal(" "), literal("T")), "Z")
    # SQLAlchemy and CURRENT_TIMESTAMP store 26 or 19 characters; what others wrote may have an offset, or no time.
    length = func.length(column)
    usual = or_(length == literal_column("26"), length == literal_column("19"))
    return case((usual, stored), else_=func.strftime(literal("%Y-%m-%dT%H:%M:%fZ"), column))


def _lite_uuid(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    """Give dashes to the 32 digits that SQLAlchemy stores."""

    def digits(start: int, length: int) -> SQLText:
        return func.substr(column, literal_column(str(start)), literal_column(str(length)))

    dashed = join(digits(1, 8), "-", digits(9, 4), "-", digits(13, 4), "-", digits(17, 4), "-", digits(21, 12))
    # Others may have written them with dashes.
    return func.lower(case((func.length(column) == literal_column("32"), dashed), else_=column))


_SQLITE = JsonWriter(
    encoders={
        Encoding.INTEGER: _lite_plain,
        Encoding.TEXT: _lite_plain,
        Encoding.BOOLEAN: _lite_boolean,
        Encoding.FLOAT: _lite_float(lambda _name: "null"),
        Encoding.DECIMAL: _lite_decimal,
        Encoding.TIMESTAMP: _lite_timestamp,
        Encoding.UTC_TIMESTAMP: _lite_utc_timestamp,
        Encoding.DATE: _lite_plain,
        Encoding.UUID: _lite_uuid,
        Encoding.JSON: _text,
    },
    model_encoders={Encoding.FLOAT: _lite_float(lambda name: f'"{name}"')},
    object=_lite_object,
    aggregate=_lite_aggregate,
    aggregate_orders=False,
    # group_concat copies what it has whenever it outgrows its buffer.
    client_joins=True,
    missing=func.char(literal_column("1")),
)

_WRITERS = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}


def writer_for(dialect: str) -> JsonWriter:
    """Find the writer of a database.

    Raises:
        ConfigurationError: There is none.
    """
    if dialect not in _WRITERS:
        message = f"Querywright cannot write JSON on {dialect!r}."
        raise ConfigurationError(message, hint=f"Use {' or '.join(_WRITERS)}.")
    return _WRITERS[dialect]
