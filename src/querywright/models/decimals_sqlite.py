"""How exact decimals are compiled: as they are, and on SQLite in units of ``10**-scale``.

What is compiled for SQLite without being exact arithmetic gets numbers: a function, a cast, an operator that another
type has on its left. A column may be set to what is exact; anything else is refused, for it would have to be rounded.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    Case,
    Cast,
    ColumnElement,
    Insert,
    Integer,
    Null,
    Numeric,
    String,
    UnaryExpression,
    Update,
    case,
    cast,
)
from sqlalchemy.exc import CompileError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.functions import Function
from sqlalchemy.types import NullType, TypeEngine
from sqlalchemy.util import immutabledict

from querywright.models.decimals import AsNumber, AtScale, ExactDecimal, scale_of

__all__: list[str] = []

# Functions whose result is one of their arguments, or their sum.
_SAME_UNITS = frozenset({"sum", "min", "max", "coalesce", "ifnull", "nullif", "abs", "first_value", "last_value"})


@compiles(AtScale)
@compiles(AsNumber)
def _itself(element: Any, compiler: Any, **kwargs: Any) -> str:
    return compiler.process(element.clause_expr, **kwargs)  # type: ignore[no-any-return]


@compiles(AsNumber, "sqlite")
def _number(element: AsNumber, compiler: Any, **kwargs: Any) -> str:
    [expression] = element.clauses
    return f"({_itself(element, compiler, **kwargs)} / {float(10 ** (scale_of(expression) or 0))})"


@compiles(AtScale, "sqlite")
def _units(element: AtScale, compiler: Any, **kwargs: Any) -> str:
    [expression] = element.clauses
    text, wanted, scale = _itself(element, compiler, **kwargs), scale_of(element) or 0, scale_of(expression)
    if scale is None:
        return f"CAST(round({text} * {float(10**wanted)}) AS INTEGER)"
    if scale <= wanted:
        return f"({text} * {10 ** (wanted - scale)})" if scale < wanted else text
    one = 10 ** (scale - wanted)
    # Halves away from zero, as PostgreSQL rounds; SQLite's division of integers cuts.
    return f"({text} / {one} + {text} % {one} / {one // 2})"


def _is_exact(element: Any) -> bool:
    return isinstance(getattr(element, "type", None), ExactDecimal)


def _plain(element: Any) -> Any:
    """Make a number of what is exact, inside of a DISTINCT if there is one."""
    if isinstance(element, UnaryExpression) and element.operator is operators.distinct_op:
        return UnaryExpression(_plain(element.element), operator=operators.distinct_op, type_=Numeric())
    return AsNumber(element) if _is_exact(element) else element


def _like(element: Any, wanted: TypeEngine[Any]) -> Any:
    """Bring a value to a type: to its units if that is exact, or else to a number."""
    if not isinstance(wanted, ExactDecimal):
        return _plain(element)
    unchanged = isinstance(element, Null) or (_is_exact(element) and scale_of(element) == wanted.scale)
    return element if unchanged else AtScale(element, wanted.scale)


@compiles(Function, "sqlite")
def _function(element: Function[Any], compiler: Any, **kwargs: Any) -> str:
    arguments = list(element.clauses)
    name, wanted = element.name.lower(), element.type
    if name == "count" or not (_is_exact(element) or any(map(_is_exact, arguments))):
        return compiler.visit_function(element, **kwargs)  # type: ignore[no-any-return]
    if name in _SAME_UNITS and isinstance(wanted, ExactDecimal):
        return _called(element, [_like(argument, wanted) for argument in arguments], compiler, kwargs)
    text = _called(element, [_plain(argument) for argument in arguments], compiler, kwargs)
    return f"CAST(round({text} * {float(10**wanted.scale)}) AS INTEGER)" if isinstance(wanted, ExactDecimal) else text


def _called(element: Function[Any], arguments: list[Any], compiler: Any, kwargs: dict[str, Any]) -> str:
    made: Function[Any] = Function(element.name, *arguments, type_=element.type, packagenames=element.packagenames)
    return compiler.visit_function(made, **kwargs)  # type: ignore[no-any-return]


@compiles(Case, "sqlite")
def _case(element: Case[Any], compiler: Any, **kwargs: Any) -> str:
    results = [result for _, result in element.whens] + ([] if element.else_ is None else [element.else_])
    if any(map(_is_exact, results)):
        whens = [(condition, _like(result, element.type)) for condition, result in element.whens]
        else_ = None if element.else_ is None else _like(element.else_, element.type)
        element = case(*whens, value=element.value, else_=else_)
    return compiler.visit_case(element, **kwargs)  # type: ignore[no-any-return]


@compiles(Cast, "sqlite")
def _cast(element: Cast[Any], compiler: Any, **kwargs: Any) -> str:
    wanted, clause = element.type, element.clause
    if isinstance(wanted, ExactDecimal):
        return compiler.process(_like(clause, wanted), **kwargs)  # type: ignore[no-any-return]
    if not _is_exact(clause):
        return compiler.visit_cast(element, **kwargs)  # type: ignore[no-any-return]
    if isinstance(wanted, Integer):
        return compiler.process(AtScale(clause, 0), **kwargs)  # type: ignore[no-any-return]
    if isinstance(wanted, String):
        text = compiler.process(AsNumber(clause), **kwargs)
        return f"printf('%.{scale_of(clause)}f', {text})"
    return compiler.visit_cast(cast(AsNumber(clause), wanted), **kwargs)  # type: ignore[no-any-return]


@compiles(BinaryExpression, "sqlite")
def _binary(element: BinaryExpression[Any], compiler: Any, **kwargs: Any) -> str:
    left, right = element.left, element.right
    # An exact decimal on the left has looked at what is on its right.
    if _is_exact(right) and not _is_exact(left):
        left, right = _operands(element)
        options: dict[str, Any] = {"negate": element.negate, "modifiers": element.modifiers}
        element = BinaryExpression(left, right, element.operator, element.type, **options)
    return compiler.visit_binary(element, **kwargs)  # type: ignore[no-any-return]


def _operands(element: BinaryExpression[Any]) -> tuple[Any, Any]:
    """Let operands fit the type that SQLAlchemy has given to their result: often that of the right one."""
    left, right, operator = element.left, element.right, element.operator
    if not isinstance(element.type, ExactDecimal):
        return left, _plain(right)
    if isinstance(left.type, Integer) and operator in {operators.mul, operators.add, operators.sub, operators.mod}:
        return (left if operator is operators.mul else _like(left, element.type)), right
    message = f"On SQLite {element!s} would lose digits: {right!s} is an exact decimal, and the other operand is not."
    raise CompileError(f"{message} Write the exact decimal on the left, or cast() it to Numeric.")


@compiles(Update, "sqlite")
def _update(statement: Update, compiler: Any, **kwargs: Any) -> str:
    return compiler.visit_update(_assigned(statement), **kwargs)  # type: ignore[no-any-return]


@compiles(Insert, "sqlite")
def _insert(statement: Insert, compiler: Any, **kwargs: Any) -> str:
    if statement.select is not None:
        _require_same(statement)
    return compiler.visit_insert(_assigned(statement), **kwargs)  # type: ignore[no-any-return]


# Nothing public reads the values of a statement.
def _assigned(statement: Any) -> Any:
    """Bring what columns are set to into their units."""

    def assigned(pairs: Any) -> Any:
        items = pairs.items() if hasattr(pairs, "items") else pairs
        return [(key, _fitting(value, _column(statement, key))) for key, value in items]

    changed = statement._clone()  # noqa: SLF001 - as above
    if statement._values:  # noqa: SLF001 - as above
        changed._values = immutabledict(assigned(statement._values))  # noqa: SLF001 - as above
    # Before SQLAlchemy 2.1 in a place of their own.
    if getattr(statement, "_ordered_values", None):
        changed._ordered_values = assigned(statement._ordered_values)  # noqa: SLF001 - as above
    clause: Any = getattr(statement, "_post_values_clause", None)
    if hasattr(clause, "update_values_to_set"):
        pairs = assigned(clause.update_values_to_set)
        changed._post_values_clause = clause._clone()  # noqa: SLF001 - as above
        kind = type(clause.update_values_to_set)
        changed._post_values_clause.update_values_to_set = kind(pairs)  # noqa: SLF001 - as above
    return changed


def _column(statement: Any, key: Any) -> Any:
    """Find the column that a key names: of a table, or of a mapped class."""
    if not isinstance(key, str):
        return key
    mapper = statement._propagate_attrs.get("plugin_subject")  # noqa: SLF001 - as above
    known = getattr(mapper, "columns", None) or statement.table.c
    return known.get(key, statement.table.c.get(key))


def _fitting(value: Any, column: Any) -> Any:
    """Bring a value to the units of the column that is set to it."""
    wanted = getattr(column, "type", None)
    is_given = isinstance(value, BindParameter) and isinstance(value.type, NullType)
    if not isinstance(value, ColumnElement) or is_given:
        return value
    if not isinstance(wanted, ExactDecimal):
        return _plain(value)
    if scale_of(value) is None and not isinstance(value, Null):
        raise _not_exact(column, value)
    return _like(value, wanted)


def _not_exact(column: Any, value: Any) -> CompileError:
    message = f"On SQLite {column!s} can be set only to what is exact, and {value!s} is not."
    return CompileError(f"{message} Let Python compute it, or cast() it to {column.type!r} to have a float rounded.")


def _require_same(statement: Any) -> None:
    """Refuse to copy columns in other units."""
    names = statement._select_names or statement.table.c.keys()  # noqa: SLF001 - as above
    for name, selected in zip(names, statement.select.selected_columns, strict=False):
        column = _column(statement, name)
        kinds = (getattr(column, "type", None), selected.type)
        units = [kind.scale if isinstance(kind, ExactDecimal) else None for kind in kinds]
        if units[0] != units[1]:
            raise _not_exact(column, selected)
