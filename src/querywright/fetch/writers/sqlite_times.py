"""Write the moments that SQLite stores as text as Pydantic does: with a fraction of six digits or none."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Text, and_, case, func, literal_column, type_coerce
from sqlalchemy.types import TypeEngine

from querywright.fetch.writers.base import Encoder, SQLText, Value, join, literal

__all__ = ["interval", "moment", "time"]

_SIX_DIGITS = "." + "[0-9]" * 6
# The cheapest proof of six digits: each other form of this length has a sign or a letter where these three are.
_USUAL = "????-??-?????:??:??.[1-9][0-9]?[0-9]?[0-9]"
_SECONDS = "%Y-%m-%dT%H:%M:%S"
# How long the text is without a fraction.
_MOMENT, _TIME = 19, 8


def moment(*, utc: bool) -> Encoder:
    """Write a timestamp.

    Args:
        utc: Whether it is taken for UTC, and becomes UTC if it has another zone.
    """

    def encode(stored: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
        column = type_coerce(stored, Text)
        fraction = _from(column, _MOMENT + 1)
        long = func.length(column) == _number(_MOMENT + 7)
        # SQLAlchemy writes 26 characters, CURRENT_TIMESTAMP 19.
        written = case(
            (_globs(column, _USUAL), _with_t(column)),
            (func.length(column) == _number(_MOMENT), _with_t(column)),
            (and_(long, fraction == literal(".000000")), _with_t(_until(column, _MOMENT))),
            (and_(long, _globs(fraction, _SIX_DIGITS)), _with_t(column)),
            else_=func.coalesce(_odd_moment(column, utc=utc), column),
        )
        return join(written, "Z") if utc else written

    return encode


def time(stored: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    """Write a time of day."""
    column = type_coerce(stored, Text)
    seconds = func.strftime(literal("%H:%M:%S"), _until(column, _TIME))
    other = join(seconds, _fraction(column, _TIME), _offset(column, _TIME))
    usual = and_(func.length(column) == _number(_TIME + 7), _from(column, _TIME + 1) != literal(".000000"))
    return case((usual, column), else_=func.coalesce(other, column))


def interval(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    """Write the timestamp that SQLAlchemy stores for an interval, for the model."""
    return _with_t(column)


def _globs(text: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    return text.op("GLOB", is_comparison=True)(literal(pattern))


def _number(number: int) -> ColumnElement[int]:
    return literal_column(str(number))


def _from(text: ColumnElement[Any], start: int) -> SQLText:
    return func.substr(text, _number(start))


def _until(text: ColumnElement[Any], end: int) -> SQLText:
    return func.substr(text, _number(1), _number(end))


def _with_t(text: ColumnElement[Any]) -> SQLText:
    return func.replace(text, literal(" "), literal("T"))


def _odd_moment(column: ColumnElement[Any], *, utc: bool) -> SQLText:
    """Write what other programs stored: another fraction, the offset of a zone, no seconds; NULL if it is no moment."""
    offset, stored = _offset(column, _MOMENT), _until(column, _MOMENT)
    if utc:
        return join(func.strftime(literal(_SECONDS), join(stored, offset)), _fraction(column, _MOMENT))
    return join(func.strftime(literal(_SECONDS), stored), _fraction(column, _MOMENT), offset)


def _zone(column: ColumnElement[Any], length: int) -> SQLText:
    """Find what follows the fraction."""
    return func.ltrim(_from(column, length + 1), literal(".,0123456789 "))


def _fraction(column: ColumnElement[Any], length: int) -> SQLText:
    """Write six digits of a fraction, or nothing."""
    size = func.length(column) - _number(length) - func.length(_zone(column, length))
    digits = func.trim(func.substr(column, _number(length + 1), size), literal("., "))
    six = func.substr(join(digits, "000000"), _number(1), _number(6))
    return case((six == literal("000000"), literal("")), else_=join(".", six))


def _offset(column: ColumnElement[Any], length: int) -> SQLText:
    """Write an offset with a colon, and Z for none at all."""
    zone = func.replace(_zone(column, length), literal(":"), literal(""))
    hours, minutes = _until(zone, 3), func.substr(join(zone, "00"), _number(4), _number(2))
    none = zone.in_([literal(text) for text in ("Z", "z", "+0000", "-0000", "+00", "-00")])
    return case((zone == literal(""), literal("")), (none, literal("Z")), else_=join(hours, ":", minutes))
