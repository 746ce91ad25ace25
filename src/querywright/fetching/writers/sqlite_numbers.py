"""Write SQLite's numbers as Python does.

SQLite's own functions write 15 digits, and do not promise the right ones beyond. A number with few digits, which
dividing it by a power of ten proves, is written by SQL; any other is left to Python, between two `UNFINISHED`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, and_, case, cast, func, literal_column, or_
from sqlalchemy.types import TypeEngine

from querywright.fetching.writers.base import UNFINISHED, Encoder, Fragments, SQLText, Value, broken, join, literal
from querywright.models.types import ExactDecimal

__all__ = ["decimal", "document", "float_", "model_float", "wire_decimal"]

# More decimals than that make an exponent of a small number in Python.
_MOST_DECIMALS = 6
# So many digits of a decimal survive a double.
_MOST_DIGITS = 15
_NOT_A_NUMBER = "a value that is not a number"
_GREATEST: ColumnElement[float] = literal_column("1.7976931348623157e308")


def float_(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    """Write a float for a client."""
    number = sa.type_coerce(column, sa.Float)
    size: ColumnElement[Any] = func.abs(number)
    # With at most six decimals and less than 1e9 it has no more than 15 digits, and any such number is the only one
    # for its double. From 1e-4 on SQLite writes no exponent.
    short = and_(_has_decimals(number, 6), size < _number("1e9"), or_(size >= _number("1e-4"), number == _number("0")))
    rest = _unfinished("f%!.18g", number)
    # An expression may have an integer, as a column of the type NUMERIC may.
    infinite = (size > _GREATEST, literal("null"))
    return (case((short, number * _number("1.0")), _no_number(number), infinite, (number.is_not(None), rest)),)


def model_float(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Value:
    """Write a float for the model: 18 digits give every double back."""
    number = sa.type_coerce(column, sa.Float)
    written = case(
        (number > _GREATEST, literal('"Infinity"')),
        (number < -_GREATEST, literal('"-Infinity"')),
        (number.is_not(None), func.printf(literal("%!.18g"), number)),
    )
    return case((_is_text(number), broken(_NOT_A_NUMBER)), else_=func.json(written))


def document(number: ColumnElement[Any]) -> SQLText:
    """Write a float that is a JSON document: one too large for a double has become infinite when it was stored."""
    return case(
        (number > _GREATEST, literal("Infinity")),
        (number < -_GREATEST, literal("-Infinity")),
        else_=func.printf(literal("%!.18g"), number),
    )


def decimal(*, finite: bool) -> Encoder:
    """Write a decimal, which is a float for SQLAlchemy's Numeric, and an integer for ours.

    Args:
        finite: Whether the infinities, which Pydantic takes for no decimals, are left to no model to judge.
    """

    def encode(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
        if isinstance(column_type, ExactDecimal):
            return ('"', _exact_decimal(column, column_type.scale), '"')
        number = sa.type_coerce(column, sa.Float)
        infinite = ((func.abs(number) > _GREATEST, _broken("a decimal that is not finite")),) if finite else ()
        rest = _unfinished(f"n{digits_of(column_type)}:%!.18g", number)
        return (
            '"',
            case(*_short(number, digits_of(column_type)), _no_number(number), *infinite, (number.is_not(None), rest)),
            '"',
        )

    return encode


def _short(number: ColumnElement[Any], digits: int) -> list[tuple[ColumnElement[bool], SQLText]]:
    """Write the branch for a number with few digits, if there can be one."""
    if digits > _MOST_DIGITS:
        return []
    size: ColumnElement[Any] = func.abs(number)
    short = [_has_decimals(number, digits), size < _number(f"1e{_MOST_DIGITS - digits}")]
    if digits > _MOST_DECIMALS:
        short.append(size >= _number(f"1e-{_MOST_DECIMALS}"))
    units = cast(func.round(number * _number(f"1e{digits}")), sa.Integer)
    return [(and_(*short), _with_point(units, digits))]


def _exact_decimal(column: ColumnElement[Any], scale: int) -> SQLText:
    units = sa.type_coerce(column, sa.Integer)
    whens: list[Any] = []
    if scale > _MOST_DECIMALS:
        small = func.abs(units) < _number(str(10 ** (scale - _MOST_DECIMALS)))
        whens.append((small, _unfinished(f"d{scale}:%d", units)))
    whens.append((func.typeof(units) == literal("integer"), _with_point(units, scale)))
    # SQLite makes a float of an integer that becomes too large.
    return case(*whens, (units.is_not(None), _broken("an ExactDecimal that is not an integer")))


def _no_number(number: ColumnElement[Any]) -> tuple[ColumnElement[bool], SQLText]:
    """Write the branch for what is no number at all: a column takes any value."""
    return _is_text(number), _broken(_NOT_A_NUMBER)


def _is_text(number: ColumnElement[Any]) -> ColumnElement[bool]:
    return func.typeof(number).in_([literal("text"), literal("blob")])


def _broken(path: str) -> SQLText:
    return join(func.char(literal_column("1")), path, func.char(literal_column("1")))


def digits_of(column_type: TypeEngine[Any]) -> int:
    """Return how many decimals SQLAlchemy gives to a Numeric."""
    assert isinstance(column_type, sa.Numeric)  # noqa: S101 - the encoding says so
    scale = column_type.decimal_return_scale if column_type.decimal_return_scale is not None else column_type.scale
    return column_type._default_decimal_return_scale if scale is None else scale  # noqa: SLF001 - no public name


def wire_decimal(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Value:
    """Write a decimal to be bound again."""
    if isinstance(column_type, ExactDecimal):
        return ('"', _exact_decimal(column, column_type.scale), '"')
    number = sa.type_coerce(column, sa.Float)
    return case((number.is_not(None), func.printf(literal("%!.18g"), number)))


def _number(text: str) -> ColumnElement[Any]:
    return literal_column(text)


def _has_decimals(number: ColumnElement[Any], digits: int) -> ColumnElement[bool]:
    """Return whether a number has at most so many decimals: IEEE 754 divides, and rounds, as reading the text does."""
    power = _number(f"1e{digits}")
    return func.round(number * power).op("/")(power) == number


def _unfinished(layout: str, number: ColumnElement[Any]) -> SQLText:
    return func.printf(literal(f"{UNFINISHED}{layout}{UNFINISHED}"), number)


def _with_point(units: ColumnElement[Any], scale: int) -> SQLText:
    """Put the point into an integer of ``10**-scale`` units."""
    if not scale:
        return cast(units, sa.Text)
    one = _number(str(10**scale))
    sign = case((units < _number("0"), literal("-")), else_=literal(""))
    whole, rest = func.abs(units).op("/")(one), func.abs(units).op("%")(one)
    return func.printf(literal(f"%s%d.%0{scale}d"), sign, whole, rest)
