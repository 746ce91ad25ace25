"""One level of nesting while it is compiled: its columns, and how to get from it to related rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    FromClause,
    Lateral,
    Select,
    and_,
    inspect,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.orm import LoaderCriteriaOption, Mapper, RelationshipProperty, aliased
from sqlalchemy.sql.visitors import cloned_traverse, iterate, replacement_traverse

from querywright.errors import ShapeError
from querywright.fetching.mapping.cardinality import reads
from querywright.fetching.mapping.clauses import column_clauses, options_of, where_clauses
from querywright.fetching.mapping.froms import final_froms
from querywright.fetching.mapping.identity import identity_of, key_names
from querywright.fetching.plan.nodes import RelatedRows, Source
from querywright.fetching.writers import SQLText

__all__ = [
    "Filter",
    "Level",
    "Link",
    "criteria_of",
    "enter",
    "exempt",
    "expression_of",
    "expressions_of",
    "identity",
    "identity_columns",
    "limited",
    "order_of",
    "subclass",
]


class Filter(LoaderCriteriaOption):
    """A ``with_loader_criteria`` of a statement: the ORM applies it to the user's own rows, ours to related ones.

    To aliases of related rows the ORM would apply what its own loaders do not, and to a join an expression of the
    class instead of the alias.

    Args:
        option: The user's option; its values keep their places in the cache key of the statement.
        related: The aliases of related rows, as all filters of one statement know them.
    """

    __slots__ = ("related",)
    _COPIED = ("entity", "root_entity", "where_criteria", "deferred_where_criteria", "include_aliases")

    def __init__(self, option: LoaderCriteriaOption, related: set[Any]) -> None:
        for name in (*self._COPIED, "propagate_to_loaders"):
            setattr(self, name, getattr(option, name))
        self.related = related

    def _resolve_where_criteria(self, ext_info: Any) -> ColumnElement[bool]:
        return true() if ext_info in self.related else super()._resolve_where_criteria(ext_info)

    def concerns(self, mapper: Mapper[Any]) -> bool:
        """Return whether the ORM's loaders, which select the class itself, would apply it to related rows."""
        named = self.include_aliases or self.entity is mapper
        return named and self.propagate_to_loaders and mapper in self._all_mappers()

    def of(self, insp: Any) -> ColumnElement[bool]:
        """Write it for an alias of related rows."""
        condition = super()._resolve_where_criteria(insp)
        return condition if self.deferred_where_criteria else insp._adapter.traverse(condition)  # noqa: SLF001 - as the ORM adapts it


Criteria = tuple[Filter, ...]


@dataclass(frozen=True)
class Level:
    """One level of nesting while it is compiled.

    Attributes:
        entity: The mapped class whose relationships are followed, as an alias.
        source: What its SELECT selects from, and what a SELECT inside it has to correlate to.
        columns: The columns of the root's subquery by source; a nested level reads them from its entity.
        link: How its rows are related to those of the level above; the root has none.
        joined_rows: The levels of the rows that are joined to its own, by the identity of what is written of each.
        joinable: Whether its rows keep their order when others are joined to them.
    """

    entity: Any
    source: Any
    columns: Mapping[Source, ColumnElement[Any]] = field(default_factory=dict)
    link: Link | None = None
    joined_rows: Mapping[int, Level] = field(default_factory=dict)
    joinable: bool = True

    @property
    def mapper(self) -> Mapper[Any]:
        """The mapper of the class."""
        return inspect(self.entity).mapper  # type: ignore[no-any-return]

    def column(self, source: Source) -> ColumnElement[Any]:
        """Find the column or expression that a source means here."""
        # Not through the alias at the root: an expression would be taken apart, and its parts sought in vain.
        return self.columns[source] if self.columns else expression_of(self.entity, source)

    def select(self, item: SQLText, *more: ColumnElement[Any]) -> Select[Any]:
        """Select an item for each row that belongs to the row of the level above."""
        selected = select(item.label("o"), *more)
        if self.link is None:
            return self.joined(selected.select_from(self.source))  # type: ignore[no-any-return]
        statement = self.joined(self.link.select_from(selected, self.source))
        return self.link.tied(statement.where(self.link.condition).correlate(self.link.above.source))

    def joined(self, statement: Any) -> Any:
        """Join the rows of this level's to-one relationships, and what is joined to those."""
        for inner in self.joined_rows.values():
            assert inner.link is not None  # noqa: S101 - it was entered from this level
            statement = inner.joined(statement.outerjoin(inner.entity, inner.link.condition))
        return statement


def _unchanged(clause: Any) -> Any:
    return clause


@dataclass(frozen=True)
class Link:
    """How the rows of a level are related to those of the level above.

    Attributes:
        above: That level.
        name: The relationship, as a user would write it.
        condition: Holds for the rows that belong to a row above.
        association: What stands between both levels: an alias of an association table, or of a join.
        onward: Relates its rows to those of the level.
        adapt: Writes for the level what was written of the related class.
    """

    above: Level
    name: str
    condition: ColumnElement[bool]
    association: FromClause | None = None
    onward: ColumnElement[bool] | None = None
    adapt: Callable[[Any], Any] = _unchanged

    def select_from(self, statement: Any, source: Any) -> Any:
        """Select from the rows of a level, through the association."""
        if self.association is None:
            return statement.select_from(source)
        return statement.select_from(self.association).join(source, self.onward)

    def join_from_above(self, statement: Any, source: Any) -> Any:
        """Join the rows of a level, through the association, to those of the level above."""
        if self.association is None:
            return statement.join(source, self.condition)
        return statement.join(self.association, self.condition).join(source, self.onward)

    def tied(self, statement: Select[Any]) -> Select[Any]:
        """Return a statement of this level whose rows are all tied to each other and to those above.

        Raises:
            ShapeError: It selects from something else, so every row above would have all rows of that.
        """
        above = inspect(self.above.source).selectable
        [_, *others] = [source for source in final_froms(statement) if source is not above]
        if others:
            names = ", ".join(str(getattr(source, "name", source)) for source in others)
            raise ShapeError(self.name, f"nothing ties {names} to its rows.", hint="Write a join for it.")
        return statement


def expression_of(entity: Any, source: Source) -> Any:
    """Find what a source means of a mapped class or an alias of it."""
    if isinstance(source, str):
        return getattr(entity, source)
    made = source(entity)
    return made.scalar_subquery() if hasattr(made, "scalar_subquery") else made


def criteria_of(statement: Select[Any]) -> Criteria:
    """List the filters of a statement that hold for related rows as well.

    Raises:
        ShapeError: Another of its options filters a relationship.
    """
    options = options_of(statement)
    loaders = [loader for option in options for loader in getattr(option, "context", ())]
    if any(getattr(loader, "_extra_criteria", ()) and not _fills(loader) for loader in loaders):
        reason = "one of its loader options filters a relationship, which only the ORM's loaders do."
        raise ShapeError("statement", reason, hint="Use with_loader_criteria(), which holds for a fetch as well.")
    related: set[Any] = set()
    return tuple(Filter(option, related) for option in options if isinstance(option, LoaderCriteriaOption))


def expressions_of(statement: Select[Any], entity: Any) -> dict[Source, ColumnElement[Any]]:
    """List what ``with_expression()`` options put into the attributes of an entity.

    Raises:
        ShapeError: One of them is for other rows than those of the entity.
    """
    options = options_of(statement)
    found: dict[Source, ColumnElement[Any]] = {}
    for loader in (loader for option in options for loader in getattr(option, "context", ()) if _fills(loader)):
        owner, attribute = loader.path[0], loader.path[-1]
        if len(loader.path) > 2 or owner is not inspect(entity):  # noqa: PLR2004 - the entity and its attribute
            reason = f"its with_expression() of {attribute} is for other rows than those that it selects."
            raise ShapeError("statement", reason, hint="Mark the field of the nested model with Expr().")
        [found[attribute.key]] = loader._extra_criteria  # noqa: SLF001 - as above
    return found


def _fills(loader: Any) -> bool:
    """Return whether a loader option is a ``with_expression()``."""
    return bool(getattr(loader, "strategy", None) == (("query_expression", True),))


def enter(relationship: str, level: Level, criteria: Criteria, rows: RelatedRows | None = None) -> Level:
    """Follow a relationship: relate its rows to those of the level above, with the filters that hold for them."""
    relation = level.mapper.relationships[relationship]
    alias, link = _linked(relation, level)
    exempt(alias, criteria)
    if rows and rows.distinct:
        alias, link = _once(alias, link)
    conditions = [link.condition, *_filters(alias, criteria)]
    if rows and rows.where is not None:
        conditions.append(rows.where(alias))
    return Level(alias, alias, link=replace(link, condition=and_(*conditions)))


def _linked(relation: RelationshipProperty[Any], level: Level) -> tuple[Any, Link]:
    """Relate an alias of what a relationship leads to, a class or an alias of it, to a level."""
    entity = relation.entity
    _require_clear(relation)
    # As the ORM's joined loader does: an alias of the very FROM that the relationship names.
    source = entity.selectable if entity.is_aliased_class else None
    alias = aliased(relation.mapper.class_, source)
    above = None if level.columns else inspect(level.entity).selectable
    near, far, _, _, association, adapter = relation._create_joins(  # noqa: SLF001 - nothing public keeps them apart
        source_selectable=above,
        source_polymorphic=above is not None,
        of_type_entity=inspect(alias),
        alias_secondary=True,
    )
    sides = [inspect(alias).selectable, *([] if association is None else [association])]
    if far is not None and not all(reads(far, side) for side in sides):
        reason = "its secondary= has the table that it leads to, and its secondaryjoin= compares that with itself."
        raise ShapeError(str(relation), reason, hint="Compare another column, or put an alias into the secondary.")
    near = _correlated(near if above is not None else _of_root(near, relation, level), level, alias)
    adapt = _unchanged if adapter is None else adapter.traverse
    return alias, Link(level, str(relation), near, None if far is None else association, far, adapt)


def _require_clear(relation: RelationshipProperty[Any]) -> None:
    """Check that all that a relationship reads of the row above can be told, by whatever name that has here.

    Raises:
        ShapeError: It leads to a LATERAL subquery, which names the table of that row; or a subquery of its condition
            reads a table of both sides, and SQLAlchemy marks the side of a column outside of it only.
    """
    entity = relation.entity
    if entity.is_aliased_class and any(isinstance(part, Lateral) for part in iterate(entity.selectable)):
        reason = "it leads to a LATERAL subquery, which fetch cannot give its parents."
        hint = "Mark the field with First(), Latest() or Many(limit=) of a plain relationship."
        raise ShapeError(str(relation), reason, hint=hint)
    shared = set(relation.parent.tables) & set(relation.mapper.tables)
    if not shared:
        return
    inside = [*_subqueries(relation.primaryjoin), *_subqueries(relation.secondaryjoin)]
    parts = (
        each for one in inside for clause in (*where_clauses(one), *column_clauses(one)) for each in iterate(clause)
    )
    if any(isinstance(part, ColumnClause) and part.table in shared for part in parts):
        reason = "a subquery of its condition reads a table that is on both sides of it."
        raise ShapeError(str(relation), reason, hint="Let the subquery read an alias of the class.")


def _subqueries(condition: Any) -> list[Select[Any]]:
    return [] if condition is None else [part for part in iterate(condition) if isinstance(part, Select)]


def _of_root(condition: ColumnElement[bool], relation: RelationshipProperty[Any], level: Level) -> ColumnElement[bool]:
    """Write a condition with the columns of the root's subquery, which may have other columns of the same tables."""

    def column_of(element: Any, **_: Any) -> Any:
        if not isinstance(element, ColumnClause) or element not in relation.local_columns:
            return None
        return level.column(level.mapper.get_property_by_column(element).key)

    return replacement_traverse(condition, {}, column_of)


def _correlated(condition: ColumnElement[bool], level: Level, alias: Any) -> ColumnElement[bool]:
    """Let the subqueries of a condition read the row above, which lies outside of the SELECT around them."""
    if not _subqueries(condition):
        return condition
    above, own = inspect(level.source).selectable, inspect(alias).selectable

    def correlate(inside: Any) -> None:
        if inside._auto_correlate:  # noqa: SLF001 - nothing public
            # SQLAlchemy would look only at the SELECT around it.
            if above in final_froms(inside):
                inside._correlate, inside._auto_correlate = (above, own), False  # noqa: SLF001 - as above
        elif any(table in level.mapper.tables for table in inside._correlate):  # noqa: SLF001 - as above
            inside._correlate += (above,)  # noqa: SLF001 - as above

    made: ColumnElement[bool] = cloned_traverse(condition, {}, {"select": correlate})
    return made


def _once(alias: Any, link: Link) -> tuple[Any, Link]:
    """Relate each row once, however often an association pairs it."""
    other: Any = aliased(inspect(alias).mapper.class_)
    keys: Any = select(*identity_columns(alias))
    related = link.select_from(keys, alias).where(link.condition).correlate(link.above.source)
    key = identity_columns(other)
    condition = (key[0] if len(key) == 1 else tuple_(*key)).in_(link.tied(related))
    return other, Link(link.above, link.name, condition, adapt=partial(_adapted, inspect(other).selectable))


def _adapted(source: FromClause, clause: Any) -> Any:
    """Write for a FROM what was written of another one of the same table."""

    def column_of(element: Any, **_: Any) -> Any:
        return source.corresponding_column(element) if isinstance(element, ColumnClause) else None

    return replacement_traverse(clause, {}, column_of)


def identity_columns(entity: Any) -> list[Any]:
    """List the columns that tell the rows of a mapped class, or of an alias of it, apart."""
    return [expression_of(entity, source) for source in identity_of(inspect(entity).mapper)]


def _filters(alias: Any, criteria: Criteria) -> list[ColumnElement[bool]]:
    """Write the filters that hold for related rows."""
    insp = inspect(alias)
    exempt(alias, criteria)
    return [each.of(insp) for each in criteria if each.concerns(insp.mapper)]


def exempt(alias: Any, criteria: Criteria) -> None:
    """Keep the ORM from applying any filters to an alias."""
    for each in criteria:
        each.related.add(inspect(alias))


def subclass(mapper: Mapper[Any], level: Level, criteria: Criteria) -> Level:
    """Go from a row to the same row as one of its subclass, by its key."""
    alias: Any = aliased(mapper.class_)
    exempt(alias, criteria)
    same_row = and_(*(level.column(key) == getattr(alias, key) for key in key_names(mapper)))
    return Level(alias, alias, link=Link(level, mapper.class_.__name__, same_row))


def identity(level: Level) -> ColumnElement[Any]:
    """A column that is NULL where a LEFT JOIN found no row."""
    return identity_columns(level.entity)[0]  # type: ignore[no-any-return]


def order_of(relationship: str, inner: Level, rows: RelatedRows | None, path: str) -> Sequence[ColumnElement[Any]]:
    """Order related rows: as they were asked for, or as their relationship says.

    Raises:
        ShapeError: The order is that of an association table in which a row may stand twice.
    """
    if rows and rows.order_by:
        return [build(inner.entity) for build in rows.order_by]
    assert inner.link is not None  # noqa: S101 - it was entered from a level
    relation = inner.link.above.mapper.relationships[relationship]
    ordered = [inner.link.adapt(clause) for clause in relation.order_by or ()]
    if rows and rows.distinct and any(_names_others(clause, inner) for clause in ordered):
        reason = "its association may pair a row twice, and is what it is ordered by."
        raise ShapeError(path, reason, hint="Give the table a unique key, or the field Many(order_by=...).")
    return ordered


def _names_others(clause: Any, level: Level) -> bool:
    """Return whether an expression names columns of anything but a level's own rows."""
    columns = (part for part in iterate(clause) if isinstance(part, ColumnClause) and part.table is not None)
    own = inspect(level.entity).selectable
    return any(not own.is_derived_from(column.table) for column in columns)


def limited(statement: Select[Any], limit: int) -> Select[Any]:
    """Limit a statement to so many rows."""
    # No parameters, for the user's may have any name; SQLite's compiler would make one of a missing offset.
    return statement.limit(literal_column(str(limit))).offset(literal_column("0"))
