"""What tells the rows of a mapped class apart, and what a whole row has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Text, UniqueConstraint, inspect, type_coerce
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.util import ClauseAdapter
from sqlalchemy.types import NullType

__all__ = ["Discriminator", "identity_of", "key_names", "keys_of", "whole_row"]


def key_names(mapper: Mapper[Any]) -> list[str]:
    """Name the attributes of the primary key."""
    return [mapper.get_property_by_column(column).key for column in mapper.primary_key]


@dataclass(frozen=True)
class Discriminator:
    """Makes the expression of a mapped class, or of an alias of it, that tells the class of a row.

    Attributes:
        column: What the class is polymorphic on.
    """

    column: ColumnElement[Any]

    def __call__(self, entity: Any) -> ColumnElement[Any]:
        """Write it for a mapped class or an alias."""
        written: ColumnElement[Any] = ClauseAdapter(inspect(entity).selectable).traverse(self.column)
        # polymorphic_union() writes the names of classes as literals without a type.
        return type_coerce(written, Text()) if isinstance(written.type, NullType) else written


def identity_of(mapper: Mapper[Any]) -> list[str | Discriminator]:
    """List what tells rows apart: the primary key, and the class where each class of a hierarchy has its own keys."""
    names: list[str | Discriminator] = [*key_names(mapper)]
    classes = list(mapper.self_and_descendants)
    if mapper.polymorphic_on is None or len(classes) == 1 or not any(each.concrete for each in classes):
        return names
    return [*names, Discriminator(mapper.polymorphic_on)]


def whole_row(mapper: Mapper[Any]) -> list[str | Discriminator]:
    """List all that a row has: what tells it apart, and each column of its class."""
    # A concrete class lacks the discriminator that its mapper has.
    names = (each.key for each in mapper.column_attrs if hasattr(mapper.class_, each.key))
    return list(dict.fromkeys([*identity_of(mapper), *names]))


def keys_of(table: Any) -> list[set[Any]]:
    """List the sets of columns by which the rows of a table differ: its primary key and unique constraints."""
    constraints = getattr(table, "constraints", ())
    unique = [set(constraint.columns) for constraint in constraints if isinstance(constraint, UniqueConstraint)]
    return [key for key in (set(table.primary_key), *unique) if key]
