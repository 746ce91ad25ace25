"""Plan which rows of a relationship are wanted, and what is computed of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import inspect
from sqlalchemy.orm import ColumnProperty, Mapper, RelationshipProperty
from sqlalchemy.sql.elements import _textual_label_reference
from sqlalchemy.sql.util import ClauseAdapter
from sqlalchemy.sql.visitors import replacement_traverse
from sqlalchemy.types import TypeEngine

from querywright.errors import ShapeError
from querywright.fetching.mapping.attributes import Attribute, Relation, attribute_of, clause_of
from querywright.fetching.mapping.cardinality import may_repeat
from querywright.fetching.mapping.identity import identity_of
from querywright.fetching.model.annotations import Wanted
from querywright.fetching.model.markers import (
    Aggregated,
    Avg,
    Count,
    Exists,
    First,
    Grouped,
    Latest,
    Max,
    Min,
    Selection,
    Sum,
)
from querywright.fetching.plan.nodes import Aggregate, Encoding, RelatedRows
from querywright.fetching.plan.scalars import built, scalar
from querywright.fetching.plan.types import encoding_of, unwrap_type

__all__ = ["aggregate", "rows_of"]

Build = Callable[[Any], Any]


def rows_of(
    marker: Selection | First | Latest | Grouped | Aggregated, relationship: RelationshipProperty[Any], path: str
) -> RelatedRows:
    """Plan the rows that a marker selects of a relationship.

    Raises:
        ShapeError: It names an attribute that the class does not have, or a limit that is none.
    """
    mapper, limit = relationship.mapper, getattr(marker, "limit", None)
    if limit is not None and limit < 1:
        raise ShapeError(path, f"its limit is {limit}.", hint="Write at least 1.")
    if isinstance(marker, (Latest, Grouped)) and not isinstance(marker.by, str):
        raise ShapeError(path, f"its by= is {marker.by!s}.", hint="Write the name of the attribute, as a text.")
    return RelatedRows(
        where=None if marker.where is None else _on_alias(marker.where, mapper, path),
        order_by=tuple(_on_alias(item, mapper, path) for item in _ordering(marker, mapper)),
        limit=limit,
        distinct=not isinstance(marker, _WITHOUT_REPETITION)
        and getattr(marker, "distinct", True)
        and may_repeat(relationship),
    )


# What these return is the same however often a row is related.
_WITHOUT_REPETITION = (First, Latest, Exists, Min, Max)


def _ordering(marker: Any, mapper: Mapper[Any]) -> list[Any]:
    keys = identity_of(mapper)
    if isinstance(marker, Latest):
        descending: list[Any] = [
            sa.desc(key) if isinstance(key, str) else _descending(key) for key in (marker.by, *keys)
        ]
        # NULL is no value, and PostgreSQL puts it before all others.
        return [_is_null(marker.by), *descending] if _may_be_null(mapper, marker.by) else descending
    given = getattr(marker, "order_by", ())
    order = list(given) if isinstance(given, (tuple, list)) else [given]
    # Equal rows are told apart by their keys, or the first would be any of them.
    return [*order, *keys] if order and isinstance(marker, First) else order


def _is_null(name: str) -> Build:
    return lambda alias: getattr(alias, name).is_(None)


def _may_be_null(mapper: Mapper[Any], name: str) -> bool:
    attribute = mapper.attrs.get(name)
    return not isinstance(attribute, ColumnProperty) or any(
        getattr(column, "nullable", True) for column in attribute.columns
    )


def _descending(build: Build) -> Build:
    return lambda alias: sa.desc(build(alias))


def _on_alias(given: Any, mapper: Mapper[Any], path: str) -> Build:
    """Make a function that writes an expression of the mapped class for an alias of it."""
    if isinstance(given, str):
        attribute_of(mapper, given, path)
        return lambda alias: getattr(alias, given)
    if isinstance(given, Callable):  # type: ignore[arg-type]
        built(given, mapper, path)
        return given  # type: ignore[no-any-return]
    given = clause_of(given)
    for element in sa.sql.visitors.iterate(given):
        if isinstance(element, _textual_label_reference):
            attribute_of(mapper, element.element, path)
    return lambda alias: adapted(given, alias)


def adapted(given: Any, alias: Any) -> Any:
    """Write an expression of a mapped class for an alias of it."""

    def name_to_column(element: Any, **_: Any) -> Any:
        return getattr(alias, element.element) if isinstance(element, _textual_label_reference) else None

    named = replacement_traverse(given, {}, name_to_column)
    return ClauseAdapter(inspect(alias).selectable).traverse(named)


def aggregate(marker: Aggregated, found: Relation, wanted: Wanted, path: str) -> Aggregate:
    """Plan a value that is computed of all rows of a relationship.

    Raises:
        ShapeError: It cannot be computed, or the field cannot hold it.
    """
    mapper = found.relationship.mapper
    if not found.relationship.uselist and not isinstance(marker, Exists):
        raise ShapeError(path, f"{found.where} leads to at most one row.", hint='Write Path("...") instead.')
    function = type(marker).__name__.lower()
    of = None if marker.of is None else _of(marker.of, mapper, path)
    result = _result(marker, of, path)
    value = scalar(Attribute(function, result, isinstance(marker, (Min, Max, Avg)), found.where), wanted, path)
    source = marker.of if not isinstance(marker, Exists) else None
    return Aggregate(found.name, function, source, rows_of(marker, found.relationship, path), value)


def _of(of: Any, mapper: Mapper[Any], path: str) -> Attribute:
    if not isinstance(of, str) and not callable(of):
        raise ShapeError(path, f"its of= is {of!s}.", hint="Write the attribute's name, or a function of the class.")
    return attribute_of(mapper, of, path) if isinstance(of, str) else built(of, mapper, path)


_ADDABLE = {Encoding.INTEGER, Encoding.FLOAT, Encoding.DECIMAL}


def _result(marker: Aggregated, of: Attribute | None, path: str) -> TypeEngine[Any]:
    if isinstance(marker, Count):
        return sa.BigInteger()
    if isinstance(marker, Exists):
        return sa.Boolean()
    name = type(marker).__name__
    if of is None:
        raise ShapeError(
            path, f"{name} has to know what of the rows.", hint=f'Write {name}("{marker.relationship}", of="...").'
        )
    encoding = encoding_of(unwrap_type(of.type))
    if isinstance(marker, (Sum, Avg)) and encoding not in _ADDABLE:
        raise ShapeError(path, f"{of.where} is not a number.")
    if isinstance(marker, Avg):
        return sa.Double()
    return sa.BigInteger() if isinstance(marker, Sum) and encoding is Encoding.INTEGER else of.type
