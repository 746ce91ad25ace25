"""One level of nesting while it is compiled: its columns, and how to get from it to related rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sqlalchemy import ColumnClause, ColumnElement, FromClause, Select, and_, inspect, literal_column, select, tuple_
from sqlalchemy.orm import LoaderCriteriaOption, Mapper, RelationshipProperty, aliased
from sqlalchemy.sql.util import ClauseAdapter
from sqlalchemy.sql.visitors import iterate, replacement_traverse

from querywright.errors import ShapeError
from querywright.fetch.attributes import identity_of, key_names
from querywright.fetch.nodes import Rows, Source
from querywright.fetch.writers import SQLText

__all__ = [
    "Level",
    "Link",
    "criteria_of",
    "enter",
    "expression_of",
    "identity",
    "identity_columns",
    "limited",
    "order_of",
    "subclass",
]

Criteria = tuple[LoaderCriteriaOption, ...]


@dataclass(frozen=True)
class Level:
    """One level of nesting while it is compiled.

    Attributes:
        entity: The mapped class whose relationships are followed, as an alias.
        source: What its SELECT selects from, and what a SELECT inside it has to correlate to.
        columns: The columns of the root's subquery by source; a nested level reads them from its entity.
        link: How its rows are related to those of the level above; the root has none.
        joins: The to-one joins of this level; grows as fields are written.
        joinable: Whether its rows keep their order when others are joined to them.
    """

    entity: Any
    source: Any
    columns: Mapping[Source, ColumnElement[Any]] = field(default_factory=dict)
    link: Link | None = None
    joins: list[tuple[Any, ColumnElement[bool]]] = field(default_factory=list)
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
        statement = select(item.label("o"), *more)
        if self.link is None:
            return self.joined(statement.select_from(self.source))
        statement = self.joined(self.link.select_from(statement, self.source))
        return self.link.tied(statement.where(self.link.condition).correlate(self.link.above.source))

    def joined(self, statement: Select[Any]) -> Select[Any]:
        """Join the rows of this level's to-one relationships."""
        for entity, condition in self.joins:
            statement = statement.outerjoin(entity, condition)
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

    def select_from(self, statement: Select[Any], source: Any) -> Select[Any]:
        """Select from the rows of a level, through the association."""
        if self.association is None:
            return statement.select_from(source)
        return statement.select_from(self.association).join(source, self.onward)

    def join_from_above(self, statement: Select[Any], source: Any) -> Select[Any]:
        """Join the rows of a level, through the association, to those of the level above."""
        if self.association is None:
            return statement.join(source, self.condition)
        return statement.join(self.association, self.condition).join(source, self.onward)

    def tied(self, statement: Select[Any]) -> Select[Any]:
        """Return a statement of this level whose rows are all tied to each other and to those above.

        Raises:
            ShapeError: It selects from something else, so every row above would have all rows of that.
        """
        above = inspect(self.above.entity).selectable
        [_, *others] = [source for source in statement.get_final_froms() if source is not above]
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
    options = statement._with_options  # noqa: SLF001 - SQLAlchemy has no public reader of a statement's options
    if any(getattr(element, "_extra_criteria", ()) for option in options for element in getattr(option, "context", ())):
        reason = "one of its loader options filters a relationship, which only the ORM's loaders do."
        raise ShapeError("statement", reason, hint="Use with_loader_criteria(), which holds for a fetch as well.")
    return tuple(option for option in options if isinstance(option, LoaderCriteriaOption))


def enter(relationship: str, level: Level, criteria: Criteria, rows: Rows | None = None) -> Level:
    """Follow a relationship: relate its rows to those of the level above, with the filters that hold for them."""
    relation = level.mapper.relationships[relationship]
    alias, link = _linked(relation, level)
    if rows and rows.distinct:
        alias, link = _once(alias, link)
    conditions = [link.condition, *_filters(alias, criteria)]
    if rows and rows.where is not None:
        conditions.append(rows.where(alias))
    return Level(alias, alias, link=replace(link, condition=and_(*conditions)))


def _linked(relation: RelationshipProperty[Any], level: Level) -> tuple[Any, Link]:
    """Relate an alias of what a relationship leads to, a class or an alias of it, to a level."""
    entity = relation.entity
    # As the ORM's joined loader does: an alias of the very FROM that the relationship names.
    source = entity.selectable._anonymous_fromclause() if entity.is_aliased_class else None  # noqa: SLF001 - as above
    alias = aliased(relation.mapper.class_, source)
    near, far, _, _, association, adapter = relation._create_joins(  # noqa: SLF001 - nothing public keeps them apart
        source_selectable=inspect(level.entity).selectable,
        source_polymorphic=True,
        of_type_entity=inspect(alias),
        alias_secondary=True,
    )
    adapt = _unchanged if adapter is None else adapter.traverse
    return alias, Link(level, str(relation), near, None if far is None else association, far, adapt)


def _once(alias: Any, link: Link) -> tuple[Any, Link]:
    """Relate each row once, however often an association pairs it."""
    other: Any = aliased(inspect(alias).mapper.class_)
    related = (
        link.select_from(select(*identity_columns(alias)), alias).where(link.condition).correlate(link.above.source)
    )
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
    """Apply criteria without include_aliases: they reach related rows when the ORM loads them, so also here."""
    insp = inspect(alias)
    return [
        ClauseAdapter(insp.selectable).traverse(option._resolve_where_criteria(insp))  # noqa: SLF001 - nothing public
        for option in criteria
        if not option.include_aliases and option.propagate_to_loaders and _concerns(option, insp.mapper)
    ]


def _concerns(option: LoaderCriteriaOption, mapper: Mapper[Any]) -> bool:
    return any(mapper.isa(concerned) for concerned in option._all_mappers())  # noqa: SLF001 - nothing public


def subclass(mapper: Mapper[Any], level: Level) -> Level:
    """Go from a row to the same row as one of its subclass: with a LEFT JOIN on the key, if there can be one."""
    if mapper is level.mapper:
        return level
    alias: Any = aliased(mapper.class_)
    same_row = and_(*(level.column(key) == getattr(alias, key) for key in key_names(mapper)))
    link = Link(level, mapper.class_.__name__, same_row)
    if not level.joinable:
        return Level(alias, alias, link=link)
    level.joins.append((alias, same_row))
    return Level(alias, alias, link=link, joins=level.joins)


def identity(level: Level) -> ColumnElement[Any]:
    """A column that is NULL where a LEFT JOIN found no row."""
    return identity_columns(level.entity)[0]  # type: ignore[no-any-return]


def order_of(relationship: str, inner: Level, rows: Rows | None, path: str) -> Sequence[ColumnElement[Any]]:
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
