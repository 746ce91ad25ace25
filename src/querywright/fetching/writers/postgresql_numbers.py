"""Write PostgreSQL's numbers as Python does: the shortest text of a double, and the exponent of a decimal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Text, and_, case, cast, func, literal_column
from sqlalchemy.types import TypeEngine

from querywright.fetching.writers.base import EXPONENT, FEW_DIGITS, Encoder, Fragments, SQLText, join, literal
from querywright.fetching.writers.postgresql_times import broken, is_of
from querywright.models.types import ExactDecimal

__all__ = ["decimal", "exact_decimal", "float_"]

_INFINITE: list[ColumnElement[float]] = [
    literal_column(f"'{name}'::float8") for name in ("NaN", "Infinity", "-Infinity")
]


# With more decimals Python writes an exponent of a small number.
_MOST_DECIMALS = 6


# Once for a statement, and not for each row.
_CUTS_DIGITS = literal_column("(SELECT current_setting('extra_float_digits')::int < 1)", sa.Boolean)


def _number(text: str) -> ColumnElement[Any]:
    return literal_column(text)


def float_(*, widens_real: bool, infinite: Callable[[ColumnElement[Any]], SQLText]) -> Encoder:
    """Write a float.

    Args:
        widens_real: Whether the driver reads the binary form of a REAL, or the shorter number that its text is.
        infinite: How NaN and the infinities are written.
    """

    def encode(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
        value = cast(column, sa.Double)
        whens: list[Any] = [(_CUTS_DIGITS, broken(FEW_DIGITS))]
        if not widens_real:
            short = cast(cast(column, Text), sa.Double)
            whens.append((is_of(column, "real"), _shortest(short, infinite)))
        return (case((column.is_not(None), case(*whens, else_=_shortest(value, infinite)))),)

    return encode


def _shortest(value: ColumnElement[Any], infinite: Callable[[ColumnElement[Any]], SQLText]) -> SQLText:
    """Change PostgreSQL's shortest text of a double to that of Pydantic, which has the same digits."""
    text: SQLText = cast(value, Text)
    size: ColumnElement[Any] = func.abs(value)
    whole = func.trunc(value) == value
    decimals = cast(cast(text, sa.Numeric), Text)
    return case(
        (and_(size >= _number("1e-4"), size < _number("1e15")), case((whole, join(text, ".0")), else_=text)),
        (value == _number("0"), join(text, ".0")),
        (value.in_(_INFINITE), infinite(value)),
        (size >= _number("1e16"), func.replace(_shorter(value, text), literal("e+"), literal(EXPONENT))),
        (size < _number("1e-5"), func.replace(text, literal("e-0"), literal("e-"))),
        (whole, join(decimals, ".0")),
        else_=decimals,
    )


def _shorter(value: ColumnElement[Any], text: SQLText) -> SQLText:
    """Leave out the last digit where the rest is the same double.

    PostgreSQL takes no number that lies exactly in the middle of two doubles, Python takes it for the even one. With
    so few digits there is none from 1e39 on: it is an odd number of 54 bits, and so has at most 23 factors of 5.
    """
    in_reach = func.abs(value) < _number("1e39")
    mantissa, exponent = (func.split_part(text, literal("e"), _number(part)) for part in "12")
    decimals = func.length(func.split_part(mantissa, literal("."), _number("2")))
    rounded = func.round(cast(text, sa.Numeric), decimals - _number("1") - cast(exponent, sa.Integer))
    every = func.ltrim(cast(rounded, Text), literal("-"))
    size = cast(func.length(every) - _number("1"), Text)
    shorter = join(_mantissa(value, func.rtrim(every, literal("0"))), "e+", size)
    return case((and_(in_reach, decimals > _number("0"), cast(rounded, sa.Double) == value), shorter), else_=text)


def decimal(*, strips_zeros: bool, finite: bool) -> Encoder:
    """Write a decimal of any scale.

    Args:
        strips_zeros: Whether the driver makes ``1E+4`` of 10000.
        finite: Whether NaN and the infinities, which Pydantic takes for no decimals, are left to no model to judge.
    """

    def encode(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
        if isinstance(column_type, ExactDecimal):
            return exact_decimal(column, column_type, finite=finite)
        value, scale = cast(column, sa.Numeric), func.scale(cast(column, sa.Numeric))
        whens: list[Any] = [(scale.between(_number("1"), _number(str(_MOST_DECIMALS))), cast(value, Text))]
        if strips_zeros:
            groups = and_(scale == _number("0"), value % _number("10000") == _number("0"), value != _number("0"))
            whens.append((and_(groups, is_of(column, "numeric")), _without_zeros(value)))
        whens.append((_is_small(value, scale), _scientific(value, scale)))
        whens += [(_is_infinite(value, scale), broken(_NOT_FINITE))] if finite else []
        return ('"', case(*whens, else_=cast(value, Text)), '"')

    return encode


_NOT_FINITE = "a decimal that is not finite"


def _is_infinite(value: ColumnElement[Any], scale: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(scale.is_(None), value.is_not(None))


def exact_decimal(column: ColumnElement[Any], column_type: ExactDecimal, *, finite: bool) -> Fragments:
    """Write a decimal with at least the digits of its type, which an expression of that type need not have."""
    scale: ColumnElement[Any] = _number(str(column_type.scale))
    value = cast(column, sa.Numeric)
    padded = case((func.scale(value) < scale, func.round(value, scale)), else_=value)
    small = _is_small(padded, func.scale(padded))
    infinite = [(_is_infinite(value, func.scale(value)), broken(_NOT_FINITE))] if finite else []
    text: SQLText = case((small, _scientific(padded, func.scale(padded))), *infinite, else_=cast(padded, Text))
    if column_type.scale <= _MOST_DECIMALS:
        text = case((func.scale(value) == scale, cast(value, Text)), else_=text)
    return ('"', text, '"')


def _is_small(value: ColumnElement[Any], scale: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(scale > _number(str(_MOST_DECIMALS)), func.abs(value) < _number(f"1e-{_MOST_DECIMALS}"))


def _scientific(value: ColumnElement[Any], scale: ColumnElement[Any]) -> SQLText:
    """Write ``1.20E-8`` for 0.0000000120."""
    digits = func.ltrim(func.translate(cast(value, Text), literal("-."), literal("")), literal("0"))
    exponent = func.length(digits) - _number("1") - scale
    zero = join("0E-", cast(scale, Text))
    return case((value == _number("0"), zero), else_=join(_mantissa(value, digits), "E", cast(exponent, Text)))


def _without_zeros(value: ColumnElement[Any]) -> SQLText:
    """Write ``1.2000E+8`` for 120000000: PostgreSQL leaves groups of four zeros out, and asyncpg counts them."""
    every = func.ltrim(cast(value, Text), literal("-"))
    zeros = func.length(every) - func.length(func.rtrim(every, literal("0")))
    kept = func.length(every) - zeros + zeros % _number("4")
    digits = func.left(every, kept)
    exponent = func.length(every) - _number("1")
    return join(_mantissa(value, digits), "E+", cast(exponent, Text))


def _mantissa(value: ColumnElement[Any], digits: SQLText) -> SQLText:
    sign = case((value < _number("0"), literal("-")), else_=literal(""))
    point = case((func.length(digits) > _number("1"), literal(".")), else_=literal(""))
    return join(sign, func.left(digits, _number("1")), point, func.substr(digits, _number("2")))
