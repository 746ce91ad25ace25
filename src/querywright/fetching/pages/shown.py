"""What a client sees of the order of a list: the fields that show, of each row, the very values it is ordered by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from querywright.errors import ShapeError
from querywright.fetching.compile.sorting import Order
from querywright.fetching.plan.nodes import Embedded, Field, Plan, Scalar, Shape, Source
from querywright.settings import RANDOM_TEXT

__all__ = ["NEEDS_SECRET", "ShownOrder", "shown_order"]

NEEDS_SECRET = (
    "Give the database a cursor_secret (QUERYWRIGHT_CURSOR_SECRET; for an engine of SQLAlchemy, use_cursor_secret()),"
    f" the same for all workers, which encrypts cursors; make one by: {RANDOM_TEXT}."
    " Or show it in the model, order by what is shown, or page by number."
)


@dataclass(frozen=True)
class ShownOrder:
    """An order that clients see.

    Attributes:
        values: The field that shows each value.
        name: What tells the order from another, as far as clients know it.
    """

    values: tuple[Scalar, ...]
    name: str


def shown_order(plan: Plan, order: Order) -> ShownOrder:
    """Find the fields that show what rows are ordered by; a cursor would show it as well.

    Raises:
        ShapeError: The model does not show some of it.
    """
    shown = [dict(_shown(shape)) for shape in plan.root.shapes]
    found: list[tuple[str, Scalar]] = []
    for place, attribute in enumerate(order.attributes):
        fields = [each.get(attribute) for each in shown]
        first = fields[0]
        if attribute is None or first is None or None in fields:
            raise _hidden(plan, order, place)
        found.append(first)
    ways = [(sort.descending, sort.nulls_first) for sort in order.sorts]
    name = json.dumps([(key, *way) for (key, _), way in zip(found, ways, strict=True)])
    return ShownOrder(tuple(scalar for _, scalar in found), name)


def _shown(shape: Shape, above: Sequence[str] = ()) -> Iterator[tuple[Source | None, tuple[str, Scalar]]]:
    """List the attributes whose values clients see, each with where it is in the JSON."""
    for field in shape.fields:
        yield from _shown_by(field, above) if field.shown else ()


def _shown_by(field: Field, above: Sequence[str]) -> Iterator[tuple[Source | None, tuple[str, Scalar]]]:
    where = [*above, field.key]
    if isinstance(field.value, Embedded):
        yield from _shown(field.value.shape, where)
    elif isinstance(field.value, Scalar):
        yield field.value.source, (".".join(where), field.value)


def _hidden(plan: Plan, order: Order, place: int) -> ShapeError:
    what = order.sorts[place].expression
    told = f"its pages are ordered by {what}" if place < order.asked else f"its pages tell equal rows apart by {what}"
    reason = f"{told}, which the model does not show in a field of its own, as it is stored."
    return ShapeError(plan.root.path, reason, hint=NEEDS_SECRET)
