"""Turn a plan and the user's statement into one Select whose result is JSON text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Dialect,
    FromClause,
    Integer,
    Select,
    Text,
    bindparam,
    case,
    cast,
    func,
    or_,
    select,
)
from sqlalchemy.orm import Mapper, aliased
from sqlalchemy.sql.elements import Null
from sqlalchemy.sql.util import ClauseAdapter

from querywright.errors import ShapeError
from querywright.fetching.compile import related
from querywright.fetching.compile.form import Form
from querywright.fetching.compile.groups import write_groups
from querywright.fetching.compile.related import Criteria, Level
from querywright.fetching.compile.slots import OpenList, OpenRow, primary_key
from querywright.fetching.compile.statement import inner_rows, is_column, ordered_rows, root_keys
from querywright.fetching.mapping.cardinality import leads_to_one
from querywright.fetching.mapping.rowkeys import plain
from querywright.fetching.plan.nodes import (
    Aggregate,
    Embedded,
    Encoding,
    Field,
    Groups,
    Node,
    Plan,
    Scalar,
    Shape,
    Source,
    ToMany,
    ToOne,
    Variants,
    walk,
)
from querywright.fetching.plan.types import storage_encoding, stored_type
from querywright.fetching.writers import JsonWriter, Member, SQLText
from querywright.fetching.writers.base import Use, Value

__all__ = ["MOST", "SelectCompiler", "has_arrays"]

MOST = "querywright_most"


@dataclass(frozen=True)
class SelectCompiler:
    """Writes the statement that returns a plan's rows as JSON text.

    The user's statement becomes an inner subquery with only the columns that are needed, so its WHERE, ORDER BY and
    LIMIT decide which rows there are before anything is joined to them.
    """

    form: Form
    writer: JsonWriter
    dialect: Dialect
    criteria: Criteria
    deep: frozenset[int] = frozenset()
    open: list[OpenList | OpenRow] = field(default_factory=list)

    def root(self, plan: Plan, statement: Select[Any]) -> Select[Any]:
        """Write the whole statement."""
        keys = root_keys(plan, statement, split=self.form.split)
        rows, order = self._rows(statement, keys)
        if self.form.guarded:
            rows = select(*rows.c).cte("querywright_rows")
        counted = rows
        if self.form.limit is not None:
            some = related.limited(select(*rows.c).order_by(*order), self.form.limit).subquery()
            adapter: Any = ClauseAdapter(some)
            rows, order = some, [adapter.traverse(clause) for clause in order]
        # A join may return rows in any order, so the order of the statement is kept as a number.
        if self.writer.keeps_order and _has_joins(plan):
            rows = select(*rows.c, func.row_number().over().label("n")).subquery()
            order = [rows.c.n]
        level = self.root_level(plan, rows, keys)
        item = self.item(plan.root, level)
        if self.form.array:
            top = self.array(item, level, plan.root.path, order)
        else:
            top = level.select(self.writer.checked(item, plan.root.path)).order_by(*order)
        if self.form.guarded:
            top = _guarded(top, counted)
        return self.finished(top, plan.root)

    def finished(self, top: Select[Any], node: Node) -> Select[Any]:
        """Add to the outermost statement what only that can have."""
        hint = self.writer.page_hint if self.form.page else self.writer.hint if has_arrays(node, self.form) else ""
        if hint:
            top = top.prefix_with(hint)
        # Only a top-level statement hands its criteria to the SELECTs inside it.
        return top.options(*self.criteria)

    def row_number(self, order: Sequence[Any]) -> ColumnElement[int]:
        """Number the rows of an ordered subquery, whose order is given for a database where it would be lost."""
        return func.row_number().over(order_by=None if self.writer.keeps_order else order)

    def _rows(self, statement: Select[Any], keys: dict[Source, str]) -> tuple[FromClause, list[Any]]:
        """Select the rows of the root; with an order where the database does not keep that of a subquery."""
        return (inner_rows(statement, keys), []) if self.writer.keeps_order else ordered_rows(statement, keys)

    def root_level(self, plan: Plan, rows: FromClause, keys: dict[Source, str]) -> Level:
        """Make the outermost level of the rows of the user's statement."""
        columns = {key: rows.c[name] for key, name in keys.items()}
        return Level(aliased(plan.mapper.class_, rows), rows, columns, joinable=self.writer.keeps_order)

    def item(self, node: Node, level: Level) -> SQLText:
        """Write a node as text; NULL if it is null, or lacks a required value."""
        return self._open_row(node, level) if id(node) in self.deep else self.written(node, level)

    def written(self, node: Node, level: Level) -> SQLText:
        """Write a node as text, however deep it lies."""
        if isinstance(node, Shape):
            members = [self._member(field, level) for field in node.fields if self._is_written(field)]
            return self.writer.compact(members) if self._compact else self.writer.object(members)
        if isinstance(node, Variants):
            return self._variants(node, level)
        return self.writer.text(self._value(node, level))

    @property
    def _compact(self) -> bool:
        return self.form.exclude_none and not self.form.for_model

    def _is_written(self, field: Field) -> bool:
        if self.form.for_model:
            return True
        return not field.excluded and (self.form.only is None or field.path in self.form.only)

    def _member(self, field: Field, level: Level) -> Member:
        node, value = field.value, self._value(field.value, level)
        key = field.input_key if self.form.for_model else field.key if self.form.by_alias else field.name
        if isinstance(node, Scalar):
            required = None if node.nullable else level.column(node.source)
            return Member(key, value, required, document=node.encoding is Encoding.JSON)
        assert isinstance(value, tuple)  # noqa: S101 - all but plain values are fragments
        [text] = value
        nullable = getattr(node.value if isinstance(node, Aggregate) else node, "nullable", False)
        if nullable and (isinstance(node, Aggregate) or self._compact or not _is_row(node)):
            return Member(key, (func.nullif(text, self.writer.literal("null")),) if _is_row(node) else value)
        if isinstance(node, Embedded) and node.columns and self._compact:
            return Member(key, (func.nullif(text, self.writer.literal("null")),))
        whole = isinstance(node, (ToMany, Groups)) or _is_row(node)
        return Member(key, value, required=text, whole=whole)  # type: ignore[arg-type]

    def _value(self, node: Node, level: Level) -> Value:
        if isinstance(node, Scalar):
            return self._scalar(node, level.column(node.source))
        if isinstance(node, ToMany):
            return (self._to_many(node, level),)
        if isinstance(node, Groups):
            return (write_groups(self, node, level),)
        if isinstance(node, Aggregate):
            return (self._aggregate(node, level),)
        if isinstance(node, Embedded):
            return (self._embedded(node, level),)
        assert isinstance(node, ToOne)  # noqa: S101 - rows lie inside of relationships
        relationship = level.mapper.relationships[node.relationship]
        joined = node.rows is None and level.joinable and leads_to_one(relationship)
        return (self._joined_row(node, level) if joined else self._single_row(node, level),)

    def _scalar(self, node: Scalar, column: ColumnElement[Any], use: Use | None = None) -> Value:
        column_type = stored_type(node.type, self.dialect)
        encoding = storage_encoding(column_type)
        if isinstance(plain(column), Null):
            # What a query_expression() is without an expression: PostgreSQL asks for the type of a function's argument.
            column = cast(column, Text)
        # What a type does in SQL when it is read, SQLAlchemy adds only to the outermost SELECT.
        read = column.type.dialect_impl(self.dialect).column_expression(column)
        column = column if read is None else read
        if encoding is None or not self.writer.writes(encoding):
            raise ShapeError(node.path, f"Querywright cannot read {column_type!r} on {self.dialect.name}.")
        use = use or ("model" if self.form.for_model else "client")
        return self.writer.value(encoding, column, column_type, use=use)

    def text(self, node: Scalar, column: ColumnElement[Any]) -> SQLText:
        """Write a value as JSON."""
        return self.writer.text(self._scalar(node, column))

    def wire_text(self, node: Scalar, column: ColumnElement[Any]) -> SQLText:
        """Write a value as text that Python reads back."""
        return self.writer.text(self._scalar(node, column, "wire"))

    def array(
        self, item: SQLText, level: Level, path: str, order: Sequence[Any], limit: int | None = None
    ) -> Select[Any]:
        """Select one array with the items of all rows, in an order."""
        if limit is not None and not self.writer.outer_rows_in_from:
            return level.select(self.writer.array(item, path, order, limit))
        if limit is None and (self.writer.aggregate_orders or not order):
            return level.select(self.writer.array(item, path, order))
        rows = level.select(item).order_by(*order)
        items = (rows if limit is None else related.limited(rows, limit)).subquery()
        return select(self.writer.array(items.c.o, path)).select_from(items)

    def _to_many(self, node: ToMany, level: Level) -> SQLText:
        if self.form.split and _is_open(node):
            return self._slot(node, level)
        inner = related.enter(node.relationship, level, self.criteria, node.rows)
        item = self.element(node.target, inner)
        order = related.order_of(node.relationship, inner, node.rows, node.path)
        return self.array(item, inner, node.path, order, node.rows.limit).scalar_subquery()

    def _slot(self, node: ToMany, level: Level) -> SQLText:
        """Leave a list open."""
        self.open.append(OpenList(len(self.open), node, level.mapper))
        return self._mark(level.mapper, level)

    def _open_row(self, node: Any, level: Level) -> SQLText:
        """Leave a row open."""
        self.open.append(OpenRow(len(self.open), node))
        return self._mark(node.mapper, level)

    def _mark(self, mapper: Mapper[Any], level: Level) -> SQLText:
        mark = self.writer.slot
        return self.writer.join(mark, f"{len(self.open) - 1}:", self.key_text(mapper, level), mark)

    def key_text(self, mapper: Mapper[Any], level: Level) -> SQLText:
        """Write the primary key of a row as JSON."""
        texts = [self.wire_text(part, level.column(part.source)) for part in primary_key(mapper)]
        return self.writer.listed(texts)

    def element(self, node: Node, level: Level) -> SQLText:
        """Write an element of an array; NULL only if it lacks a required value."""
        item = self.item(node, level)
        nullable = getattr(node.value if isinstance(node, Aggregate) else node, "nullable", False)
        return func.coalesce(item, self.writer.literal("null")) if nullable else item

    def _aggregate(self, node: Aggregate, level: Level) -> SQLText:
        inner = related.enter(node.relationship, level, self.criteria, node.rows)
        value: Any
        if node.function == "exists":
            some = inner.select(self.writer.literal("1")).exists()
            return self.text(node.value, some)
        value = func.count() if node.of is None else self._aggregated(node.function, inner.column(node.of))
        if node.function == "sum" and not node.value.nullable:
            value = func.coalesce(value, self.writer.zero(node.value.type))
        text = self.text(node.value, value)
        return inner.select(text).scalar_subquery()

    def _aggregated(self, function: str, column: ColumnElement[Any]) -> Any:
        if function == "avg":
            return self.writer.average(column)
        if function in {"min", "max"}:
            return self.writer.extreme(function, column)
        return func.count(column.distinct()) if function == "count" else getattr(func, function)(column)

    def _embedded(self, node: Embedded, level: Level) -> SQLText:
        text = self.item(node.shape, level)
        if not node.columns:
            return text
        some = [level.column(name).is_not(None) for name in node.columns]
        return case((or_(*some), text), else_=self.writer.literal("null"))

    def _variants(self, node: Variants, level: Level) -> SQLText:
        """Write the shape that the row's discriminator asks for."""
        discriminator = level.column(node.discriminator.source)
        whens: list[Any] = [
            (or_(*(discriminator == value for value in values)), self._variant(shape, level))
            for values, shape in node.cases
        ]
        return case(*whens)

    def _variant(self, shape: Shape, level: Level) -> SQLText:
        inner = related.subclass(shape.mapper, level, self.criteria)
        item = self.item(shape, inner)
        return item if level.joinable or inner is level else inner.select(item).scalar_subquery()

    def _joined_row(self, node: ToOne, level: Level) -> SQLText:
        """Follow a foreign key with a plain LEFT JOIN: it finds at most one row."""
        inner = related.enter(node.relationship, level, self.criteria)
        assert inner.link is not None  # noqa: S101 - it was entered from a level
        level.joins.append((inner.entity, inner.link.condition))
        text = self._row_text(node, inner)
        level.joins.extend(inner.joins)
        there = related.identity(inner).is_not(None)
        if _is_row(node):
            return case((there, text), else_=self._no_row(node))
        # A column of a row that is not there is NULL; all else may have a value.
        plain = isinstance(node.target, Scalar) and is_column(node.target.source, inner.mapper)
        return text if plain else case((there, text))

    def _single_row(self, node: ToOne, level: Level) -> SQLText:
        """Follow any other relationship to one row; nothing guarantees that there is only one."""
        inner = related.enter(node.relationship, level, self.criteria, node.rows)
        text = self._row_text(node, inner)
        order = related.order_of(node.relationship, inner, node.rows, "")
        row = related.limited(inner.select(text).order_by(*order), 1).scalar_subquery()
        return func.coalesce(row, self._no_row(node)) if _is_row(node) else row

    def _row_text(self, node: ToOne, inner: Level) -> SQLText:
        text = self.item(node.target, inner)
        return self.writer.checked(text, _path(node)) if _is_row(node) else text

    def _no_row(self, node: ToOne) -> SQLText:
        return self.writer.literal("null") if node.nullable else self.writer.broken(_path(node))


def has_arrays(node: Node, form: Form) -> bool:
    """Return whether the database aggregates rows into text, at any level."""
    lists = (below for below in walk(node) if isinstance(below, (ToMany, Groups)))
    return form.array or any(not (form.split and _is_open(below)) for below in lists)


def _is_open(node: ToMany | Groups) -> bool:
    """Return whether a list is left open, if each level has a statement of its own."""
    return isinstance(node, ToMany) and node.rows.limit is None


def _is_row(node: Node) -> bool:
    return isinstance(node, ToOne) and isinstance(node.target, (Shape, Variants))


def _path(node: ToOne) -> str:
    return getattr(node.target, "path", node.relationship)


def _has_joins(plan: Plan) -> bool:
    if isinstance(plan.root, Variants):
        return True
    nodes = (field.value for field in plan.root.fields)
    to_one = (node for node in nodes if isinstance(node, ToOne) and node.rows is None)
    return any(leads_to_one(plan.mapper.relationships[node.relationship]) for node in to_one)


def _guarded(array: Select[Any], rows: FromClause) -> Select[Any]:
    """Select the array, unless there are too many rows for it, and how many there are."""
    count = select(func.count()).select_from(rows).scalar_subquery()
    few = count <= bindparam(MOST, type_=Integer)
    # PostgreSQL does not run a subquery before CASE asks for it (manual, 4.2.14).
    guarded: Any = select(case((few, array.scalar_subquery())).label("o"), count.label("n"))
    return guarded  # type: ignore[no-any-return]
