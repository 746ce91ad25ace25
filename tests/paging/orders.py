"""Invent what rows are ordered by: columns of all types, functions, expressions, labels and names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy import func, inspect, literal, select
from sqlalchemy.sql import operators

from querywright.fetching.compile.related import identity_columns
from tests.paging.tables import Part, Sample

TEXTS = {"text", "text_or_none", "short", "name", "region", "note", "word"}
INTEGERS = {"number", "number_or_none", "small", "rank", "amount", "grade", "weight", "lines", "id"}
NUMBERS = {"price", "price_or_none", "ratio", "ratio_or_none", "cost"}
COLLATIONS = {
    "sqlite": ("NOCASE", "RTRIM"),
    "postgresql": ("C", "POSIX"),
    "mariadb": ("utf8mb4_bin", "utf8mb4_general_ci"),
}
# What needs a row's values as the server has them, and no column's type would give.
STORED = {"filled", "created_at", "updated_at", "clock", "local", "moment_or_none", "price", "price_or_none"}


@dataclass
class Scope:
    """What a statement selects from, while it is invented.

    Attributes:
        root: The class that it selects, or an alias of it.
        database: The database it is for.
        entities: Everything that it selects from, and whether an outer join makes it optional.
        tags: What is special about the statement.
        grouped: Whether its rows are groups of joined ones.
        own: Whether it can be ordered by columns of the root alone.
        on: What DISTINCT ON names.
    """

    root: Any
    database: str
    entities: list[tuple[Any, bool]] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    grouped: bool = False
    own: bool = False
    on: list[Any] = field(default_factory=list)


def names_of(entity: Any) -> list[str]:
    """Name the columns of a class."""
    # The mapper of a concrete class has a discriminator that the class has not.
    return [each.key for each in inspect(entity).mapper.column_attrs if hasattr(entity, each.key)]


def keys_of(scope: Scope) -> list[Any]:
    """List the primary keys of all that a statement selects from."""
    return [getattr(entity, key.key) for entity, _ in scope.entities for key in inspect(entity).mapper.primary_key]


@st.composite
def orders(draw: st.DrawFn, scope: Scope, least: int = 0) -> list[Any]:
    """Draw an ORDER BY."""
    return [draw(_clause(scope)) for _ in range(draw(st.integers(least, 3)))]


@st.composite
def _clause(draw: st.DrawFn, scope: Scope) -> Any:
    expression = draw(_expression(scope))
    direction = draw(st.sampled_from(["", "asc", "desc", "desc"]))
    if isinstance(expression, str):
        return sa.desc(expression) if direction == "desc" else expression
    ordered = getattr(expression, direction)() if direction else expression
    nulls = draw(st.sampled_from(["", "", "nulls_first", "nulls_last"]))
    if nulls and direction and scope.database != "mariadb":
        scope.tags.add("nulls first or last")
        return getattr(ordered, nulls)()
    return ordered


_KINDS = (
    *["column"] * 3, "stored", "function", "collation", "arithmetic", "numeric", "label", *["name"] * 4, "window",
    *["subquery"] * 4,
)  # fmt: skip


@st.composite
def _expression(draw: st.DrawFn, scope: Scope) -> Any:
    if scope.grouped and draw(st.integers(0, 2)):
        return draw(_aggregate(scope))
    entities = scope.entities[:1] if scope.own or scope.grouped else scope.entities
    kind = draw(st.sampled_from(_KINDS))
    fitting = [(entity, optional, sorted(_NAMES.get(kind, _all)(entity))) for entity, optional in entities]
    entity, optional, names = draw(st.sampled_from([each for each in fitting if each[2]] or [(*entities[0], ["id"])]))
    name = draw(st.sampled_from([name for name in names if hasattr(entity, name)] or names_of(entity)))
    column = getattr(entity, name)
    if kind == "name" and len(scope.entities) == 1 and inspect(entity).mapper.polymorphic_on is None:
        scope.tags.add("(j) name")
        return name
    made = draw(_MADE[kind](scope, name, column)) if kind in _MADE else None
    if made is not None:
        return made
    if optional and not getattr(column.property.columns[0], "nullable", True):
        scope.tags.add("(b) not null, optional")
    if name in STORED:
        scope.tags.add("(a) stored value")
    return column


def _all(entity: Any) -> set[str]:
    return set(names_of(entity))


def _among(names: set[str]) -> Callable[[Any], set[str]]:
    return lambda entity: _all(entity) & names


_NAMES = {
    "stored": _among(STORED),
    "function": _among(TEXTS | INTEGERS | NUMBERS),
    "label": _among(TEXTS | INTEGERS | NUMBERS),
    "collation": _among(TEXTS),
    "numeric": _among(INTEGERS | NUMBERS),
}


@st.composite
def _function(draw: st.DrawFn, scope: Scope, name: str, column: Any) -> Any:
    choices: list[Callable[[], Any]] = []
    if name in TEXTS:
        choices += [
            lambda: func.lower(column),
            lambda: func.length(column),
            lambda: func.substr(column, 1, 1),
            lambda: func.coalesce(column, "m"),
        ]
    if name in INTEGERS | NUMBERS:
        choices += [lambda: func.abs(sa.cast(column, sa.BigInteger) if name in INTEGERS else column)]
        choices += [lambda: func.coalesce(column, 0), lambda: func.nullif(column, 1)]
    if not choices:
        return None
    scope.tags.add("(j) function")
    return draw(st.sampled_from(choices))()


@st.composite
def _collation(draw: st.DrawFn, scope: Scope, name: str, column: Any) -> Any:
    if name not in TEXTS:
        return None
    scope.tags.add("collation")
    return sa.collate(column, draw(st.sampled_from(COLLATIONS[scope.database])))


@st.composite
def _numeric(draw: st.DrawFn, scope: Scope, name: str, column: Any) -> Any:
    choices: list[Callable[[], Any]] = []
    if name in INTEGERS:
        choices += [lambda: column / 3, lambda: sa.cast(column, sa.Numeric(20, 3))]
    if name.startswith(("price", "cost")):
        choices += [lambda: column * sa.literal_column("1.1"), lambda: column / 3, lambda: -column]
    if not choices:
        return None
    scope.tags.add("(a) numeric expression")
    return draw(st.sampled_from(choices))()


@st.composite
def _arithmetic(draw: st.DrawFn, scope: Scope, name: str, column: Any) -> Any:
    choices: list[Callable[[], Any]] = [lambda: sa.case((column.is_(None), 0), else_=1)]
    if name in TEXTS:
        choices += [lambda: column + "x", lambda: literal("x").concat(column)]
    if name in INTEGERS:
        wide = sa.cast(column, sa.BigInteger)
        choices += [lambda: wide * -1, lambda: wide % 2]
    scope.tags.add("expression")
    return draw(st.sampled_from(choices))()


@st.composite
def _labelled(draw: st.DrawFn, scope: Scope, name: str, column: Any) -> Any:
    made = draw(_function(scope, name, column))
    scope.tags.add("(j) label")
    return (column if made is None else made).label("named")


@st.composite
def _window(draw: st.DrawFn, scope: Scope, name: str, column: Any) -> Any:
    if scope.own or scope.grouped:
        return None
    scope.tags.add("(j) row_number")
    del name
    if draw(st.booleans()):
        # Of rows that are equal in a window's order the database numbers any first.
        keys = [key for entity, _ in scope.entities for key in identity_columns(entity)]
        return func.row_number().over(order_by=[column, *keys])
    return func.count().over(partition_by=column)


@st.composite
def _subquery(draw: st.DrawFn, scope: Scope, name: str, column: Any) -> Any:
    del name, column
    if inspect(scope.root).mapper.class_ is not Sample or scope.grouped:
        return None
    other = sa.orm.aliased(Part)
    counted = draw(st.sampled_from([func.count(), func.max(other.name), func.sum(other.amount)]))
    scope.tags.add("subquery")
    return select(counted).where(other.sample_id == scope.root.id).scalar_subquery()


@st.composite
def _aggregate(draw: st.DrawFn, scope: Scope) -> Any:
    entity, _ = draw(st.sampled_from(scope.entities[1:]))
    wanted = draw(st.sampled_from([INTEGERS, INTEGERS - {"id"}, {"cost"}, TEXTS | INTEGERS | NUMBERS]))
    names = sorted(_all(entity) & wanted) or sorted(_all(entity) & (TEXTS | INTEGERS))
    name = draw(st.sampled_from(names))
    column = getattr(entity, name)
    choices = [func.count(), func.count(column.distinct()), func.min(column), func.max(column)]
    if name in INTEGERS:
        choices += [func.sum(column)] * 12 + [func.avg(column)]
    if name == "cost":
        choices += [func.sum(column), func.avg(column), func.sum(column * sa.literal_column("1.1"))]
    made = draw(st.sampled_from(choices))
    scope.tags.add("(c) sum of integers" if made.name == "sum" and name in INTEGERS else "aggregate")
    return made


_MADE: dict[str, Callable[[Scope, str, Any], st.SearchStrategy[Any]]] = {
    "function": _function,
    "collation": _collation,
    "arithmetic": _arithmetic,
    "numeric": _numeric,
    "label": _labelled,
    "window": _window,
    "subquery": _subquery,
}


def direction_of(clause: Any) -> tuple[Any, list[Any]]:
    """Take an ORDER BY's clause apart: the expression, and the words behind it."""
    words = []
    while getattr(clause, "modifier", None) in {
        operators.asc_op, operators.desc_op, operators.nulls_first_op, operators.nulls_last_op,
    }:  # fmt: skip
        words.append(clause.modifier)
        clause = clause.element
    return clause, words
