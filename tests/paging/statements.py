"""Invent statements: joins, aliases, DISTINCT, groups, unions and hierarchies, ordered by whatever they have."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import Select, except_, inspect, intersect, select, union, union_all
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import aliased

from tests.paging.orders import Scope, keys_of, names_of, orders
from tests.paging.tables import (
    Guest,
    IdOut,
    Memo,
    Paper,
    PaperOut,
    Part,
    PartOfOut,
    Person,
    PersonOut,
    Sample,
    SampleOut,
    Team,
    Thing,
    Tool,
    Word,
    WordOut,
    Worker,
)  # fmt: skip

# SQLAlchemy 2.0 has only Select.distinct() for it.
distinct_on: Any = getattr(postgresql, "distinct_on", None)

MODELS: dict[type, tuple[Any, ...]] = {
    Sample: (IdOut, SampleOut, SampleOut), Part: (PartOfOut, IdOut), Person: (PersonOut,), Worker: (PersonOut,),
    Guest: (IdOut,), Thing: (PersonOut,), Tool: (PersonOut,), Paper: (PaperOut,), Memo: (PaperOut,), Word: (WordOut,),
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A statement, the model of its rows and what is special about it.

    Attributes:
        statement: The statement.
        order: Its ORDER BY.
        model: The response model.
        tags: What it is counted as.
        refused: Whether its pages have to be refused.
    """

    statement: Select[Any]
    order: tuple[Any, ...]
    model: Any
    tags: frozenset[str]
    refused: bool = False


_CLASSES = [*[Sample] * 6, Part, Part, Person, Worker, Guest, Thing, Tool, Tool, Paper, Memo, Word]


@st.composite
def statements(draw: st.DrawFn, database: str) -> Asked:
    """Draw a statement."""
    tags: set[str] = set()
    form = draw(st.sampled_from(_USUAL))
    root = draw(_roots(tags, [Sample, Sample, Part] if form == "grouped" else _CLASSES))
    cls = inspect(root).mapper.class_
    scope = Scope(root, database, [(root, False)], tags)
    statement = select(root)
    for _ in range(draw(st.sampled_from([1, 1, 2] if form == "grouped" else [0, 0, 1, 1, 1, 2]))):
        statement = draw(_joined(scope, statement, cls))
    if draw(st.booleans()):
        statement = statement.where(getattr(root, "part_id" if cls is Word else "id") > draw(st.integers(0, 2)))
    statement = draw(_FORMS[form](scope, statement)) if form in _FORMS else statement
    order = (
        draw(orders(scope, least=1 if "(g) ties" in tags else 0))
        if "(d) DISTINCT ON" not in tags
        else _leading(draw, scope)
    )
    statement = statement.order_by(*order)
    model = draw(st.sampled_from(MODELS[cls]))
    return Asked(statement, tuple(order), model, frozenset(tags), refused=form in {"limit", "lock"})


def _leading(draw: st.DrawFn, scope: Scope) -> list[Any]:
    """Draw an ORDER BY that begins with what DISTINCT ON names, as it must, and leaves no choice of its rows."""
    on = [draw(st.sampled_from([column, column.desc()])) for column in scope.on]
    return [*on, *draw(orders(scope)), *keys_of(scope)]


@st.composite
def _roots(draw: st.DrawFn, tags: set[str], classes: list[Any]) -> Any:
    cls = draw(st.sampled_from(classes))
    if cls in {Worker, Person, Guest}:
        tags.add("joined or single inheritance")
    if cls in {Thing, Tool}:
        tags.add("(i) with_polymorphic *")
    if cls in {Paper, Memo}:
        tags.add("concrete inheritance")
        return cls
    kind = draw(st.sampled_from(["", "", "alias", "flat", "union"]))
    if kind == "union" and cls in {Sample, Part, Word}:
        tags.add("union")
        return aliased(cls, draw(_united(cls)).subquery())
    if kind in {"alias", "flat"}:
        tags.add("alias")
        return aliased(cls, flat=kind == "flat")
    return cls


@st.composite
def _united(draw: st.DrawFn, cls: Any) -> Any:
    key = Word.part_id if cls is Word else cls.id
    parts = [select(cls).where(key > draw(st.integers(0, 2))), select(cls).where(key < draw(st.integers(2, 6)))]
    # Of two sets whose rows are the same table's, union_all() has some twice.
    return draw(st.sampled_from([union, union, union, intersect, except_, union_all]))(*parts)


@st.composite
def _joined(draw: st.DrawFn, scope: Scope, statement: Select[Any], cls: Any) -> Select[Any]:
    ways = {Sample: [_team, _team, _parts, _parts, _many, _next, _implicit], Part: [_sample, _words]}.get(
        cls, [_beside]
    )
    return draw(draw(st.sampled_from(ways))(scope, statement))


def _way(draw: st.DrawFn, scope: Scope) -> dict[str, Any]:
    """Draw a kind of join, and note it."""
    kinds = ["inner", "outer"] + ["full"] * (scope.database != "mariadb")
    kind = draw(st.sampled_from(kinds))
    scope.tags.add(f"{kind} join")
    return {"isouter": kind == "outer", "full": kind == "full"}


def _add(scope: Scope, entity: Any, way: dict[str, Any]) -> None:
    scope.entities.append((entity, way["isouter"] or way["full"]))


def _other(draw: st.DrawFn, scope: Scope, cls: Any) -> Any:
    """Take a class itself or an alias of it, but the class not twice."""
    used = any(inspect(entity).mapper.class_ is cls for entity, _ in scope.entities)
    return aliased(cls) if used or draw(st.booleans()) else cls


def _full(statement: Select[Any], scope: Scope, way: dict[str, Any]) -> Select[Any]:
    """Leave out rows without the root, which no model can hold."""
    root = scope.root
    key = root.part_id if inspect(root).mapper.class_ is Word else root.id
    return statement.where(key.is_not(None)) if way["full"] else statement


@st.composite
def _team(draw: st.DrawFn, scope: Scope, statement: Select[Any]) -> Select[Any]:
    other = _other(draw, scope, Team)
    if len(scope.entities) == 1 and draw(st.booleans()):
        # The root on the optional side.
        scope.tags.add("right join")
        scope.entities[0] = (scope.root, True)
        scope.entities.append((other, False))
        joined = statement.select_from(other).outerjoin(scope.root, scope.root.team_id == other.id)
        return joined.where(scope.root.id.is_not(None))
    way = _way(draw, scope)
    _add(scope, other, way)
    return _full(statement.join(scope.root.team.of_type(other), **way), scope, way)


@st.composite
def _parts(draw: st.DrawFn, scope: Scope, statement: Select[Any]) -> Select[Any]:
    other, way = _other(draw, scope, Part), _way(draw, scope)
    if any(inspect(entity).mapper.class_ is Part for entity, _ in scope.entities):
        scope.tags.add("two uses of a table")
    scope.tags.add("(f) repeats the entity")
    _add(scope, other, way)
    return _full(statement.join(scope.root.parts.of_type(other), **way), scope, way)


@st.composite
def _many(draw: st.DrawFn, scope: Scope, statement: Select[Any]) -> Select[Any]:
    other, way = _other(draw, scope, Team), _way(draw, scope)
    scope.tags |= {"(f) repeats the entity", "many to many"}
    _add(scope, other, way)
    through = scope.root.friends if draw(st.integers(0, 3)) else scope.root.fans
    return _full(statement.join(through.of_type(other), **way), scope, way)


@st.composite
def _next(draw: st.DrawFn, scope: Scope, statement: Select[Any]) -> Select[Any]:
    other, way = aliased(Sample), _way(draw, scope)
    scope.tags |= {"two uses of a table", "self join"}
    _add(scope, other, way)
    condition = other.id == scope.root.next_id if draw(st.booleans()) else other.next_id == scope.root.id
    return _full(statement.join(other, condition, **way), scope, way)


@st.composite
def _implicit(draw: st.DrawFn, scope: Scope, statement: Select[Any]) -> Select[Any]:
    other = aliased(Part) if draw(st.booleans()) else _other(draw, scope, Part)
    scope.tags |= {"(f) repeats the entity", "join in WHERE"}
    scope.entities.append((other, False))
    return statement.where(other.sample_id == scope.root.id)


@st.composite
def _sample(draw: st.DrawFn, scope: Scope, statement: Select[Any]) -> Select[Any]:
    other, way = _other(draw, scope, Sample), _way(draw, scope)
    _add(scope, other, way)
    return _full(statement.join(scope.root.sample.of_type(other), **way), scope, way)


@st.composite
def _words(draw: st.DrawFn, scope: Scope, statement: Select[Any]) -> Select[Any]:
    other, way = _other(draw, scope, Word), _way(draw, scope)
    scope.tags.add("(f) repeats the entity")
    _add(scope, other, way)
    return _full(statement.join(scope.root.words.of_type(other), **way), scope, way)


@st.composite
def _beside(draw: st.DrawFn, scope: Scope, statement: Select[Any]) -> Select[Any]:
    """Join what has nothing to do with it, by its number."""
    cls: Any = draw(st.sampled_from([Team, Part]))
    other, way = aliased(cls), _way(draw, scope)
    key = scope.root.part_id if inspect(scope.root).mapper.class_ is Word else scope.root.id
    _add(scope, other, way)
    scope.tags.add("(f) repeats the entity")
    condition = other.id == key if draw(st.booleans()) else other.id >= key
    # PostgreSQL has full joins only for equality.
    if way["full"]:
        condition = other.id == key
    return _full(statement.join(other, condition, **way), scope, way)


@st.composite
def _grouped(draw: st.DrawFn, scope: Scope, statement: Select[Any]) -> Select[Any]:
    keys = [getattr(scope.root, column.key) for column in inspect(scope.root).mapper.primary_key]
    everything = [getattr(scope.root, name) for name in names_of(scope.root)]
    scope.grouped = True
    scope.tags.add("group by")
    return statement.group_by(*(everything if "union" in scope.tags else draw(st.sampled_from([keys, everything]))))


@st.composite
def _distinct(draw: st.DrawFn, scope: Scope, statement: Select[Any]) -> Select[Any]:
    scope.own = draw(st.integers(0, 2)) == 0
    scope.tags.add("(e) DISTINCT" if scope.own or len(scope.entities) == 1 else "DISTINCT by a joined column")
    return statement.distinct()


@st.composite
def _on(draw: st.DrawFn, scope: Scope, statement: Select[Any]) -> Select[Any]:
    # Of a concrete class the ORM does not say what all of its key is.
    if scope.database != "postgresql" or "concrete inheritance" in scope.tags:
        return statement
    names = draw(st.lists(st.sampled_from(names_of(scope.root)), min_size=1, max_size=2, unique=True))
    scope.on = on = [getattr(scope.root, name) for name in names]
    scope.tags.add("(d) DISTINCT ON")
    if distinct_on is not None and draw(st.booleans()):
        return statement.ext(distinct_on(*on))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return statement.distinct(*on)


@st.composite
def _limited(draw: st.DrawFn, scope: Scope, statement: Select[Any]) -> Select[Any]:
    kind = draw(st.sampled_from(["limit", "offset", "fetch", "ties"]))
    number = draw(st.integers(0, 4))
    if kind == "limit" or scope.database == "sqlite":
        scope.tags.add("(g) limit")
        return statement.limit(number)
    if kind == "offset" and scope.database == "postgresql":
        scope.tags.add("(g) offset")
        return statement.offset(number)
    scope.tags.add("(g) ties" if kind == "ties" else "(g) fetch")
    return (
        statement.fetch(number, with_ties=kind == "ties") if scope.database == "postgresql" else statement.limit(number)
    )


@st.composite
def _locked(draw: st.DrawFn, scope: Scope, statement: Select[Any]) -> Select[Any]:
    scope.tags.add("(h) FOR UPDATE")
    return statement.with_for_update(read=draw(st.booleans()), of=None)


# What has no pages is tried less often.
_USUAL = [""] * 6 + ["grouped"] * 3 + ["distinct"] * 6 + ["on"] * 3 + ["limit", "lock"]
_FORMS: dict[str, Callable[[Scope, Select[Any]], st.SearchStrategy[Select[Any]]]] = {
    "grouped": _grouped,
    "distinct": _distinct,
    "on": _on,
    "limit": _limited,
    "lock": _locked,
}
