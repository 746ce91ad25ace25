"""Write the moments that SQLite stores as text as Pydantic does: with a fraction of six digits or none."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Text, and_, case, func, literal_column, or_, type_coerce
from sqlalchemy.types import NULLTYPE, TypeEngine

from querywright.fetching.writers.base import Encoder, SQLText, Value, broken, join, literal

__all__ = ["date", "interval", "moment", "time"]

_SIX_DIGITS = "." + "[0-9]" * 6
# The cheapest proof of six digits: each other form that ends so has a sign or a letter where these three are.
_USUAL = "*.[1-9][0-9]?[0-9]?[0-9]"
_WHOLE = "?" * 19 + ".000000"
_DAY, _CLOCK = "[0-9][0-9][0-9][0-9]-*", "[0-9][0-9]:*"
_MINUTES = "%Y-%m-%dT%H:%M:"
# How long the text is without a fraction.
_MOMENT, _DATE, _TIME = 19, 10, 8


def moment(*, utc: bool) -> Encoder:
    """Write a timestamp.

    Args:
        utc: Whether it is taken for UTC, and becomes UTC if it has another zone.
    """

    def encode(stored: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
        column = type_coerce(stored, Text)
        # SQLAlchemy writes 26 characters, CURRENT_TIMESTAMP 19.
        written = case(
            (_globs(column, _USUAL), _with_t(column)),
            (_globs(column, _WHOLE), join(_until(column, 10), "T", func.substr(column, _number(12), _number(8)))),
            (func.length(column) == _number(_MOMENT), _with_t(column)),
            (_globs(column, f"*{_SIX_DIGITS}"), _with_t(column)),
            # strftime() makes a moment of any number.
            (~_globs(column, _DAY), _none("moment")),
            else_=_odd_moment(column, utc=utc),
        )
        return join(written, "Z") if utc else written

    return encode


def time(stored: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    """Write a time of day."""
    column = type_coerce(stored, Text)
    minutes = func.strftime(literal("%H:%M:"), _until(column, _TIME))
    usual = and_(_globs(column, f"??:??:??{_SIX_DIGITS}"), _from(column, _TIME + 1) != literal(".000000"))
    odd = _odd(column, minutes, _TIME - 1, (_offset(column),))
    return case((usual, column), (~_globs(column, _CLOCK), _none("time")), else_=odd)


def date(stored: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    """Write a date."""
    column = type_coerce(stored, NULLTYPE)
    return case((func.length(column) != _number(_DATE), _none("date")), else_=column)


def interval(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    """Write the timestamp that SQLAlchemy stores for an interval, for the model."""
    return _with_t(column)


def _none(kind: str) -> SQLText:
    return broken(f"a value that is not a {kind}")


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


def _odd_moment(column: ColumnElement[Any], *, utc: bool) -> Any:
    stored, offset = _until(column, _MOMENT), _offset(column)
    minutes = func.strftime(literal(_MINUTES), join(stored, offset) if utc else stored)
    return _odd(column, minutes, _MOMENT - 1, () if utc else (offset,))


def _odd(column: ColumnElement[Any], day_to_minute: SQLText, seconds_at: int, offset: Value) -> Any:
    """Write what other programs stored: another fraction, the offset of a zone, no seconds.

    Flat, for before 3.46 SQLite's parser has a stack of 100 entries, and a function around another takes about four.
    """
    # printf() reads a number from the start of a text, and an offset may follow it there.
    digits = func.replace(func.substr(column, _number(seconds_at), _number(9)), literal(","), literal("."))
    seconds = func.replace(func.printf(literal("%09.6f"), digits), literal(".000000"), literal(""))
    unknown = and_(day_to_minute.is_(None), column.is_not(None))
    return case((unknown, _none("time")), else_=join(day_to_minute, seconds, *offset))


def _offset(column: ColumnElement[Any]) -> SQLText:
    """Write an offset with a colon, Z for none at all, and nothing where there is no zone."""
    none = [_globs(column, f"*:*{zone}") for zone in ("[Zz]", "[-+]00:00", "[-+]0000", "[-+]00")]
    last = [f"*:*[-+]{digits}" for digits in ("[0-9][0-9]:[0-9][0-9]", "[0-9][0-9][0-9][0-9]", "[0-9][0-9]")]
    return case(
        (or_(*none), literal("Z")),
        (_globs(column, last[0]), _from(column, -6)),
        (_globs(column, last[1]), join(func.substr(column, _number(-5), _number(3)), ":", _from(column, -2))),
        (_globs(column, last[2]), join(_from(column, -3), ":00")),
        else_=literal(""),
    )
