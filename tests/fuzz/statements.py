"""Invent statements: which rows of a class, in a defined order."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import Select, literal, or_, select
from sqlalchemy.orm import aliased

from tests.fuzz.mapping import Mapped, ordering
from tests.fuzz.rows import Rows
from tests.fuzz.schemas import Column, Edge, Order, Schema

_TESTS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    # SQLAlchemy compares with True only by identity.
    ">=": lambda column, value: column >= literal(value, column.type),
    "in": lambda column, value: column.in_([value, value]),
    "in none": lambda column, _value: column.in_([]),
    "not in": lambda column, value: column.not_in([value]),
    "is null": lambda column, _value: column.is_(None),
    "or null": lambda column, value: or_(column == value, column.is_(None)),
}

# SQLAlchemy itself cannot write IN for a column with such a name.
_NOT_IN_LISTS = re.compile(r"[^\S ]|]")
_LISTLESS = [test for test in sorted(_TESTS) if "in" not in test.split()]


@dataclass(frozen=True)
class Condition:
    """A test of a column; through a relationship, of a column of the other class."""

    test: str
    attribute: str
    value: Any
    through: Edge | None = None
    join: bool = False

    def apply(self, statement: Select[Any], entity: Any, mapped: Mapped) -> Select[Any]:
        if self.through is None:
            return statement.where(self._of(entity))
        relationship = getattr(entity, self.through.attribute)
        if self.join:
            other = aliased(mapped.classes[self.through.target])
            return statement.join(relationship.of_type(other)).where(self._of(other))
        exists = relationship.any if self.through.many else relationship.has
        return statement.where(exists(self._of(mapped.classes[self.through.target])))

    def _of(self, entity: Any) -> Any:
        return _TESTS[self.test](getattr(entity, self.attribute), self.value)


@dataclass(frozen=True)
class Statement:
    """A statement to be."""

    index: int
    aliased: bool
    conditions: tuple[Condition, ...]
    order: Order
    distinct: bool
    limit: int | None
    offset: int | None
    through: tuple[Edge, ...] = field(default=())

    def make(self, mapped: Mapped) -> Select[Any]:
        cls = mapped.classes[self.index]
        entity = aliased(cls) if self.aliased else cls
        statement: Select[Any] = select(entity)
        for condition in self.conditions:
            statement = condition.apply(statement, entity, mapped)
        statement = statement.order_by(*ordering(entity, self.order))
        if self.distinct:
            statement = statement.distinct()
        return statement.limit(self.limit).offset(self.offset)


@st.composite
def statements(draw: st.DrawFn, schema: Schema, rows: Rows, index: int) -> Statement:
    """Draw a statement of a class."""
    entity = schema.entities[index]
    compared = [column for column in schema.columns(index) if column.kind.compared]
    first = draw(st.lists(st.sampled_from(compared), max_size=1))
    order = tuple((column.attribute, draw(st.booleans())) for column in (*first, *entity.key))
    can_be_distinct = all(column.kind.compared for column in schema.columns(index))
    return Statement(
        index,
        aliased=draw(st.booleans()),
        conditions=tuple(
            draw(_condition(schema, rows, index)) for _ in range(draw(st.sampled_from((0, 0, 0, 0, 1, 2))))
        ),
        order=order,
        distinct=can_be_distinct and draw(st.integers(0, 4)) == 4,
        limit=draw(st.sampled_from((None, None, None, None, 0, 1, 2, 5))),
        offset=draw(st.sampled_from((None, None, None, None, 0, 1, 3))),
    )


@st.composite
def _condition(draw: st.DrawFn, schema: Schema, rows: Rows, index: int) -> Condition:
    edges = list(schema.edges(index))
    through = draw(st.none() | st.sampled_from(edges)) if edges else None
    of = through.target if through else index
    column: Column = draw(st.sampled_from([column for column in schema.columns(of) if column.kind.compared]))
    stored = [row[column.name] for row in rows.entities[of] if row[column.name] is not None]
    value = draw(st.sampled_from(stored) if stored and draw(st.booleans()) else column.kind.values)
    test = draw(st.sampled_from(_LISTLESS if _NOT_IN_LISTS.search(column.name) else sorted(_TESTS)))
    return Condition(test, column.attribute, value, through, join=bool(through) and draw(st.booleans()))
