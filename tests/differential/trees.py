"""Make comparable trees of rows: instances of a model, or JSON; rows without an order are sorted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from tests.differential.models import Member, Shape
from tests.fuzz.compare import seen

__all__ = ["from_instances", "from_json", "same"]


def from_instances(shape: Shape, rows: Sequence[Any]) -> list[Any]:
    """Make a tree of each instance, with the type of each value."""
    return [_tree(shape, row, getattr, _typed) for row in rows]


def from_json(shape: Shape, text: bytes) -> list[Any]:
    """Make a tree of each object of an array, with each value as it is written."""
    rows = json.loads(text, parse_float=lambda number: ("number", number), parse_int=lambda number: ("number", number))
    return [_tree(shape, row, _member, lambda value: value) for row in rows]


def _typed(value: Any) -> Any:
    try:
        return seen(value)
    except Exception:  # noqa: BLE001 - whatever a test stores
        return repr(value)


def _member(row: dict[str, Any], name: str) -> Any:
    return row[name]


def _tree(shape: Shape, row: Any, get: Callable[[Any, str], Any], leaf: Callable[[Any], Any]) -> Any:
    names = list(row) if isinstance(row, dict) else [member.name for member in shape.members]
    return names, [_branch(member, get(row, member.name), get, leaf) for member in shape.members]


def _branch(member: Member, value: Any, get: Callable[[Any, str], Any], leaf: Callable[[Any], Any]) -> Any:
    if member.shape is None:
        return leaf(value)
    if not member.many:
        return None if value is None else _tree(member.shape, value, get, leaf)
    rows = [(repr([leaf(get(row, name)) for name in member.order or ()]), row) for row in value]
    trees = [(key, _tree(member.shape, row, get, leaf)) for key, row in rows]
    if member.order is None:
        return sorted((tree for _, tree in trees), key=repr)
    if not member.order:
        return [tree for _, tree in trees]
    # Rows that are equal in their order may come in any.
    return [
        tree
        for _, group in groupby(trees, key=lambda pair: pair[0])
        for tree in sorted((tree for _, tree in group), key=repr)
    ]


def same(expected: list[Any], found: list[Any], keys: Callable[[], list[Any] | None]) -> bool:
    """Say whether two lists have the same rows in an order that the statement allows.

    Args:
        expected: What is right.
        found: What was fetched.
        keys: Returns for each expected row by what it is ordered; ``None`` if the rows have no order.
    """
    if expected == found:
        return True
    if sorted(map(repr, expected)) != sorted(map(repr, found)):
        return False
    known = keys()
    if known is None:
        return True
    start = 0
    for _, group in groupby(known, key=repr):
        end = start + len(list(group))
        if sorted(map(repr, expected[start:end])) != sorted(map(repr, found[start:end])):
            return False
        start = end
    return True
