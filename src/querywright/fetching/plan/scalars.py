"""Plan one value: whether a field can hold what a column has, and whether SQL writes it as Pydantic does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import starmap
from typing import Any, Literal, get_origin

from sqlalchemy import ColumnElement, Enum
from sqlalchemy.orm import Mapper
from sqlalchemy.types import NullType

from querywright.errors import ShapeError
from querywright.fetching.mapping.attributes import Attribute, clause_of
from querywright.fetching.mapping.bounded import bounded
from querywright.fetching.model.annotations import Wanted, is_checked_time, is_shape, type_name
from querywright.fetching.model.markers import Expr
from querywright.fetching.plan.nodes import Aggregate, Embedded, Encoding, Groups, Node, Scalar, Source, ToMany, ToOne
from querywright.fetching.plan.types import (
    accepts,
    annotated_type,
    encoding_of,
    is_exact,
    is_native,
    members_of,
    unwrap_type,
)

__all__ = ["expression", "internal", "is_shown", "needs_conversion", "reason_of", "scalar"]


def scalar(found: Attribute, wanted: Wanted, path: str, source: Source | None = None) -> Scalar:
    """Plan a field that a column or an expression fills.

    Raises:
        ShapeError: The field cannot hold its values.
    """
    column_type = unwrap_type(found.type)
    if isinstance(column_type, NullType):
        column_type = annotated_type(wanted.type) or column_type
    encoding = encoding_of(column_type)
    if is_shape(wanted.type) and encoding not in {Encoding.JSON, Encoding.CUSTOM}:
        raise ShapeError(path, f"{found.where} is a column, the field wants {type_name(wanted.type)}.")
    if encoding is None:
        reason = f"{found.where} has the type {column_type!r}, which Querywright cannot read."
        raise ShapeError(path, reason, hint="Give it a type that SQLAlchemy knows, or a TypeDecorator around one.")
    # Whether an expression can be NULL is not known; if it is, the row is reported when it is fetched.
    if found.nullable and not wanted.nullable:
        hint = f"Write {type_name(wanted.type)} | None, or make the column NOT NULL."
        raise ShapeError(path, f"{found.where} may be NULL, the field may not.", hint=hint)
    # Whoever looks at the value before Pydantic does may make anything of it.
    allowed = () if wanted.before else accepts(encoding, column_type, wanted.type)
    if allowed:
        hint = f"Annotate it as {' or '.join(map(type_name, allowed))}."
        reason = f"{found.where} holds {_article(encoding.value)}, the field wants {type_name(wanted.type)}."
        raise ShapeError(path, reason, hint=hint)
    return Scalar(source or found.name, encoding, column_type, wanted.nullable, path)


def internal(found: Attribute, path: str) -> Scalar:
    """Plan a value that no model sees, such as a part of a key or of a cursor."""
    return scalar(found, Wanted(Any, nullable=True), path)


def expression(marker: Expr, mapper: Mapper[Any], wanted: Wanted, path: str) -> Scalar:
    """Plan a field that an SQL expression fills.

    Raises:
        ShapeError: The function does not make one, or the field cannot hold its values.
    """
    return scalar(built(marker.build, mapper, path), wanted, path, marker.build)


def built(build: Any, mapper: Mapper[Any], path: str) -> Attribute:
    """Learn the type of what a function makes of a mapped class.

    Raises:
        ShapeError: It fails, or makes no SQL expression.
    """
    name = mapper.class_.__name__
    if not callable(build):
        hint = "Write a function of it, such as lambda row: ..."
        raise ShapeError(path, f"its expression of {name} is made already: {build!s}.", hint=hint)
    try:
        made = bounded(lambda: build(mapper.class_))
    except Exception as error:
        raise ShapeError(path, f"its expression of {name} fails: {type(error).__name__}: {error}.") from error
    element = clause_of(made)
    if hasattr(element, "scalar_subquery"):
        element = element.scalar_subquery()
    if not isinstance(element, ColumnElement):
        raise ShapeError(path, f"its function makes {type_name(type(made))} of {name}, no SQL expression.")
    return Attribute("", element.type, nullable=False, where=f"The expression of {name}")


def reason_of(node: Node, wanted: Wanted) -> str:
    """Return why SQL cannot write a field as Pydantic does; empty if it can."""
    if wanted.reason:
        return wanted.reason
    if isinstance(node, Scalar):
        exact = is_exact(node.encoding, node.type, wanted.type)
        return "" if exact else f"Pydantic has to make {type_name(wanted.type)} of {_article(node.encoding.value)}"
    if isinstance(node, ToMany) and wanted.unordered:
        return "Pydantic gives a set an order of its own"
    return next(starmap(reason_of, _parts(node, wanted)), "")


# Values that are written as they are stored, but for their form.
_AS_STORED = frozenset(
    {
        *(Encoding.INTEGER, Encoding.TEXT, Encoding.BOOLEAN, Encoding.FLOAT, Encoding.DECIMAL, Encoding.UUID),
        *(Encoding.TIMESTAMP, Encoding.UTC_TIMESTAMP, Encoding.DATE, Encoding.TIME),
    }
)
_MOMENTS = frozenset({Encoding.TIMESTAMP, Encoding.UTC_TIMESTAMP, Encoding.DATE})


def is_shown(node: Node, wanted: Wanted) -> bool:
    """Return whether a field shows the very value of a column, or for an embedded object, whether its fields may."""
    if wanted.altered or isinstance(node, Embedded):
        return not wanted.altered
    if not isinstance(node, Scalar):
        return False
    if isinstance(node.type, Enum) and node.type.enum_class is not None:
        # What is stored of a member is its name, as a rule, and what is shown its value.
        stored = node.encoding is Encoding.ENUM and all(name == value for name, value in members_of(node.type))
        return stored and is_exact(node.encoding, node.type, wanted.type)
    if node.encoding not in _AS_STORED:
        return False
    kept = wanted.type is Any or get_origin(wanted.type) is Literal
    kept = kept or (node.encoding in _MOMENTS and is_checked_time(wanted.type))
    return kept or is_exact(node.encoding, node.type, wanted.type)


def needs_conversion(node: Node, wanted: Wanted, *, before: bool = False) -> bool:
    """Return whether a field's values have to become those of Python before the model validates them.

    Args:
        node: What fills the field.
        wanted: What the field accepts.
        before: Whether what it lies in looks at raw values.
    """
    before = before or wanted.before
    if isinstance(node, Scalar):
        return not is_native(node.encoding, node.type, None if before else wanted.type)
    return any(needs_conversion(part, accepted, before=before) for part, accepted in _parts(node, wanted))


def _parts(node: Node, wanted: Wanted) -> list[tuple[Node, Wanted]]:
    """Pair what is inside a node with what accepts it; models inside speak for themselves."""
    accepted = _ACCEPTED.get(type(node))
    return [] if accepted is None else [(part, accepted(node, wanted)) for part in node.inner]


def _accepted_by_group(node: Groups, wanted: Wanted) -> Wanted:
    values = wanted.values or wanted
    return values if node.single else values.element or values


# What accepts that which is inside a node, by the kind of the node.
_ACCEPTED: dict[type, Callable[[Any, Wanted], Wanted]] = {
    Aggregate: lambda _, wanted: wanted,
    ToOne: lambda _, wanted: wanted,
    ToMany: lambda _, wanted: wanted.element or wanted,
    Groups: _accepted_by_group,
}


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"
