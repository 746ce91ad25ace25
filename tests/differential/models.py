"""Invent the response model of a mapped class: all that it has, and two levels of what is related to it."""

from __future__ import annotations

import dataclasses
import keyword
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model
from sqlalchemy import TypeDecorator
from sqlalchemy.orm import ColumnProperty, CompositeProperty, Mapper, RelationshipProperty, SynonymProperty
from sqlalchemy.orm.descriptor_props import ConcreteInheritedProperty
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.types import NullType

from querywright import Path

__all__ = ["EXACT", "LOOSE", "NULLABLE", "Member", "Shape", "shape_of"]

# How much the model asks of the values: what the types promise, that or NULL, nothing.
EXACT, NULLABLE, LOOSE = range(3)

# Of these an ORM object shows no rows, or raises.
_NOT_LOADED = {"noload", "raise", "raise_on_sql", "dynamic", "write_only"}


@dataclass(frozen=True)
class Member:
    """A field of an invented model.

    Attributes:
        name: The field.
        shape: Of a relationship, what its rows look like.
        many: Whether it is a list.
        order: Of a list, the fields that it is ordered by; ``None`` if its rows have no order, empty if it is ordered
            by what the model does not show.
    """

    name: str
    shape: Shape | None = None
    many: bool = False
    order: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Shape:
    """An invented model, and what has to be known to compare two instances of it."""

    model: type[BaseModel]
    members: tuple[Member, ...]


@cache
def shape_of(mapper: Mapper[Any], demands: int, widths: tuple[int, ...], turn: int) -> Shape | None:
    """Invent a model; ``None`` if the class has nothing to show.

    Args:
        mapper: The class.
        demands: How much it asks of the values.
        widths: How many relationships are followed on each level.
        turn: Which of them, where there are more.
    """
    fields: dict[str, Any] = {}
    members: list[Member] = []
    for key, annotation in _columns(mapper, demands):
        name, metadata = _named(key)
        members.append(Member(name))
        fields[name] = (Annotated[(annotation, *metadata)] if metadata else annotation, ...)
    for composite in mapper.composites:
        inner = _inside(composite, demands)
        if inner is not None:
            members.append(Member(composite.key, inner))
            fields[composite.key] = (inner.model | None, ...)
    if widths:
        for relationship in _relationships(mapper, turn)[: widths[0]]:
            inner = shape_of(relationship.mapper, demands, widths[1:], turn)
            if inner is None:
                continue
            name, metadata = _named(relationship.key)
            many = bool(relationship.uselist)
            order = _order(relationship, inner) if many else None
            members.append(Member(name, inner, many, order))
            annotation = list[inner.model] if many else inner.model | None  # type: ignore[name-defined]
            fields[name] = (Annotated[(annotation, *metadata)] if metadata else annotation, ...)
    if not fields:
        return None
    model = create_model(f"{mapper.class_.__name__}Out", __base__=_Out, **fields)
    return Shape(model, tuple(members))


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True, arbitrary_types_allowed=True, protected_namespaces=())


def _named(key: str) -> tuple[str, tuple[Any, ...]]:
    """Name the field of an attribute; one that Pydantic allows no field of its name has a path."""
    if key.isidentifier() and not keyword.iskeyword(key) and not key.startswith("_") and not hasattr(BaseModel, key):
        return key, ()
    return f"f_{key}", (Path(key), Field(validation_alias=key))


def _columns(mapper: Mapper[Any], demands: int) -> Iterator[tuple[str, Any]]:
    for attribute in mapper.attrs:
        target = mapper.attrs.get(attribute.name) if isinstance(attribute, SynonymProperty) else attribute
        if not isinstance(target, ColumnProperty) or target.raiseload:
            continue
        # A dot means a path to fetch.
        if "." not in attribute.key and _is_everywhere(mapper, attribute.key):
            yield attribute.key, _annotation(target.columns[0], demands)


def _is_everywhere(mapper: Mapper[Any], key: str) -> bool:
    """Say whether each row of a class has an attribute.

    The discriminator of a polymorphic union may be a property without one, and a concrete subclass need not have those
    of its base.
    """
    if key not in mapper.class_manager:
        return False
    concrete = (sub for sub in mapper.self_and_descendants if sub is not mapper)
    return not any(isinstance(sub.attrs.get(key), ConcreteInheritedProperty) for sub in concrete)


def _inside(composite: CompositeProperty[Any], demands: int) -> Shape | None:
    """Invent a model of what a composite holds; of a class that is no dataclass nobody knows the attributes."""
    cls = composite.composite_class
    name, metadata = _named(composite.key)
    if not dataclasses.is_dataclass(cls) or metadata:
        return None
    names = [field.name for field in dataclasses.fields(cls)]
    # All of them may be NULL where the ORM makes an object of nothing.
    annotations = (_annotation(prop.columns[0], max(demands, NULLABLE)) for prop in composite.props)
    fields: dict[str, Any] = {field: (annotation, ...) for field, annotation in zip(names, annotations, strict=False)}
    return Shape(create_model(f"{name}Out", __base__=_Out, **fields), tuple(map(Member, fields)))


def _annotation(column: Any, demands: int) -> Any:
    kind = _python_type(column.type)
    if demands == LOOSE or kind is Any:
        return Any
    return kind if demands == EXACT and not getattr(column, "nullable", True) else kind | None


def _python_type(column_type: Any) -> Any:
    if isinstance(column_type, TypeDecorator):
        return Any
    # Nobody but the author of the model knows what an expression without a type holds; mostly it is text.
    if isinstance(column_type, NullType):
        return str
    try:
        kind = column_type.python_type
    except NotImplementedError:
        return Any
    return kind if isinstance(kind, type) and kind not in {list, dict, object} else Any


def _relationships(mapper: Mapper[Any], turn: int) -> list[RelationshipProperty[Any]]:
    loaded = (found for found in mapper.relationships if found.lazy not in _NOT_LOADED and _is_plain(found))
    every = [found for found in loaded if _is_everywhere(mapper, found.key)]
    start = turn % len(every) if every else 0
    return every[start:] + every[:start]


def _is_plain(relationship: RelationshipProperty[Any]) -> bool:
    """Say whether Pydantic can read a list of its collection."""
    if not relationship.uselist:
        return True
    factory: Callable[[], Any] = relationship.collection_class or list
    try:
        return isinstance(factory(), (list, set))
    except Exception:  # noqa: BLE001 - whatever a test wrote
        return False


def _order(relationship: RelationshipProperty[Any], inner: Shape) -> tuple[str, ...] | None:
    if not relationship.order_by:
        return None
    names: list[str] = []
    known = {member.name for member in inner.members}
    for clause in relationship.order_by:
        column: Any = clause
        while isinstance(column, UnaryExpression) and column.modifier is not None:
            column = column.element
        attribute = relationship.mapper._columntoproperty.get(column)
        if attribute is None or attribute.key not in known:
            return ()
        names.append(attribute.key)
    return tuple(names)
