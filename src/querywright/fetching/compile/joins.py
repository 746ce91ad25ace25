"""Which rows are joined to those of a level: decided before anything of them is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from querywright.fetching.compile import related
from querywright.fetching.compile.form import Layout
from querywright.fetching.compile.related import Criteria, Level
from querywright.fetching.mapping.cardinality import leads_to_one
from querywright.fetching.plan.nodes import Embedded, Node, Shape, ToOne, Variants

__all__ = ["Joins"]

# The levels of joined rows, by the identity of what is written of each.
Rows = dict[int, Level]


@dataclass(frozen=True)
class Joins:
    """Joins what is proven to be one row, and what a row has as one of its subclass.

    Attributes:
        layout: What is written.
        criteria: The filters that hold for related rows.
        deep: The rows that lie too deep, by their identities: statements of their own write them.
    """

    layout: Layout
    criteria: Criteria
    deep: frozenset[int]

    def to(self, level: Level, node: Node) -> Level:
        """Return a level with the rows that are joined for a node which is written of its own."""
        return level if id(node) in self.deep else self.to_written(level, node)

    def to_written(self, level: Level, node: Node) -> Level:
        """Return the same, however deep the node lies."""
        return replace(level, joined_rows=self._rows(node, level))

    def _found(self, node: Node, level: Level) -> Rows:
        return {} if id(node) in self.deep else self._rows(node, level)

    def _rows(self, node: Node, level: Level) -> Rows:
        find = _FOUND.get(type(node))
        return {} if find is None else find(self, node, level)

    def _of_fields(self, node: Shape, level: Level) -> Rows:
        found: Rows = {}
        for field in node.fields:
            if self.layout.writes(field):
                found |= self._found(field.value, level)
        return found

    def _of_composite(self, node: Embedded, level: Level) -> Rows:
        return self._found(node.shape, level)

    def _of_cases(self, node: Variants, level: Level) -> Rows:
        found: Rows = {}
        for shape in node.shapes:
            if shape.mapper is level.mapper:
                found |= self._found(shape, level)
            elif level.joinable:
                found[id(shape)] = self.to(related.subclass(shape.mapper, level, self.criteria), shape)
        return found

    def _of_one(self, node: ToOne, level: Level) -> Rows:
        relationship = level.mapper.relationships[node.relationship]
        if node.rows is not None or not level.joinable or not leads_to_one(relationship):
            return {}
        return {id(node): self.to(related.enter(node.relationship, level, self.criteria), node.target)}


_FOUND: dict[type, Callable[[Joins, Any, Level], Rows]] = {
    Shape: Joins._of_fields,  # noqa: SLF001 - its own
    Embedded: Joins._of_composite,  # noqa: SLF001 - as above
    Variants: Joins._of_cases,  # noqa: SLF001 - as above
    ToOne: Joins._of_one,  # noqa: SLF001 - as above
}
