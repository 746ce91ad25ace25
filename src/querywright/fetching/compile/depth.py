"""Find which rows lie too deep in a statement to be written and parsed; they get statements of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Mapper

from querywright.fetching.compile.form import Layout
from querywright.fetching.mapping.cardinality import leads_to_one
from querywright.fetching.plan.nodes import (
    Aggregate,
    Groups,
    Node,
    Plan,
    Scalar,
    Shape,
    ToMany,
    ToOne,
    Variants,
)
from querywright.fetching.writers import Nesting

__all__ = ["deep_rows"]


def deep_rows(plan: Plan, layout: Layout, nesting: Nesting | None) -> frozenset[int]:
    """Find the rows that are left open, by the identities of their nodes."""
    if nesting is None:
        return frozenset()
    walk = _Walk(layout, nesting)
    return frozenset(map(id, walk.deep(plan.root, walk.outermost, plan.mapper)))


Reach = Callable[["_Walk", Any, Mapper[Any]], int]


@dataclass(frozen=True)
class _Walk:
    """A walk through all nodes of a plan."""

    layout: Layout
    nesting: Nesting

    @property
    def compact(self) -> int:
        return self.nesting.compact if self.layout.compact else 0

    @property
    def outermost(self) -> int:
        """How deep the rows of the statement lie, of which any value may be left out."""
        return (self.nesting.page if self.layout.form.page else self.nesting.statement) + 2 * self.compact

    def deep(self, node: Node, depth: int, mapper: Mapper[Any]) -> Iterator[Node]:
        """List the rows inside of a node, which itself lies so deep, that would lie too deep."""
        mapper = node.mapper if isinstance(node, _ROWS) else mapper
        for part in node.inner:
            if isinstance(part, _RELATED):
                step, related = self.step(part, mapper), mapper.relationships[part.relationship].mapper
                yield from self.deep(part, self.outermost if step is None else depth + step, related)
            elif isinstance(node, _RELATED) and isinstance(part, _ROWS) and self.is_deep(part, depth):
                yield part
                yield from self.deep(part, self.outermost, mapper)
            else:
                yield from self.deep(part, depth, mapper)

    def is_deep(self, row: Shape | Variants, depth: int) -> bool:
        """Return whether what a row has lies too deep, even if the rows below are left open."""
        return depth + self.reach(row, row.mapper) > self.nesting.most

    def reach(self, node: Node, mapper: Mapper[Any]) -> int:
        """Return how much deeper than a node that lies which is in it, the rows below left open."""
        reach: Reach = _REACH.get(type(node), _Walk.reach_inside)
        return reach(self, node, mapper)

    def reach_inside(self, node: Node, mapper: Mapper[Any]) -> int:
        """Return the same of a row, or a part of one."""
        mapper = node.mapper if isinstance(node, _ROWS) else mapper
        return max((self.reach(part, mapper) for part in node.inner), default=0)

    def reach_related(self, node: ToOne | ToMany | Groups, mapper: Mapper[Any]) -> int:
        """Return the same of related rows."""
        step, related = self.step(node, mapper), mapper.relationships[node.relationship].mapper
        if step is None:
            return self.nesting.slot
        return step + (self.nesting.slot if isinstance(node.target, _ROWS) else self.reach(node.target, related))

    def step(self, node: ToOne | ToMany | Groups, mapper: Mapper[Any]) -> int | None:
        """Return how much deeper related rows lie; ``None`` if they are a list that is left open."""
        return _STEPS[type(node)](self, node, mapper)

    def step_to_one(self, node: ToOne, mapper: Mapper[Any]) -> int:
        """Return the same of one row."""
        joined = node.rows is None and leads_to_one(mapper.relationships[node.relationship])
        return (self.nesting.join if joined else self.nesting.subquery) + self.compact * (2 if node.nullable else 1)

    def step_to_many(self, node: ToMany, _mapper: Mapper[Any]) -> int | None:
        """Return the same of a list."""
        return None if self.layout.leaves_open(node) else self.nesting.subquery + self.compact


_ROWS = (Shape, Variants)
_RELATED = (ToOne, ToMany, Groups)
_REACH: dict[type, Reach] = {
    Scalar: lambda walk, node, _: walk.nesting.values.get(node.encoding, walk.nesting.value),
    Aggregate: lambda walk, _, __: walk.nesting.value,
    **dict.fromkeys(_RELATED, _Walk.reach_related),
}
_STEPS: dict[type, Callable[[_Walk, Any, Mapper[Any]], int | None]] = {
    ToOne: _Walk.step_to_one,
    ToMany: _Walk.step_to_many,
    Groups: lambda walk, _, __: walk.nesting.groups + walk.compact,
}
