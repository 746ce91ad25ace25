"""A decimal that is exact on every database, and its arithmetic.

SQLite has no decimals: there the value is an integer of ``10**-scale`` units. What an operator makes of two of them has
a type with a scale of its own, the one that PostgreSQL's NUMERIC has as well: the greater one for a sum, both together
for a product. Everything else, such as a quotient, is a number like any other, on SQLite a float.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal
from typing import Any

from sqlalchemy import BigInteger, BinaryExpression, BindParameter, ColumnElement, Dialect, Integer, Null, Numeric
from sqlalchemy.sql import operators
from sqlalchemy.sql.functions import Function
from sqlalchemy.types import TypeDecorator, TypeEngine
from typing_extensions import override

__all__ = ["AsNumber", "AtScale", "DoesNotFit", "ExactDecimal", "scale_of"]

_INT64_DIGITS = 18
# Python's own has 28 digits.
_WIDE = Context(prec=200)


class DoesNotFit(ValueError, OverflowError):
    """A value has more digits than its column."""


class AtScale(Function[Decimal]):
    """An expression as an exact decimal with the scale of its type: itself, but in other units on SQLite."""

    inherit_cache = True

    def __init__(self, expression: ColumnElement[Any], scale: int) -> None:
        super().__init__("at_scale", expression, type_=ExactDecimal(_INT64_DIGITS, scale))


class AsNumber(Function[Decimal]):
    """An exact decimal as a number like any other: itself, but divided by its units on SQLite."""

    inherit_cache = True

    def __init__(self, expression: ColumnElement[Any]) -> None:
        super().__init__("as_number", expression, type_=Numeric())


def scale_of(expression: ColumnElement[Any]) -> int | None:
    """Return how many decimals an expression has, if it is exact."""
    if isinstance(expression.type, ExactDecimal):
        return expression.type.scale
    return 0 if isinstance(expression.type, Integer) else None


class ExactDecimal(TypeDecorator[Decimal]):
    """A decimal that never passes through a float.

    PostgreSQL stores ``NUMERIC(precision, scale)``. SQLite would store a float, so there the value is an integer of
    ``10**-scale`` units, and plain SQL sees the integer, as a ``server_default`` does. In expressions, order,
    comparison, ``sum()``, ``+``, ``-``, ``%`` and products are exact; quotients, ``avg()`` and other functions are
    numbers with the precision of a float there.

    Args:
        precision: All digits, at most 18, which is what a 64-bit integer holds.
        scale: Digits behind the point.

    Raises:
        DoesNotFit: A stored value needs more digits than the type has; it may be compared with any.

    Example:
        >>> from sqlalchemy import Column
        >>> Column("price", ExactDecimal(12, 2)).type
        ExactDecimal(precision=12, scale=2)
    """

    impl = Numeric
    cache_ok = True

    def __init__(self, precision: int = 18, scale: int = 6) -> None:
        if not 0 <= scale <= precision <= _INT64_DIGITS:
            message = f"ExactDecimal({precision}, {scale}): 0 <= scale <= precision <= {_INT64_DIGITS} must hold"
            raise ValueError(message)
        super().__init__(precision=precision, scale=scale)
        self.precision = precision
        self.scale = scale

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose NUMERIC, or an integer where the database has no decimals."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(Numeric(self.precision, self.scale))

    @override
    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | int | float | None:
        """Check that the value fits, and scale it where the database has no decimals."""
        if value is None:
            return None
        number = _decimal(value)
        units = number.scaleb(self.scale, context=_WIDE) if _is_moderate(number) else None
        if units is None or units != units.to_integral_value() or abs(units) >= 10**self.precision:
            message = f"ExactDecimal({self.precision}, {self.scale}) cannot hold {value!s} exactly; round it first"
            raise DoesNotFit(message)
        return int(units) if dialect.name == "sqlite" else number

    @override
    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Return a Decimal with at least ``scale`` digits behind the point; no column has more.

        Raises:
            ValueError: SQLite has no integer there.
        """
        if value is None:
            return None
        if dialect.name != "sqlite":
            return _padded(Decimal(value), self.scale)
        if isinstance(value, float):
            message = (
                f"{self!r} is an integer of 10**-{self.scale} units on SQLite, but there is {value!r}: "
                "a result beyond 64 bits, or written by other SQL"
            )
            raise ValueError(message)  # noqa: TRY004 - of the value in the database, not of an argument
        return Decimal(value).scaleb(-self.scale)

    @override
    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        """Let it be compared with a number of any size and precision; an operand has a scale of its own."""
        if not _is_number(value):
            return self
        return _literal_type(_decimal(value)) if _is_arithmetic(op) else Comparand(self.precision, self.scale)

    class Comparator(TypeDecorator.Comparator[Any], Numeric.Comparator[Any]):
        """Operators whose results know their scale."""

        @override
        def operate(self, op: Any, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
            """Apply an operator."""
            if len(other) == 1 and (made := _operated(op, self.expr, other[0])) is not None:
                return made
            return super().operate(op, *other, **kwargs)

        @override
        def reverse_operate(self, op: Any, other: Any, **kwargs: Any) -> ColumnElement[Any]:
            """Apply an operator that has the number on its left."""
            made = _operated(op, other, self.expr)
            return super().reverse_operate(op, other, **kwargs) if made is None else made

    comparator_factory = Comparator  # pyright: ignore[reportAssignmentType] - a property of the base class


class Comparand(ExactDecimal):
    """A number that an exact decimal is compared with: any, for it is not stored."""

    cache_ok = True

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose NUMERIC without limits, or nothing in particular where the database has no decimals."""
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else Numeric())

    @override
    def process_bind_param(self, value: Any, dialect: Dialect) -> Decimal | int | float | None:
        """Scale it where the database has no decimals."""
        if value is None:
            return None
        number = _decimal(value)
        return _units(number, self.scale) if dialect.name == "sqlite" else number


def _padded(number: Decimal, scale: int) -> Decimal:
    """Add zeros: asyncpg leaves them out of 6250000, which comes as 6.25E+6, and an expression may have fewer."""
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent <= -scale:
        return number
    return number.quantize(Decimal(1).scaleb(-scale), context=_WIDE)


def _units(number: Decimal, scale: int) -> int | float:
    """Write a number in units, so that any integer compares with it as with the number itself."""
    if not number.is_finite():
        # NaN is greater than all others on PostgreSQL.
        return -math.inf if number.is_infinite() and number < 0 else math.inf
    units = number.scaleb(scale, context=_WIDE) if _is_moderate(number) else None
    if units is None or abs(units) >= 2**63:
        return math.copysign(math.inf, number)
    whole = math.floor(units)
    if units == whole:
        return whole
    if abs(whole) >= 2**52:
        message = f"{number} lies between two integers of SQLite, where no float does; round it first"
        raise DoesNotFit(message)
    # Between two integers it does not matter where.
    return whole + 0.5


def _is_moderate(number: Decimal) -> bool:
    """Return whether it is finite and not so large that even a context of Python's refuses to scale it."""
    return number.is_finite() and (not number or number.adjusted() < _WIDE.prec)


_COMPARISONS = {operators.eq, operators.ne, operators.lt, operators.le, operators.gt, operators.ge}
_COMPARISONS |= {operators.is_distinct_from, operators.is_not_distinct_from}
_SUMS = {operators.add, operators.sub, operators.mod}
_OTHERS = {operators.truediv, operators.floordiv, operators.concat_op}


def _is_other(op: Any) -> bool:
    return op in _OTHERS or isinstance(op, operators.custom_op)


def _is_arithmetic(op: Any) -> bool:
    return op in _SUMS or op is operators.mul or _is_other(op)


def _operated(op: Any, left: Any, right: Any) -> ColumnElement[Any] | None:
    """Apply an operator to two operands, of which one is exact; ``None`` if it can be applied as it is."""
    compares = op in _COMPARISONS
    # What is bound to be compared has a type for that.
    as_it_is = compares and (_is_number(left) or _is_number(right))
    operands = [] if as_it_is or not (compares or _is_arithmetic(op)) else [_operand(left), _operand(right)]
    found = [operand for operand in operands if operand is not None]
    return _of_two(op, *found) if len(found) == 2 else None  # noqa: PLR2004 - both operands


def _of_two(op: Any, left: ColumnElement[Any], right: ColumnElement[Any]) -> ColumnElement[Any] | None:
    first, second = scale_of(left), scale_of(right)
    if first is None or second is None or _is_other(op) or _result_scale(op, first, second) > _INT64_DIGITS:
        return op(_as_number(left), _as_number(right))  # type: ignore[no-any-return]
    scale = _result_scale(op, first, second)
    if op is not operators.mul:
        if op in _COMPARISONS and first == second and _is_exact(left) and _is_exact(right):
            return None
        left, right = _at_scale(left, scale), _at_scale(right, scale)
    if op in _COMPARISONS:
        return op(left, right)  # type: ignore[no-any-return]
    return BinaryExpression(left, right, op, type_=ExactDecimal(_INT64_DIGITS, scale))


def _result_scale(op: Any, first: int, second: int) -> int:
    return first + second if op is operators.mul else max(first, second)


def _operand(value: Any) -> ColumnElement[Any] | None:
    """Make an expression of an operand; a number with digits that an exact decimal can have becomes one."""
    element = value.__clause_element__() if hasattr(value, "__clause_element__") else value
    if isinstance(element, ColumnElement):
        return None if isinstance(element, Null) else element
    if not _is_number(element):
        return None
    number = _decimal(element)
    return BindParameter(None, number, type_=_literal_type(number), unique=True)


def _literal_type(number: Decimal) -> TypeEngine[Any]:
    exponent = number.as_tuple().exponent
    scale = max(-exponent, 0) if isinstance(exponent, int) else _INT64_DIGITS + 1
    fits = (
        scale <= _INT64_DIGITS and _is_moderate(number) and abs(number.scaleb(scale, context=_WIDE)) < 10**_INT64_DIGITS
    )
    return ExactDecimal(_INT64_DIGITS, scale) if fits else Numeric()


def _is_exact(element: ColumnElement[Any]) -> bool:
    return isinstance(element.type, ExactDecimal)


def _as_number(element: ColumnElement[Any]) -> ColumnElement[Any]:
    return AsNumber(element) if _is_exact(element) else element


def _at_scale(element: ColumnElement[Any], scale: int) -> ColumnElement[Any]:
    return element if scale_of(element) == scale and _is_exact(element) else AtScale(element, scale)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _decimal(value: Any) -> Decimal:
    # A float by the digits that one writes for it.
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
