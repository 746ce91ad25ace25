"""Read validation aliases as Pydantic does: which attribute of an object they mean, and which fields share a key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Protocol

from sqlalchemy.orm import Mapper

from querywright.errors import ShapeError
from querywright.fetching.mapping.attributes import Attribute, Composite, Relation, Steps, attribute_of, find, has_value
from querywright.fetching.model.markers import Expr, Marker, Path
from querywright.fetching.model.outlines import Key
from querywright.fetching.model.targets import Target
from querywright.fetching.plan.nodes import Field, Node, Scalar

__all__ = ["Owner", "Parts", "Row", "name_read", "names_all", "require_apart"]


class Owner(Protocol):
    """What a model is made of."""

    def has(self, name: str) -> bool:
        """Return whether there is a value of this name."""
        ...

    def find(self, name: str, path: str) -> Attribute | Relation | Composite | Steps:
        """Find what the name means.

        Raises:
            ShapeError: Nothing that SQL knows.
        """
        ...


@dataclass(frozen=True)
class Row:
    """A row of a mapped class."""

    mapper: Mapper[Any]

    def has(self, name: str) -> bool:
        """Return whether an object of the class, or of one below it, has a value of this name."""
        return has_value(self.mapper, name)

    def find(self, name: str, path: str) -> Attribute | Relation | Composite | Steps:
        """Find an attribute of the class."""
        return find(self.mapper, name, path)


@dataclass(frozen=True)
class Parts:
    """A composite of a row.

    Attributes:
        composite: It.
        mapper: The row's class.
        columns: The attribute of the row that fills each of its own.
    """

    composite: Composite
    mapper: Mapper[Any]
    columns: Mapping[str, str]

    def has(self, name: str) -> bool:
        """Return whether an object of the composite's class has a value of this name."""
        return name in self.columns or hasattr(self.composite.composite.composite_class, name)

    def find(self, name: str, path: str) -> Attribute:
        """Find the column that fills an attribute of the composite."""
        if name not in self.columns:
            hint = f"It has {', '.join(self.columns)}."
            raise ShapeError(path, f"{self.composite.where} has no {name!r}.", hint=hint)
        return attribute_of(self.mapper, self.columns[name], path)


def names_all(marker: Marker | None) -> bool:
    """Return whether a marker names all that fills a field, so that names of the field's own mean nothing."""
    return isinstance(marker, (Path, Expr)) or getattr(marker, "relationship", None) is not None


def name_read(name: str, key: Key, owner: Owner, path: str) -> str:
    """Choose what Pydantic reads of an object: the first alias of which it has a value, then the field's name.

    Raises:
        ShapeError: That alias is a path.
    """
    for first, *rest in key.aliases:
        if isinstance(first, str) and owner.has(first):
            if rest:
                reason = f"its validation alias is a path that begins with {first!r}, and there is such an attribute."
                raise ShapeError(path, reason, hint='Mark the field with Path("..."), which says what fills it.')
            return first
    return name


def require_apart(fields: Iterable[Field], target: Target) -> None:
    """Refuse fields that a model would fill with the value of another one.

    Raises:
        ShapeError: Two are read from one key, and do not have the same value.
    """
    of_key: dict[Any, Field] = {}
    for field in fields:
        of_key.setdefault(field.input_key, field)
    for field in fields:
        for key in _sought(target.fields[field.name].key, field.input_key):
            other = of_key.get(key, field)
            if not _same(other.value, field.value):
                reason = f"its model takes it from the key {key!r}, which is that of {other.name!r} as well."
                hint = 'Give it a serialization_alias, and say what fills it with Path("...").'
                raise ShapeError(field.path, reason, hint=hint)


def _sought(key: Key, chosen: str) -> list[Any]:
    """List the keys that a model looks into until it finds the one that was chosen."""
    return [path[0] for path in takewhile(lambda path: path != (chosen,), key.aliases)] + [chosen]


def _same(one: Node, other: Node) -> bool:
    if one is other:
        return True
    return isinstance(one, Scalar) and isinstance(other, Scalar) and replace(one, path="") == replace(other, path="")
