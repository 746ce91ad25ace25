"""Write JSON on SQLite: plain values with json_object, joined with the nested JSON between them.

``json_object`` is faster than joining where every member is a plain value; nested JSON is joined all the same, for a
value that passes through a subquery loses its JSON subtype and would have to be parsed again at every level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Text, and_, case, cast, func, literal_column
from sqlalchemy.sql import operators
from sqlalchemy.types import TypeEngine
from typing_extensions import override

from querywright.fetching.plan.nodes import Encoding
from querywright.fetching.writers import sqlite_numbers as numbers
from querywright.fetching.writers import sqlite_times as times
from querywright.fetching.writers.base import (
    Fragments,
    JsonWriter,
    Member,
    Nesting,
    SQLText,
    Value,
    broken,
    documents,
    join,
    literal,
    with_commas,
)
from querywright.fetching.writers.kinds import SQLITE_KINDS
from querywright.models.types import ExactDecimal

__all__ = ["SQLITE"]

# A function takes at most 127 arguments in SQLite before 3.48, and a member is two.
_MOST_MEMBERS = 60


@dataclass(frozen=True)
class _SQLiteWriter(JsonWriter):
    """A writer that leaves plain values to json_object, and knows the units of exact decimals."""

    @override
    def object(self, members: Sequence[Member]) -> SQLText:
        runs = [
            (joined, list(run)) for joined, run in groupby(members, key=lambda member: isinstance(member.value, tuple))
        ]
        if len(runs) == 1 and not runs[0][0] and len(members) <= _MOST_MEMBERS:
            return _values(members, func.json_object(*_pairs(members)))
        pieces: list[Fragments] = []
        for joined, run in runs:
            pieces += [self.joined_member(member) for member in run] if joined else [(text,) for text in _pieces(run)]
        return join("{", *with_commas(pieces), "}")

    @override
    def quote(self, value: ColumnElement[Any]) -> SQLText:
        return case((value.is_not(None), func.json_quote(value)))

    @override
    def aggregate(self, item: SQLText, order: Sequence[Any]) -> SQLText:
        # The rows come in their order.
        return func.group_concat(item, literal(","))

    @override
    def order_joined(self, key: ColumnElement[Any]) -> ColumnElement[Any]:
        # Without a sign before it, 3.40 reads the rows of a third table backwards, but not those of the second.
        return sa.UnaryExpression(key, operator=operators.custom_op("+"), type_=key.type)

    @override
    def average(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        if not isinstance(column.type, ExactDecimal):
            return super().average(column)
        # Of the integers, whose sum is exact.
        units = func.avg(sa.type_coerce(column, sa.BigInteger))
        return units.op("/")(literal_column(f"1e{column.type.scale}"))


def _pieces(members: list[Member]) -> list[SQLText]:
    """Write plain values as members without the braces around them."""
    chunks = [members[start : start + _MOST_MEMBERS] for start in range(0, len(members), _MOST_MEMBERS)]
    # No plain value begins or ends with a brace: strings are quoted.
    return [_values(chunk, func.trim(func.json_object(*_pairs(chunk)), literal("{}"))) for chunk in chunks]


def _pairs(members: Sequence[Member]) -> list[Any]:
    return [part for member in members for part in (literal(member.key), member.value)]


def _values(members: Sequence[Member], written: SQLText) -> SQLText:
    """Give NULL if a required value is NULL: json_object would write null."""
    required = [member.required.is_not(None) for member in members if member.required is not None]
    return case((and_(*required), written)) if required else written


def _plain(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    return sa.type_coerce(column, sa.types.NULLTYPE)


def _boolean(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    number = sa.type_coerce(column, sa.Integer)
    # Of constants, which SQLite parses once for each statement.
    false, true = (func.json(literal(text)) for text in ("false", "true"))
    # Python takes an empty text for false as well.
    empty = sa.type_coerce(column, Text) == literal("")
    return case((number == literal_column("0"), false), (empty, false), (number.is_not(None), true))


def _uuid(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    """Give dashes to the 32 digits that SQLAlchemy stores."""

    def digits(start: int, length: int) -> SQLText:
        return func.substr(column, literal_column(str(start)), literal_column(str(length)))

    dashed = join(digits(1, 8), "-", digits(9, 4), "-", digits(13, 4), "-", digits(17, 4), "-", digits(21, 12))
    # Others may have written them with dashes.
    length = func.length(column)
    known = (length == literal_column("32"), dashed), (length == literal_column("36"), column)
    return func.lower(case(*known, (column.is_not(None), broken("a value that is not a uuid"))))


def _json(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    # A column of the type JSON takes a document that is a fraction for a number, and would write 15 digits of it.
    fraction = func.typeof(column) == literal("real")
    return (case((fraction, numbers.document(column)), *documents(cast(column, Text), column, literal)),)


def _bytes(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    return case((column.is_not(None), func.hex(column)))


_DEPTHS = {
    **dict.fromkeys((Encoding.INTEGER, Encoding.TEXT, Encoding.NAME), 5),
    **dict.fromkeys((Encoding.TIMESTAMP, Encoding.UTC_TIMESTAMP, Encoding.TIME), 32),
    Encoding.INTERVAL: 8, Encoding.DATE: 12, Encoding.BOOLEAN: 13, Encoding.BYTES: 13, Encoding.UUID: 18,
    Encoding.FLOAT: 21, Encoding.DECIMAL: 21, Encoding.JSON: 32,
}  # fmt: skip

SQLITE = _SQLiteWriter(
    encoders={
        Encoding.INTEGER: _plain,
        Encoding.TEXT: _plain,
        Encoding.BOOLEAN: _boolean,
        Encoding.FLOAT: numbers.float_,
        Encoding.DECIMAL: numbers.decimal(finite=True),
        Encoding.TIMESTAMP: times.moment(utc=False),
        Encoding.UTC_TIMESTAMP: times.moment(utc=True),
        Encoding.DATE: times.date,
        Encoding.TIME: times.time,
        Encoding.UUID: _uuid,
        Encoding.JSON: _json,
    },
    model_encoders={
        Encoding.FLOAT: numbers.model_float,
        Encoding.DECIMAL: numbers.decimal(finite=False),
        Encoding.NAME: _plain,
        Encoding.BYTES: _bytes,
        Encoding.INTERVAL: times.interval,
    },
    wire_encoders={Encoding.DECIMAL: numbers.wire_decimal},
    aggregate_orders=False,
    # group_concat copies what it has whenever it outgrows its buffer.
    client_joins=True,
    nulls_are_largest=False,
    bare_infinity=True,
    sort_kinds=SQLITE_KINDS,
    missing=func.char(literal_column("1")),
    slot=func.char(literal_column("2")),
    # Before 3.46 its parser has a stack of 100 entries, and a list takes about fifteen.
    most_lists=5,
    # Measured: how many parentheses around a statement its parser takes, for each kind of it; of 86 for a plain one.
    nesting=Nesting(
        most=85,
        statement=16,
        page=18,
        join=10,
        subquery=14,
        groups=40,
        compact=5,
        slot=14,
        value=24,
        values=_DEPTHS,
    ),
)
