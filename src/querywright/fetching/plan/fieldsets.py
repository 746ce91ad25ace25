"""Narrow a plan to the fields that a client names: ``id,name,posts.title``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from querywright.errors import ShapeError, UnknownFields
from querywright.fetching.plan.nodes import Field, Node, Plan

__all__ = ["Fields", "Fieldset", "Tree", "fieldset", "in_one_text"]

# As a query string has them: in one text, or in one for each time that the parameter was sent.
Fields = str | Iterable[str]
Tree = dict[str, "Tree"]


@dataclass(frozen=True)
class Fieldset:
    """Some fields of a plan.

    Attributes:
        paths: Those fields and what is inside them, by path; what SQL writes.
        tree: Their keys, each with those inside it; a field without any has all that is in it.
    """

    paths: frozenset[str]
    tree: Tree


def in_one_text(fields: Fields | None) -> str | None:
    """Join what a client has sent; ``None`` if it names nothing, as the empty field of a form.

    Raises:
        ShapeError: It is neither a text nor several.

    Example:
        >>> in_one_text(["id,name", "posts.title"]), in_one_text("")
        ('id,name,posts.title', None)
    """
    if fields is None:
        return None
    given: Any = fields
    is_one = isinstance(given, str) or not isinstance(given, Iterable)
    several: list[Any] = [given] if is_one else list(given)
    if wrong := [each for each in several if not isinstance(each, str)]:
        reason = f"expected a text, or a list of texts, got {type(wrong[0])}."
        raise ShapeError("fields", reason, hint='Write "id,name", or ["id", "name"].')
    joined = ",".join(several)
    return joined if joined.strip(", ") else None


@lru_cache(maxsize=256)
def fieldset(plan: Plan, fields: str) -> Fieldset:
    """Read the names of fields, as a client writes them in a query string.

    Args:
        plan: The plan of the response model.
        fields: The fields' keys, with commas between them and dots between levels; a field with nothing behind it
            has all that is in it.

    Raises:
        UnknownFields: There is no such field.
    """
    tree: Tree = {}
    for name in filter(None, (part.strip() for part in fields.split(","))):
        inner = tree
        for step in name.split("."):
            inner = inner.setdefault(step, {})
    unknown = tuple(_unknown(plan.root, tree, ""))
    if unknown:
        raise UnknownFields(unknown, tuple(_names(plan.root, "")))
    return Fieldset(frozenset(_paths(plan.root, tree)), tree)


def _fields(node: Node) -> Iterator[Field]:
    return (field for shape in node.shapes for field in shape.fields if not field.excluded)


def _unknown(node: Node, tree: Tree, prefix: str) -> Iterator[str]:
    for name, inner in tree.items():
        found = [field for field in _fields(node) if field.key == name]
        if not found:
            yield prefix + name
        elif inner:
            missing = [set(_unknown(field.value, inner, f"{prefix}{name}.")) for field in found]
            yield from sorted(set.intersection(*missing))


def _names(node: Node, prefix: str) -> Iterator[str]:
    for name in dict.fromkeys(field.key for field in _fields(node)):
        yield prefix + name
        for field in _fields(node):
            if field.key == name and field.value.shapes:
                yield from _names(field.value, f"{prefix}{name}.")


def _paths(node: Node, tree: Tree) -> Iterator[str]:
    for field in _fields(node):
        if not tree or field.key in tree:
            yield field.path
            yield from _paths(field.value, tree.get(field.key, {}))
