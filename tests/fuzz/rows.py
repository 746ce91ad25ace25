"""Invent the rows of a schema, in an order in which they can be inserted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.mapping import Mapped
from tests.fuzz.schemas import Association, Column, Entity, Reference, Schema

Row = dict[str, Any]  # by the name of the column


@dataclass(frozen=True)
class Rows:
    """The rows of each class and of each association."""

    entities: tuple[tuple[Row, ...], ...]
    associations: tuple[tuple[Row, ...], ...]

    def insert(self, connection: Any, mapped: Mapped) -> None:
        """Write them; foreign keys only lead to what was written before."""
        for cls, rows in zip(mapped.classes, self.entities, strict=True):
            if rows:
                connection.execute(cls.__table__.insert(), list(rows))
        for table, rows in zip(mapped.tables, self.associations, strict=True):
            if rows:
                connection.execute(table.insert(), list(rows))


@st.composite
def rows_of(draw: st.DrawFn, schema: Schema) -> Rows:
    """Draw up to six rows of each class, and links between them."""
    made: list[list[Row]] = []
    for index, entity in enumerate(schema.entities):
        links = [link for link in schema.references if link.owner == index]
        made.append([])
        for key in draw(_keys(entity)):
            row = dict(zip((column.name for column in entity.key), key, strict=True))
            row |= {column.name: draw(_value(column)) for column in entity.others}
            made[index].append(row)
            if not all(draw(_refer(link, row, made, schema)) for link in links):
                made[index].pop()
    associated = [tuple(draw(_associate(link, made, schema))) for link in schema.associations]
    return Rows(tuple(map(tuple, made)), tuple(associated))


@st.composite
def _keys(draw: st.DrawFn, entity: Entity) -> list[tuple[Any, ...]]:
    count = draw(st.sampled_from((1, 2, 2, 3, 3, 4, 6, 0)))
    key = st.tuples(*(column.kind.values for column in entity.key))
    return draw(st.lists(key, min_size=count, max_size=count, unique=True))


def _value(column: Column) -> st.SearchStrategy[Any]:
    return column.kind.values_or_none if column.nullable else column.kind.values


@st.composite
def _refer(draw: st.DrawFn, link: Reference, row: Row, made: list[list[Row]], schema: Schema) -> bool:
    """Let a row refer to another; say whether it could."""
    keys = [column.name for column in schema.entities[link.target].key]
    names = [column.name for column in link.columns]
    taken = [[other.get(name) for name in names] for other in made[link.owner]] if link.unique else []
    targets = [values for other in made[link.target] if (values := [other[key] for key in keys]) not in taken]
    free: list[list[Any] | None] = [*targets]
    if not link.required:
        free.append(None)
    if not free:
        return False
    chosen = draw(st.sampled_from(free)) or [None] * len(names)
    row |= dict(zip(names, chosen, strict=True))
    return True


@st.composite
def _associate(draw: st.DrawFn, link: Association, made: list[list[Row]], schema: Schema) -> list[Row]:
    pairs = [(left, right) for left in range(len(made[link.left])) for right in range(len(made[link.right]))]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=8)) if pairs else []
    sides = ((link.left, link.left_columns), (link.right, link.right_columns))
    found: list[Row] = []
    for position, pair in enumerate(chosen):
        row: Row = {link.position: position} if link.position else {}
        for (index, names), number in zip(sides, pair, strict=True):
            keys = [column.name for column in schema.entities[index].key]
            row |= {name: made[index][number][key] for name, key in zip(names, keys, strict=True)}
        found.append(row)
    return found
