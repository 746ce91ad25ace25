"""One level of nesting while it is compiled: its columns, and how to get from it to related rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, inspect, literal_column, select, true, tuple_
from sqlalchemy.orm import LoaderCriteriaOption, Mapper, RelationshipProperty, aliased
from sqlalchemy.sql.util import ClauseAdapter

from querywright.errors import ShapeError
from querywright.fetch.attributes import key_names, keys_of
from querywright.fetch.nodes import Rows, Source
from querywright.fetch.writers import SQLText

__all__ = [
    "Filter",
    "Level",
    "criteria_of",
    "enter",
    "exempt",
    "expression_of",
    "expressions_of",
    "identity",
    "is_joined",
    "key_of",
    "limited",
    "order_of",
    "subclass",
]


class Filter(LoaderCriteriaOption):
    """A ``with_loader_criteria`` of a statement: the ORM applies it to the user's own rows, this room to related ones.

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
        """Say whether the ORM's loaders, which select the class itself, would apply it to related rows."""
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
        parent: The level above, and how its rows are related to this one's; the root has none.
        joins: The to-one joins of this level; grows as fields are written.
        joinable: Whether its rows keep their order when others are joined to them.
    """

    entity: Any
    source: Any
    columns: Mapping[Source, ColumnElement[Any]] = field(default_factory=dict)
    parent: tuple[Level, ColumnElement[bool]] | None = None
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
        """Select an item for each row."""
        statement = select(item.label("o"), *more).select_from(self.source)
        for entity, condition in self.joins:
            statement = statement.outerjoin(entity, condition)
        if self.parent is None:
            return statement
        above, related = self.parent
        return statement.where(related).correlate(above.source)


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
    options = statement._with_options  # noqa: SLF001 - as above
    found: dict[Source, ColumnElement[Any]] = {}
    for loader in (loader for option in options for loader in getattr(option, "context", ()) if _fills(loader)):
        owner, attribute = loader.path[0], loader.path[-1]
        if len(loader.path) > 2 or owner is not inspect(entity):  # noqa: PLR2004 - the entity and its attribute
            reason = f"its with_expression() of {attribute} is for other rows than those that it selects."
            raise ShapeError("statement", reason, hint="Mark the field of the nested model with Expr().")
        [found[attribute.key]] = loader._extra_criteria  # noqa: SLF001 - as above
    return found


def _fills(loader: Any) -> bool:
    """Say whether a loader option is a ``with_expression()``."""
    return bool(getattr(loader, "strategy", None) == (("query_expression", True),))


def enter(relationship: str, level: Level, criteria: Criteria, rows: Rows | None = None) -> Level:
    """Follow a relationship: relate its rows to those of the level above, with the filters that hold for them."""
    alias: Any = aliased(level.mapper.relationships[relationship].mapper.class_)
    conditions = [_related(relationship, level, alias), *_filters(alias, criteria)]
    if rows and rows.where is not None:
        conditions.append(rows.where(alias))
    if rows and rows.distinct:
        conditions = [_once(relationship, level, alias), *conditions[1:]]
    return Level(alias, alias, parent=(level, and_(*conditions)))


def _related(relationship: str, level: Level, alias: Any) -> Any:
    return getattr(level.entity, relationship).of_type(alias).expression


def _once(relationship: str, level: Level, alias: Any) -> ColumnElement[bool]:
    """Relate each row once, however often the association table pairs it."""
    other: Any = aliased(inspect(alias).mapper.class_)
    related = select(*key_of(other)).select_from(other).where(_related(relationship, level, other))
    key = key_of(alias)
    return (key[0] if len(key) == 1 else tuple_(*key)).in_(related.correlate(level.source))


def key_of(entity: Any) -> list[Any]:
    """List the columns of the primary key of a mapped class or an alias of it."""
    return [getattr(entity, name) for name in key_names(inspect(entity).mapper)]


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
    """Go from a row to the same row as one of its subclass: with a LEFT JOIN on the key, if there can be one."""
    if mapper is level.mapper:
        return level
    alias: Any = aliased(mapper.class_)
    exempt(alias, criteria)
    same_row = and_(*(level.column(key) == getattr(alias, key) for key in key_names(mapper)))
    if not level.joinable:
        return Level(alias, alias, parent=(level, same_row))
    level.joins.append((alias, same_row))
    return Level(alias, alias, parent=(level, same_row), joins=level.joins)


def identity(level: Level) -> ColumnElement[Any]:
    """A column that is NULL where a LEFT JOIN found no row."""
    return key_of(level.entity)[0]  # type: ignore[no-any-return]


def is_joined(relationship: RelationshipProperty[Any]) -> bool:
    """Say whether a relationship leads to one row by a foreign key, so that a LEFT JOIN cannot multiply rows."""
    if relationship.direction.name != "MANYTOONE" or relationship.secondary is not None:
        return False
    mapper = relationship.mapper
    return any(key <= relationship.remote_side for key in (set(mapper.primary_key), *keys_of(mapper.local_table)))


def order_of(relationship: str, inner: Level, rows: Rows | None, path: str) -> Sequence[ColumnElement[Any]]:
    """Order related rows: as they were asked for, or as their relationship says.

    Raises:
        ShapeError: The order is that of an association table in which a row may stand twice.
    """
    if rows and rows.order_by:
        return [build(inner.entity) for build in rows.order_by]
    assert inner.parent is not None  # noqa: S101 - it was entered from a level
    above, related = inner.parent
    relation = above.mapper.relationships[relationship]
    ordered = list(relation.order_by or ())
    adapters = [ClauseAdapter(inspect(inner.entity).selectable)]
    if relation.secondary is not None:
        # The alias of the association table is known only to the condition.
        sources = related._from_objects  # noqa: SLF001 - nothing public
        adapters += [ClauseAdapter(source) for source in sources if source.is_derived_from(relation.secondary)]
        if rows and rows.distinct and any(relation.secondary in clause._from_objects for clause in ordered):  # noqa: SLF001 - as above
            reason = "its association table may pair a row twice, and is what it is ordered by."
            raise ShapeError(path, reason, hint="Give the table a unique key, or the field Many(order_by=...).")
    for adapter in adapters:
        ordered = [adapter.traverse(clause) for clause in ordered]
    return ordered


def limited(statement: Select[Any], limit: int) -> Select[Any]:
    """Limit a statement to so many rows."""
    # No parameters, for the user's may have any name; SQLite's compiler would make one of a missing offset.
    return statement.limit(literal_column(str(limit))).offset(literal_column("0"))
