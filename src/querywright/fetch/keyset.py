"""Keyset pagination: from an ORDER BY and a row's values to the condition that holds for the rows behind it.

NULLs sort before or behind all values, by the database's habit or as the ORDER BY says; equal rows are told apart by
their primary key. Method and proof: https://use-the-index-luke.com/no-offset
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, false, inspect, or_, tuple_
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

from querywright.errors import ShapeError
from querywright.fetch.related import identity_columns
from querywright.fetch.writers import JsonWriter

__all__ = ["Sort", "behind", "ordering", "parameter", "sorts_of"]


@dataclass(frozen=True)
class Sort:
    """One thing that rows are ordered by.

    Attributes:
        expression: The column or expression.
        descending: Whether the greatest comes first.
        nulls_first: Whether NULL comes first.
        nullable: Whether it may be NULL at all.
    """

    expression: Any
    descending: bool
    nulls_first: bool
    nullable: bool

    def on(self, column: ColumnElement[Any]) -> Sort:
        """Say the same of a column of a subquery."""
        return replace(self, expression=column)

    @property
    def reversed(self) -> Sort:
        """The same, read backwards."""
        return replace(self, descending=not self.descending, nulls_first=not self.nulls_first)

    @property
    def name(self) -> str:
        """What tells this order from another."""
        return f"{self.expression} {self.descending} {self.nulls_first}"


def sorts_of(statement: Select[Any], entity: Any, writer: JsonWriter) -> tuple[Sort, ...]:
    """Read the ORDER BY of a statement, and add what makes the order total.

    Args:
        statement: The statement.
        entity: The mapped class that it selects.
        writer: What is known of the database.

    Raises:
        ShapeError: It is ordered by a text, of which nothing is known.
    """
    clauses = statement._order_by_clauses  # noqa: SLF001 - nothing public
    sorts = [_sort(clause, inspect(entity), writer) for clause in clauses]
    named = {str(sort.expression) for sort in sorts}
    descending = bool(sorts) and sorts[-1].descending
    missing = [column for column in identity_columns(entity) if str(column.expression) not in named]
    return (*sorts, *(Sort(column, descending, nulls_first=False, nullable=False) for column in missing))


def _sort(clause: Any, selected: Any, writer: JsonWriter) -> Sort:
    descending, nulls_first = False, None
    while True:
        element = getattr(clause, "element", None)
        if isinstance(clause, UnaryExpression) and clause.modifier in _MODIFIERS:
            descending = descending or clause.modifier is operators.desc_op
            if clause.modifier in {operators.nulls_first_op, operators.nulls_last_op}:
                nulls_first = clause.modifier is operators.nulls_first_op
        elif type(clause).__name__ != "_label_reference":
            break
        clause = element
    if not isinstance(clause, ColumnElement) or isinstance(element, str):
        raise ShapeError("statement", "it is ordered by a text.", hint="Order a list that has pages by columns.")
    first = descending is writer.nulls_are_largest if nulls_first is None else nulls_first
    # The column of another table may be NULL after an outer join, whatever it is declared to be.
    own = selected.selectable.is_derived_from(getattr(clause, "table", None))
    nullable = not own or getattr(clause, "nullable", True)
    return Sort(writer.sort_key(clause), descending, first, nullable)


_MODIFIERS = {operators.asc_op, operators.desc_op, operators.nulls_first_op, operators.nulls_last_op}


def ordering(sorts: Sequence[Sort], writer: JsonWriter) -> list[ColumnElement[Any]]:
    """Write an ORDER BY."""
    return [clause for sort in sorts for clause in _order(sort, writer)]


def _order(sort: Sort, writer: JsonWriter) -> list[ColumnElement[Any]]:
    if sort.nullable:
        return writer.order_nulls(sort.expression, descending=sort.descending, nulls_first=sort.nulls_first)
    return [sort.expression.desc() if sort.descending else sort.expression.asc()]


def parameter(position: int) -> str:
    """Name the parameter that holds a row's value of one sort."""
    return f"querywright_{position}"


def behind(sorts: Sequence[Sort], nulls: Sequence[bool], writer: JsonWriter) -> ColumnElement[bool]:
    """Write the condition that holds for the rows behind one row.

    Args:
        sorts: What the rows are ordered by.
        nulls: For each of them, whether that row's value is NULL; the others are parameters.
        writer: What is known of the database.
    """
    values = [bindparam(parameter(n), type_=sort.expression.type) for n, sort in enumerate(sorts)]
    one_way = len({sort.descending for sort in sorts}) == 1 and not any(sort.nullable for sort in sorts)
    if one_way and len(sorts) > 1 and writer.index_of_tuples:
        left = tuple_(*(sort.expression for sort in sorts))
        right = tuple_(*values)
        return left < right if sorts[0].descending else left > right
    alternatives: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for sort, value, null in zip(sorts, values, nulls, strict=True):
        alternatives.append(and_(*equal, _after(sort, value, null=null)))
        equal.append(sort.expression.is_(None) if null else sort.expression == value)
    condition = or_(*alternatives)
    first = sorts[0]
    if len(sorts) == 1 or first.nullable:
        return condition
    # Redundant, and what an index of the first column can be used for.
    start = first.expression <= values[0] if first.descending else first.expression >= values[0]
    return and_(start, condition)


def _after(sort: Sort, value: Any, *, null: bool) -> ColumnElement[bool]:
    column = sort.expression
    if null:
        return column.is_not(None) if sort.nulls_first else false()
    after = column < value if sort.descending else column > value
    return or_(after, column.is_(None)) if sort.nullable and not sort.nulls_first else after
