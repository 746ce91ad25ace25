"""Find which rows lie too deep in a statement to be written and parsed; they get statements of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Mapper

from querywright.fetching.compile.form import Form
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
    inner,
)
from querywright.fetching.writers import Nesting

__all__ = ["deep_rows"]


def deep_rows(plan: Plan, form: Form, nesting: Nesting | None) -> frozenset[int]:
    """Find the rows that are left open, by the identities of their nodes."""
    if nesting is None:
        return frozenset()
    walk = _Walk(form, nesting)
    return frozenset(map(id, walk.deep(plan.root, walk.outermost, plan.mapper)))


@dataclass(frozen=True)
class _Walk:
    """A walk through all nodes of a form of a plan."""

    form: Form
    nesting: Nesting

    @property
    def compact(self) -> int:
        return self.nesting.compact if self.form.exclude_none and not self.form.for_model else 0

    @property
    def outermost(self) -> int:
        """How deep the rows of the statement lie, of which any value may be left out."""
        return (self.nesting.page if self.form.page else self.nesting.statement) + 2 * self.compact

    def deep(self, node: Node, depth: int, mapper: Mapper[Any]) -> Iterator[Node]:
        """List the rows inside of a node, which itself lies so deep, that would lie too deep."""
        mapper = node.mapper if isinstance(node, _ROWS) else mapper
        for part in inner(node):
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
        if isinstance(node, Scalar):
            return self.nesting.values.get(node.encoding, self.nesting.value)
        if isinstance(node, Aggregate):
            return self.nesting.value
        if not isinstance(node, _RELATED):
            mapper = node.mapper if isinstance(node, _ROWS) else mapper
            return max((self.reach(part, mapper) for part in inner(node)), default=0)
        step, related = self.step(node, mapper), mapper.relationships[node.relationship].mapper
        if step is None:
            return self.nesting.slot
        return step + (self.nesting.slot if isinstance(node.target, _ROWS) else self.reach(node.target, related))

    def step(self, node: ToOne | ToMany | Groups, mapper: Mapper[Any]) -> int | None:
        """Return how much deeper related rows lie; ``None`` if they are a list that is left open."""
        nesting, compact = self.nesting, self.compact
        if isinstance(node, ToOne):
            joined = node.rows is None and leads_to_one(mapper.relationships[node.relationship])
            return (nesting.join if joined else nesting.subquery) + compact * (2 if node.nullable else 1)
        if isinstance(node, Groups):
            return nesting.groups + compact
        return None if self.form.split and node.rows.limit is None else nesting.subquery + compact


_ROWS = (Shape, Variants)
_RELATED = (ToOne, ToMany, Groups)
