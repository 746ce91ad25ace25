"""Write JSON in SQL: how each database turns a column into JSON text, an object into a string, rows into an array.

JSON is built as text. ``'{"id":' || id || '}'`` is at least as fast as the databases' own JSON functions, has no
limit of 100 arguments (PostgreSQL) or 127 (SQLite), and cannot lose SQLite's JSON subtype in a subquery.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Text, case, cast, func, literal_column, null
from sqlalchemy.types import TypeEngine

from querywright.errors import ConfigurationError
from querywright.fetch.nodes import Encoding
from querywright.models.types import ExactDecimal

__all__ = ["MISSING", "JsonWriter", "writer_for"]

SQLText = ColumnElement[str]
# Pieces of JSON text to be joined: constant, or computed by the database.
Fragments = tuple[str | SQLText, ...]
Encoder = Callable[[ColumnElement[Any], TypeEngine[Any]], Fragments]

# Brackets the path of a model whose required value is NULL. JSON text never holds a raw control character
# (RFC 8259, section 7), so one search through the result finds every such row.
MISSING = "\x01"


@dataclass(frozen=True)
class JsonWriter:
    """How one database writes JSON.

    Attributes:
        encoders: For each encoding, the fragments of a value's JSON text, NULL where the value is.
        model_encoders: What differs when the JSON is read by the model and not by a client.
        aggregate: Join the rows of a group into one comma-separated text.
        missing: The character of `MISSING`.
    """

    encoders: dict[Encoding, Encoder]
    model_encoders: dict[Encoding, Encoder]
    aggregate: Callable[[SQLText], SQLText]
    missing: SQLText

    def value(
        self, encoding: Encoding, column: ColumnElement[Any], column_type: TypeEngine[Any], *, for_model: bool
    ) -> Fragments:
        """Write one value; NULL stays NULL."""
        if encoding is Encoding.ENUM:
            return self._enum(column, column_type)
        table = self.model_encoders if for_model and encoding in self.model_encoders else self.encoders
        return table[encoding](column, column_type)

    def object(self, members: Sequence[tuple[str, Fragments]], path: str) -> SQLText:
        """Write an object; if any member is NULL, the marker of a broken row instead."""
        parts: list[str | SQLText] = []
        for position, (key, value) in enumerate(members):
            parts += [f"{',' if position else '{'}{_dump(key)}:", *value]
        return func.coalesce(join(*parts, "}"), self.broken(path))

    def array(self, item: SQLText) -> SQLText:
        """Aggregate rows, each already JSON text, into an array."""
        return join("[", func.coalesce(self.aggregate(item), literal("")), "]")

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
    constant = ""
    for fragment in (*fragments, None):
        if isinstance(fragment, str):
            constant += fragment
            continue
        if constant:
            parts.append(literal(constant))
            constant = ""
        if fragment is not None:
            parts.append(fragment)
    return reduce(lambda left, right: left.concat(right), parts)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _members(column_type: sa.Enum) -> list[tuple[str, object]]:
    """Pair each stored string with the value of its member."""
    members = list(column_type.enum_class or ())
    return [(stored, member.value) for stored, member in zip(column_type.enums, members, strict=True)]


def _text(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return (cast(column, Text),)


def _quoted_text(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return ('"', cast(column, Text), '"')


# PostgreSQL ----------------------------------------------------------------------------------------------------------


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


def _pg_uuid(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    # The inner cast gives dashes to a Uuid(native_uuid=False), which is a CHAR(32).
    return ('"', cast(cast(column, sa.UUID), Text), '"')


_POSTGRESQL = JsonWriter(
    encoders={
        Encoding.INTEGER: _text,
        Encoding.TEXT: _pg_json,
        Encoding.BOOLEAN: _text,
        Encoding.FLOAT: _pg_float,
        Encoding.DECIMAL: _quoted_text,
        Encoding.TIMESTAMP: _pg_time("0001-01-01T00:00:00", "9999-12-31T23:59:59.999999"),
        Encoding.UTC_TIMESTAMP: _pg_time("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
        Encoding.DATE: _pg_time("0001-01-01", "9999-12-31"),
        Encoding.UUID: _pg_uuid,
        Encoding.JSON: _text,
    },
    model_encoders={Encoding.FLOAT: _pg_model_float},
    aggregate=lambda item: func.string_agg(item, literal(",")),
    missing=func.chr(literal_column("1")),
)


# SQLite --------------------------------------------------------------------------------------------------------------


def _lite_quote(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    # json_quote(NULL) is the text 'null', which no string becomes: those are quoted.
    return (func.nullif(func.json_quote(column), literal("null")),)


def _lite_boolean(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    number = sa.type_coerce(column, sa.Integer)
    return (case((number == literal_column("0"), literal("false")), (number.is_not(None), literal("true"))),)


def _lite_float(infinity: Callable[[str], str]) -> Encoder:
    def encode(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
        number = sa.type_coerce(column, sa.Float)
        written = case(
            (number > literal_column("1.7976931348623157e308"), literal(infinity("Infinity"))),
            (number < literal_column("-1.7976931348623157e308"), literal(infinity("-Infinity"))),
            # json_quote writes 15 digits; 18 give every double back exactly.
            (number.is_not(None), func.printf(literal("%!.18g"), number)),
        )
        return (written,)

    return encode


def _lite_decimal(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
    if isinstance(column_type, ExactDecimal):
        return _lite_exact_decimal(column, column_type.scale)
    assert isinstance(column_type, sa.Numeric)  # noqa: S101 - the encoding says so
    scale = column_type.decimal_return_scale if column_type.decimal_return_scale is not None else column_type.scale
    digits = column_type._default_decimal_return_scale if scale is None else scale  # noqa: SLF001 - no public name
    number = sa.type_coerce(column, sa.Float)
    return (case((number.is_not(None), func.printf(literal(f'"%.{digits}f"'), number))),)


def _lite_exact_decimal(column: ColumnElement[Any], scale: int) -> Fragments:
    """Put the point into an integer of ``10**-scale`` units."""
    units = sa.type_coerce(column, sa.Integer)
    if not scale:
        return ('"', cast(units, Text), '"')
    one: ColumnElement[int] = literal_column(str(10**scale))
    sign = case((units < literal_column("0"), literal("-")), else_=literal(""))
    whole, rest = func.abs(units).op("/")(one), func.abs(units).op("%")(one)
    return (case((units.is_not(None), func.printf(literal(f'"%s%d.%0{scale}d"'), sign, whole, rest))),)


def _lite_timestamp(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return ('"', func.replace(column, literal(" "), literal("T")), '"')


def _lite_utc_timestamp(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return ('"', func.replace(column, literal(" "), literal("T")), 'Z"')


def _lite_uuid(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    """Give dashes to the 32 digits that SQLAlchemy stores."""

    def digits(start: int, length: int) -> SQLText:
        return func.substr(column, literal_column(str(start)), literal_column(str(length)))

    return (
        '"', digits(1, 8), "-", digits(9, 4), "-", digits(13, 4), "-", digits(17, 4), "-", digits(21, 12), '"',
    )  # fmt: skip


_SQLITE = JsonWriter(
    encoders={
        Encoding.INTEGER: _lite_quote,
        Encoding.TEXT: _lite_quote,
        Encoding.BOOLEAN: _lite_boolean,
        Encoding.FLOAT: _lite_float(lambda _name: "null"),
        Encoding.DECIMAL: _lite_decimal,
        Encoding.TIMESTAMP: _lite_timestamp,
        Encoding.UTC_TIMESTAMP: _lite_utc_timestamp,
        Encoding.DATE: _quoted_text,
        Encoding.UUID: _lite_uuid,
        Encoding.JSON: _text,
    },
    model_encoders={Encoding.FLOAT: _lite_float(lambda name: f'"{name}"')},
    aggregate=lambda item: func.group_concat(item, literal(",")),
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
