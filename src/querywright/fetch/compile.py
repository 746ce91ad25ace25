"""Turn a plan and the user's statement into one Select whose result is JSON text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    UniqueConstraint,
    and_,
    case,
    func,
    inspect,
    literal_column,
    select,
)
from sqlalchemy.orm import LoaderCriteriaOption, Mapper, aliased
from sqlalchemy.sql.util import ClauseAdapter

from querywright.errors import ShapeError
from querywright.fetch.json import JsonWriter, Member, SQLText, literal
from querywright.fetch.nodes import Field, Scalar, Shape, ToMany, ToOne

__all__ = ["Form", "compile_select", "root_mapper"]


@dataclass(frozen=True)
class Form:
    """What the statement returns.

    Attributes:
        array: One row with a JSON array, if that is faster, or one row of JSON text for each root row.
        limit: Return at most this many root rows.
        for_model: Write for the model that validates it, and not for a client: its input keys, and NaN.
    """

    array: bool
    limit: int | None = None
    for_model: bool = False


@dataclass(frozen=True)
class Level:
    """One level of nesting while it is compiled.

    Attributes:
        entity: The mapped class whose relationships are followed, as an alias.
        source: What its SELECT selects from, and what a SELECT inside it has to correlate to.
        columns: The columns of the root's subquery by attribute; a nested level reads them from its entity.
        parent: The level above, and how its rows are related to this one's; the root has none.
        joins: The to-one joins of this level; grows as fields are written.
    """

    entity: Any
    source: Any
    columns: Mapping[str, ColumnElement[Any]] = field(default_factory=dict)
    parent: tuple[Level, ColumnElement[bool]] | None = None
    joins: list[tuple[Any, ColumnElement[bool]]] = field(default_factory=list)

    @property
    def mapper(self) -> Mapper[Any]:
        """The mapper of the class."""
        return inspect(self.entity).mapper  # type: ignore[no-any-return]

    def column(self, attribute: str) -> ColumnElement[Any]:
        """Find the column of an attribute."""
        # Not through the alias at the root: an expression would be taken apart, and its parts sought in vain.
        return self.columns[attribute] if self.columns else getattr(self.entity, attribute)

    def select(self, item: SQLText) -> Select[Any]:
        """Select an item for each row."""
        statement = select(item.label("o")).select_from(self.source)
        for entity, condition in self.joins:
            statement = statement.outerjoin(entity, condition)
        if self.parent is None:
            return statement
        above, related = self.parent
        return statement.where(related).correlate(above.source)


def root_mapper(statement: Select[Any]) -> Mapper[Any]:
    """Find the mapped class that a statement selects.

    Raises:
        ShapeError: It selects anything but exactly one mapped class.
    """
    return inspect(_root_entity(statement)).mapper  # type: ignore[no-any-return]


def _root_entity(statement: Select[Any]) -> Any:
    described = statement.column_descriptions
    entity = described[0].get("entity") if len(described) == 1 else None
    if entity is None or described[0]["expr"] is not entity:
        reason = f"it must select exactly one mapped class, not {', '.join(str(d['name']) for d in described)}."
        raise ShapeError("statement", reason, hint="Write select(User); the response model chooses the columns.")
    return entity


def compile_select(shape: Shape, statement: Select[Any], form: Form, writer: JsonWriter) -> Select[Any]:
    """Write the statement that returns a shape as JSON text.

    The user's statement becomes an inner subquery with only the columns that are needed, so its WHERE, ORDER BY and
    LIMIT decide which rows there are before anything is joined to them.
    """
    return _SelectCompiler(form, writer, _criteria(statement)).root(shape, statement)


def _criteria(statement: Select[Any]) -> tuple[LoaderCriteriaOption, ...]:
    options = statement._with_options  # noqa: SLF001 - SQLAlchemy has no public reader of a statement's options
    if any(getattr(element, "_extra_criteria", ()) for option in options for element in getattr(option, "context", ())):
        reason = "one of its loader options filters a relationship, which only the ORM's loaders do."
        raise ShapeError("statement", reason, hint="Use with_loader_criteria(), which holds for a fetch as well.")
    return tuple(option for option in options if isinstance(option, LoaderCriteriaOption))


@dataclass(frozen=True)
class _SelectCompiler:
    form: Form
    writer: JsonWriter
    criteria: tuple[LoaderCriteriaOption, ...]

    def root(self, shape: Shape, statement: Select[Any]) -> Select[Any]:
        keys = _root_keys(shape, statement)
        rows = _root_rows(statement, keys, self.form.limit)
        # A join may return rows in any order, so the order of the statement is kept as a number.
        ordered = any(_is_joined(node, shape.mapper) for node in shape.fields)
        if ordered:
            rows = select(*rows.c, func.row_number().over().label("n")).subquery()
        columns = {key: rows.c[name] for key, name in keys.items()}
        level = Level(aliased(shape.mapper.class_, rows), rows, columns)
        item, order = self._object(shape, level), [rows.c.n] if ordered else []
        if self.form.array:
            top = self._array(item, level, shape.path, order)
        else:
            top = level.select(self.writer.checked(item, shape.path)).order_by(*order)
        # Only a top-level statement hands its criteria to the SELECTs inside it.
        return top.options(*self.criteria)

    def _object(self, shape: Shape, level: Level) -> SQLText:
        return self.writer.object([self._member(node, level) for node in shape.fields])

    def _member(self, node: Field, level: Level) -> Member:
        key = node.input_key if self.form.for_model else node.key
        if isinstance(node, Scalar):
            column = level.column(node.attribute)
            value = self.writer.value(node.encoding, column, node.type, for_model=self.form.for_model)
            return Member(key, value, required=None if node.nullable else column)
        if isinstance(node, ToMany):
            array = self._to_many(node, level)
            return Member(key, (array,), required=array)
        assert isinstance(node, ToOne)  # noqa: S101 - there is no fourth kind
        joined = _is_joined(node, level.mapper)
        row = self._joined_row(node, level) if joined else self._single_row(node, level)
        return Member(key, (row,), required=row)

    def _array(self, item: SQLText, level: Level, path: str, order: Sequence[Any]) -> Select[Any]:
        """Select one array with the items of all rows, in an order."""
        if self.writer.aggregate_orders or not order:
            return level.select(self.writer.array(item, path, order))
        items = level.select(item).order_by(*order).subquery()
        return select(self.writer.array(items.c.o, path)).select_from(items)

    def _to_many(self, node: ToMany, level: Level) -> SQLText:
        inner = self._enter(node, level)
        item = self._object(node.shape, inner)
        return self._array(item, inner, node.shape.path, _order(node, inner)).scalar_subquery()

    def _joined_row(self, node: ToOne, level: Level) -> SQLText:
        """Follow a foreign key with a plain LEFT JOIN: it finds at most one row."""
        inner = self._enter(node, level)
        assert inner.parent is not None  # noqa: S101 - it was entered from a level
        level.joins.append((inner.entity, inner.parent[1]))
        text = self.writer.checked(self._object(node.shape, inner), node.path)
        level.joins.extend(inner.joins)
        return case((_identity(inner).is_not(None), text), else_=self._no_row(node))

    def _single_row(self, node: ToOne, level: Level) -> SQLText:
        """Follow any other relationship to one row; nothing guarantees that there is only one."""
        inner = self._enter(node, level)
        item = self.writer.checked(self._object(node.shape, inner), node.path)
        row = _limited(inner.select(item).order_by(*_order(node, inner)), 1)
        return func.coalesce(row.scalar_subquery(), self._no_row(node))

    def _no_row(self, node: ToOne) -> SQLText:
        return literal("null") if node.nullable else self.writer.broken(node.path)

    def _enter(self, node: ToOne | ToMany, level: Level) -> Level:
        """Follow a relationship: relate its rows to those of the level above, with the filters that hold for them."""
        alias: Any = aliased(level.mapper.relationships[node.attribute].mapper.class_)
        related = getattr(level.entity, node.attribute).of_type(alias).expression
        return Level(alias, alias, parent=(level, and_(related, *self._filters(alias))))

    def _filters(self, alias: Any) -> list[ColumnElement[bool]]:
        """Apply criteria without include_aliases: they reach related rows when the ORM loads them, so also here."""
        insp = inspect(alias)
        return [
            ClauseAdapter(insp.selectable).traverse(option._resolve_where_criteria(insp))  # noqa: SLF001 - nothing public
            for option in self.criteria
            if not option.include_aliases and option.propagate_to_loaders and _concerns(option, insp.mapper)
        ]


def _root_keys(shape: Shape, statement: Select[Any]) -> dict[str, str]:
    """Name the attributes that the shape and its relationships need of the root, each with a short column name."""
    needed = [key for node in shape.fields for key in _needed(node, shape.mapper)]
    if statement._distinct:  # noqa: SLF001 - nothing public
        # All columns: fewer could make different rows alike, and PostgreSQL wants those of ORDER BY among them.
        needed += shape.mapper.column_attrs.keys()
    return {key: f"c{position}" for position, key in enumerate(dict.fromkeys(needed))}


def _root_rows(statement: Select[Any], keys: dict[str, str], limit: int | None) -> FromClause:
    """Narrow the user's statement to the columns that are needed."""
    entity = _root_entity(statement)
    rows = statement.with_only_columns(*(getattr(entity, key).label(name) for key, name in keys.items())).subquery()
    return rows if limit is None else _limited(select(*rows.c), limit).subquery()


def _limited(statement: Select[Any], limit: int) -> Select[Any]:
    # No parameters, for the user's may have any name; SQLite's compiler would make one of a missing offset.
    return statement.limit(literal_column(str(limit))).offset(literal_column("0"))


def _needed(node: Field, mapper: Mapper[Any]) -> list[str]:
    if isinstance(node, Scalar):
        return [node.attribute]
    local = mapper.relationships[node.attribute].local_columns
    return sorted(mapper.get_property_by_column(column).key for column in local)


def _is_joined(node: Field, mapper: Mapper[Any]) -> bool:
    """Say whether a field is one row found by a foreign key, which a LEFT JOIN cannot multiply."""
    if not isinstance(node, ToOne):
        return False
    relationship = mapper.relationships[node.attribute]
    if relationship.direction.name != "MANYTOONE" or relationship.secondary is not None:
        return False
    return any(key and key <= relationship.remote_side for key in _keys(relationship.mapper))


def _keys(mapper: Mapper[Any]) -> list[set[Any]]:
    """List the sets of columns that hold no two equal rows."""
    constraints = getattr(mapper.local_table, "constraints", ())
    unique = [set(constraint.columns) for constraint in constraints if isinstance(constraint, UniqueConstraint)]
    return [set(mapper.primary_key), *unique]


def _identity(level: Level) -> ColumnElement[Any]:
    key = level.mapper.get_property_by_column(level.mapper.primary_key[0]).key
    return getattr(level.entity, key)  # type: ignore[no-any-return]


def _order(node: Field, inner: Level) -> list[ColumnElement[Any]]:
    """Apply the relationship's own order to the aliases of its level."""
    assert inner.parent is not None  # noqa: S101 - it was entered from a level
    above, related = inner.parent
    relationship = above.mapper.relationships[node.attribute]
    ordered = list(relationship.order_by or ())
    adapters = [ClauseAdapter(inspect(inner.entity).selectable)]
    if relationship.secondary is not None:
        # The alias of the association table is known only to the condition.
        sources = related._from_objects  # noqa: SLF001 - nothing public
        adapters += [ClauseAdapter(source) for source in sources if source.is_derived_from(relationship.secondary)]
    for adapter in adapters:
        ordered = [adapter.traverse(clause) for clause in ordered]
    return ordered


def _concerns(option: LoaderCriteriaOption, mapper: Mapper[Any]) -> bool:
    return any(mapper.isa(concerned) for concerned in option._all_mappers())  # noqa: SLF001 - nothing public
