"""Find what a name means on a mapped class: a column, an expression, a relationship, a composite, or a path of them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from inspect import getattr_static
from types import FunctionType
from typing import Any

from sqlalchemy import ColumnElement, MetaData
from sqlalchemy.ext.associationproxy import AssociationProxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    ColumnProperty,
    CompositeProperty,
    Mapper,
    QueryableAttribute,
    RelationshipProperty,
    SynonymProperty,
    registry,
)
from sqlalchemy.types import TypeEngine

from querywright.errors import ShapeError
from querywright.fetching.mapping.bounded import EndlessExpression, bounded

__all__ = [
    "Attribute", "Composite", "Relation", "Steps", "attribute_of", "clause_of", "find", "has_value",

]  # fmt: skip


@dataclass(frozen=True)
class Attribute:
    """A column or an SQL expression of the row.

    Attributes:
        name: The attribute.
        type: Its type.
        nullable: Whether it may be NULL; of an expression that is not known, so it counts as not.
        where: The attribute as a user would write it.
    """

    name: str
    type: TypeEngine[Any]
    nullable: bool
    where: str


@dataclass(frozen=True)
class Relation:
    """A relationship."""

    name: str
    relationship: RelationshipProperty[Any]
    where: str


@dataclass(frozen=True)
class Composite:
    """A composite: a class of the user's, made of some columns."""

    name: str
    composite: CompositeProperty[Any]
    where: str


@dataclass(frozen=True)
class Steps:
    """A path of attributes that stands for an attribute, as an association proxy does."""

    path: str
    where: str


def find(mapper: Mapper[Any], name: str, path: str) -> Attribute | Relation | Composite | Steps:
    """Find what fills a field.

    Raises:
        ShapeError: The class has no such attribute, or none that SQL knows.
    """
    where = f"{mapper.class_.__name__}.{name}"
    attribute = mapper.attrs.get(name)
    # The discriminator of a polymorphic union may have a property, but no attribute.
    if attribute is not None and not hasattr(mapper.class_, name):
        raise _no_such_attribute(name, mapper, path)
    if attribute is not None:
        _refuse_python(mapper, name, path)
    if isinstance(attribute, ColumnProperty):
        column = attribute.columns[0]
        return Attribute(name, column.type, bool(getattr(column, "nullable", False)), where)
    if isinstance(attribute, RelationshipProperty):
        return Relation(name, attribute, where)
    if isinstance(attribute, SynonymProperty):
        return find(mapper, attribute.name, path)
    if isinstance(attribute, CompositeProperty):
        return Composite(name, attribute, where)
    descriptor: Any = mapper.all_orm_descriptors.get(name)
    if isinstance(descriptor, (AssociationProxy, hybrid_property)):
        _refuse_overridden(mapper, name, path)
    if isinstance(descriptor, AssociationProxy):
        return Steps(f"{descriptor.target_collection}.{descriptor.value_attr}", where)
    if isinstance(descriptor, hybrid_property):
        return _hybrid(mapper, name, path, where)
    raise _no_such_attribute(name, mapper, path)


def has_value(mapper: Mapper[Any], name: str) -> bool:
    """Return whether an object of a mapped class, or of one below it, has something of this name that is a value."""
    found = (getattr_static(below.class_, name, _NOTHING) for below in mapper.self_and_descendants)
    return not all(isinstance(each, _NO_VALUES) for each in found)


class _Nothing:
    """Stands for an attribute that a class does not have."""


_NOTHING = _Nothing()
# Declarative classes have what is no value: their metadata, their registry, methods.
_NO_VALUES = (_Nothing, MetaData, registry, FunctionType, classmethod, staticmethod)


def clause_of(given: Any) -> Any:
    """Ask an attribute of a class for its expression; anything else is one."""
    return given.__clause_element__() if hasattr(given, "__clause_element__") else given


def attribute_of(mapper: Mapper[Any], name: str, path: str) -> Attribute:
    """Find a column or expression.

    Raises:
        ShapeError: The name means something else.
    """
    found = find(mapper, name, path)
    if not isinstance(found, Attribute):
        raise ShapeError(path, f"{found.where} is not a column.")
    return found


def may_be_none(found: Composite, path: str) -> bool:
    """Return whether a composite is ``None`` where all its columns are NULL.

    Raises:
        ShapeError: It is ``None`` by a rule that only Python knows.
    """
    # Of SQLAlchemy 2.1: what the annotation `Mapped[Point | None]` makes by itself, or a function of the user's.
    rule: Any = getattr(found.composite, "return_none_on", None)
    if not callable(rule):
        return False
    properties = found.composite.props
    nothing: list[Any] = [None] * len(properties)
    partly = [[*nothing[:n], object(), *nothing[n + 1 :]] for n in range(len(nothing))]
    try:
        known = rule(*nothing) and not any(rule(*values) for values in partly)
    except Exception:  # noqa: BLE001 - whatever it makes of an object that it does not know
        known = False
    if not known:
        reason = f"{found.where} is None by a rule of its own, return_none_on, which SQL does not know."
        raise ShapeError(path, reason, hint="Show its columns instead.")
    return all(getattr(prop.columns[0], "nullable", True) for prop in properties)


_HINT = "Mark the field with Expr(), or make it a computed field of the model."


def _refuse_python(mapper: Mapper[Any], name: str, path: str) -> None:
    """Refuse an attribute that an object reads otherwise than its column, in this class or in one below.

    Raises:
        ShapeError: Python code, of which SQL knows nothing, stands before it.
    """
    for below in mapper.self_and_descendants:
        where = f"{below.class_.__name__}.{name}"
        descriptor = getattr(below.attrs.get(name), "descriptor", None)
        own = getattr_static(below.class_, name, None)
        if not isinstance(own, QueryableAttribute) or not _is_of_sqlalchemy(descriptor):
            raise ShapeError(path, f"{where} is read through Python, which SQL does not know.", hint=_HINT)
        if any("__getattribute__" in vars(base) for base in below.class_.__mro__ if base is not object):
            reason = f"{below.class_.__name__} reads all attributes through a __getattribute__ of its own."
            raise ShapeError(path, reason, hint="SQL knows nothing of it: fetch from a class without one.")


def _is_of_sqlalchemy(descriptor: Any) -> bool:
    """Return whether a synonym reads what it stands for, and not what a descriptor of the user's makes of it."""
    getter: Any = getattr(descriptor, "fget", None) or type(descriptor)
    return descriptor is None or getter.__module__.startswith("sqlalchemy.")


def _refuse_overridden(mapper: Mapper[Any], name: str, path: str) -> None:
    """Refuse a hybrid or a proxy that a class below replaces by one of its own.

    Raises:
        ShapeError: One does.
    """
    own = getattr_static(mapper.class_, name)
    for below in mapper.self_and_descendants:
        if getattr_static(below.class_, name) is not own:
            reason = f"{below.class_.__name__} replaces {mapper.class_.__name__}.{name} by one of its own."
            raise ShapeError(
                path, reason, hint="Fetch each class with a model of its own, or mark the field with Expr()."
            )


def _hybrid(mapper: Mapper[Any], name: str, path: str, where: str) -> Attribute:
    def make() -> Any:
        expression = getattr(mapper.class_, name)
        return getattr(expression, "expression", expression)

    try:
        element = bounded(make)
    except EndlessExpression as error:
        raise ShapeError(path, f"{where} is a hybrid, and {error}.", hint="Give it an expression.") from error
    except Exception as error:
        reason = f"{where} is a hybrid that fails on the class itself: {type(error).__name__}."
        raise ShapeError(path, reason, hint="Give it an expression.") from error
    if not isinstance(element, ColumnElement):
        raise ShapeError(path, f"{where} is a hybrid without an SQL expression.", hint="Give it an expression.")
    return Attribute(name, element.type, nullable=False, where=where)


def _no_such_attribute(name: str, mapper: Mapper[Any], path: str) -> ShapeError:
    owner = mapper.class_.__name__
    if hasattr(mapper.class_, name):
        return ShapeError(path, f"{owner}.{name} is neither a column nor a relationship.", hint=_HINT)
    names = sorted(found.key for found in mapper.attrs if hasattr(mapper.class_, found.key))
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(names)}."
    return ShapeError(path, f"{owner} has no attribute {name!r}.", hint=hint)
