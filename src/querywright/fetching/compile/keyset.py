"""Keyset pagination: from an ORDER BY and a row's place in it to the condition that holds for the rows behind it.

NULLs sort before or behind all values, by the database's habit or as the ORDER BY says; equal rows are told apart by
what tells rows apart. Method and proof: https://use-the-index-luke.com/no-offset
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_, tuple_

from querywright.fetching.writers import JsonWriter

__all__ = ["Sort", "behind", "ordering", "parameter"]


@dataclass(frozen=True)
class Sort:
    """One thing that rows are ordered by.

    Attributes:
        expression: The column or expression.
        descending: Whether the greatest comes first.
        nulls_first: Whether NULL comes first.
        nullable: Whether it may be NULL at all.
        joined: Whether it is of another FROM than what rows are ordered by first.
    """

    expression: Any
    descending: bool
    nulls_first: bool
    nullable: bool
    joined: bool = False

    def on(self, column: ColumnElement[Any]) -> Sort:
        """Return the same of a column of a subquery."""
        return replace(self, expression=column)

    @property
    def reversed(self) -> Sort:
        """The same, read backwards."""
        return replace(self, descending=not self.descending, nulls_first=not self.nulls_first)


def ordering(sorts: Sequence[Sort], writer: JsonWriter) -> list[ColumnElement[Any]]:
    """Write an ORDER BY."""
    return [clause for sort in sorts for clause in _order(sort, writer)]


def _order(sort: Sort, writer: JsonWriter) -> list[ColumnElement[Any]]:
    expression = writer.order_joined(sort.expression) if sort.joined else sort.expression
    if sort.nullable:
        return writer.order_nulls(expression, descending=sort.descending, nulls_first=sort.nulls_first)
    return [expression.desc() if sort.descending else expression.asc()]


def parameter(position: int) -> str:
    """Name the parameter that holds a row's value of one sort."""
    return f"querywright_{position}"


def behind(sorts: Sequence[Sort], kinds: Sequence[str | None], writer: JsonWriter) -> ColumnElement[bool]:
    """Write the condition that holds for the rows behind one row.

    Args:
        sorts: What the rows are ordered by.
        kinds: For each of them, the kind of that row's value, which is a parameter; ``None`` if it is NULL.
        writer: What is known of the database.
    """
    values = [None if kind is None else writer.cursor_parameter(parameter(n), kind) for n, kind in enumerate(kinds)]
    one_way = len({sort.descending for sort in sorts}) == 1 and not any(sort.nullable for sort in sorts)
    if one_way and len(sorts) > 1 and None not in kinds and writer.index_of_tuples:
        left = tuple_(*(sort.expression for sort in sorts))
        right = tuple_(*values)
        return left < right if sorts[0].descending else left > right
    alternatives: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for sort, value in zip(sorts, values, strict=True):
        alternatives.append(and_(*equal, _after(sort, value)))
        equal.append(sort.expression.is_(None) if value is None else sort.expression == value)
    condition = or_(*alternatives)
    first = sorts[0]
    if len(sorts) == 1 or first.nullable or values[0] is None:
        return condition
    # Redundant, and what an index of the first column can be used for.
    start = first.expression <= values[0] if first.descending else first.expression >= values[0]
    return and_(start, condition)


def _after(sort: Sort, value: ColumnElement[Any] | None) -> ColumnElement[bool]:
    column = sort.expression
    if value is None:
        return column.is_not(None) if sort.nulls_first else false()
    after = column < value if sort.descending else column > value
    return or_(after, column.is_(None)) if sort.nullable and not sort.nulls_first else after
