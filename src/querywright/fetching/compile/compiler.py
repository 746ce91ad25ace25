"""Turn a plan and the user's statement into one Select whose result is JSON text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from querywright.fetching.compile.form import Layout
from querywright.fetching.compile.groups import write_groups
from querywright.fetching.compile.joins import Joins
from querywright.fetching.compile.related import Criteria, Level
from querywright.fetching.compile.slots import primary_key
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

    Attributes:
        layout: How it returns what is asked for.
        writer: Writes JSON.
        dialect: The dialect of the connection.
        joins: Joins related rows, with the filters that hold for them.
        open: The numbers of what is left open, by the identities of the nodes.
    """

    layout: Layout
    writer: JsonWriter
    dialect: Dialect
    joins: Joins
    open: Mapping[int, int]

    @property
    def criteria(self) -> Criteria:
        """The filters that hold for related rows."""
        return self.joins.criteria

    def root(self, plan: Plan, statement: Select[Any]) -> Select[Any]:
        """Write the whole statement."""
        keys = root_keys(plan, statement, split=self.layout.split)
        rows, order = self._rows(statement, keys)
        if self.layout.guarded:
            rows = select(*rows.c).cte("querywright_rows")
        counted = rows
        if self.layout.form.limit is not None:
            some = related.limited(select(*rows.c).order_by(*order), self.layout.form.limit).subquery()
            adapter: Any = ClauseAdapter(some)
            rows, order = some, [adapter.traverse(clause) for clause in order]
        # A join may return rows in any order, so the order of the statement is kept as a number.
        if self.writer.keeps_order and _has_joins(plan):
            rows = select(*rows.c, func.row_number().over().label("n")).subquery()
            order = [rows.c.n]
        level = self.root_level(plan, rows, keys)
        item = self.item(plan.root, level)
        if self.layout.array:
            top = self.array(item, level, plan.root.path, order)
        else:
            top = level.select(self.writer.checked(item, plan.root.path)).order_by(*order)
        if self.layout.guarded:
            top = _guarded(top, counted)
        return self.finished(top, plan.root)

    def finished(self, top: Select[Any], node: Node) -> Select[Any]:
        """Add to the outermost statement what only that can have."""
        if self.layout.form.page:
            hint = self.writer.page_hint
        else:
            hint = self.writer.hint if has_arrays(node, self.layout) else ""
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
        level = Level(aliased(plan.mapper.class_, rows), rows, columns, joinable=self.writer.keeps_order)
        return self.joins.to(level, plan.root)

    def enter(self, node: ToOne | ToMany | Groups, level: Level) -> Level:
        """Follow a relationship, and join what is written of its rows."""
        return self.joins.to(related.enter(node.relationship, level, self.criteria, node.rows), node.target)

    def item(self, node: Node, level: Level) -> SQLText:
        """Write a node as text; NULL if it is null, or lacks a required value."""
        return self._open_row(node, level) if id(node) in self.joins.deep else self.written(node, level)

    def written(self, node: Node, level: Level) -> SQLText:
        """Write a node as text, however deep it lies."""
        if isinstance(node, Scalar):
            return self.text(node, level.column(node.source))
        return _WRITTEN[type(node)](self, node, level)

    def _object(self, node: Shape, level: Level) -> SQLText:
        members = [self._member(field, level) for field in node.fields if self.layout.writes(field)]
        return self.writer.compact(members) if self.layout.compact else self.writer.object(members)

    def _member(self, field: Field, level: Level) -> Member:
        return _MEMBERS[type(field.value)](self, self.layout.key(field), field.value, level)

    def _value_member(self, key: str, node: Scalar, level: Level) -> Member:
        column = level.column(node.source)
        required = None if node.nullable else column
        return Member(key, self._scalar(node, column), required, document=node.encoding is Encoding.JSON)

    def _row_member(self, key: str, node: ToOne, level: Level) -> Member:
        if not node.is_row:
            return self._fragment_member(key, node, level)
        text = self.written(node, level)
        if node.nullable and self.layout.compact:
            return Member(key, (self._unless_null(text),))
        return Member(key, (text,), required=text, whole=True)

    def _list_member(self, key: str, node: ToMany | Groups, level: Level) -> Member:
        text = self.written(node, level)
        return Member(key, (text,), required=text, whole=True)

    def _fragment_member(self, key: str, node: ToOne | Aggregate, level: Level) -> Member:
        text = self.written(node, level)
        return Member(key, (text,)) if node.nullable else Member(key, (text,), required=text)

    def _composite_member(self, key: str, node: Embedded, level: Level) -> Member:
        text = self.written(node, level)
        if node.columns and self.layout.compact:
            return Member(key, (self._unless_null(text),))
        return Member(key, (text,), required=text)

    def _unless_null(self, text: SQLText) -> SQLText:
        return func.nullif(text, self.writer.literal("null"))

    def _to_one(self, node: ToOne, level: Level) -> SQLText:
        inner = level.joined_rows.get(id(node))
        return self._single_row(node, level) if inner is None else self._joined_row(node, inner)

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
        use = use or ("model" if self.layout.for_model else "client")
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
        if self.layout.leaves_open(node):
            return self._mark(node, level.mapper, level)
        inner = self.enter(node, level)
        item = self.element(node.target, inner)
        order = related.order_of(node.relationship, inner, node.rows, node.path)
        return self.array(item, inner, node.path, order, node.rows.limit).scalar_subquery()

    def _open_row(self, node: Any, level: Level) -> SQLText:
        return self._mark(node, node.mapper, level)

    def _mark(self, node: Node, mapper: Mapper[Any], level: Level) -> SQLText:
        """Write where the rows of another statement belong."""
        mark, number = self.writer.slot, self.open[id(node)]
        return self.writer.join(mark, f"{number}:", self.key_text(mapper, level), mark)

    def key_text(self, mapper: Mapper[Any], level: Level) -> SQLText:
        """Write the primary key of a row as JSON."""
        texts = [self.wire_text(part, level.column(part.source)) for part in primary_key(mapper)]
        return self.writer.listed(texts)

    def element(self, node: Node, level: Level) -> SQLText:
        """Write an element of an array; NULL only if it lacks a required value."""
        item = self.item(node, level)
        return func.coalesce(item, self.writer.literal("null")) if node.nullable else item

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
        if shape.mapper is level.mapper:
            return self.item(shape, level)
        if level.joinable:
            return self.item(shape, level.joined_rows[id(shape)])
        inner = self.joins.to(related.subclass(shape.mapper, level, self.criteria), shape)
        return inner.select(self.item(shape, inner)).scalar_subquery()

    def _joined_row(self, node: ToOne, inner: Level) -> SQLText:
        """Write what a plain LEFT JOIN on a foreign key finds: at most one row."""
        text = self._row_text(node, inner)
        there = related.identity(inner).is_not(None)
        if node.is_row:
            return case((there, text), else_=self._no_row(node))
        # A column of a row that is not there is NULL; all else may have a value.
        plain = isinstance(node.target, Scalar) and is_column(node.target.source, inner.mapper)
        return text if plain else case((there, text))

    def _single_row(self, node: ToOne, level: Level) -> SQLText:
        """Follow any other relationship to one row; nothing guarantees that there is only one."""
        inner = self.enter(node, level)
        text = self._row_text(node, inner)
        order = related.order_of(node.relationship, inner, node.rows, "")
        row = related.limited(inner.select(text).order_by(*order), 1).scalar_subquery()
        return func.coalesce(row, self._no_row(node)) if node.is_row else row

    def _row_text(self, node: ToOne, inner: Level) -> SQLText:
        text = self.item(node.target, inner)
        return self.writer.checked(text, _path(node)) if node.is_row else text

    def _no_row(self, node: ToOne) -> SQLText:
        return self.writer.literal("null") if node.nullable else self.writer.broken(_path(node))


_WRITTEN: dict[type, Callable[[SelectCompiler, Any, Level], SQLText]] = {
    Shape: SelectCompiler._object,  # noqa: SLF001 - its own
    Variants: SelectCompiler._variants,  # noqa: SLF001 - as above
    Embedded: SelectCompiler._embedded,  # noqa: SLF001 - as above
    ToOne: SelectCompiler._to_one,  # noqa: SLF001 - as above
    ToMany: SelectCompiler._to_many,  # noqa: SLF001 - as above
    Groups: write_groups,
    Aggregate: SelectCompiler._aggregate,  # noqa: SLF001 - as above
}
_MEMBERS: dict[type, Callable[[SelectCompiler, str, Any, Level], Member]] = {
    Scalar: SelectCompiler._value_member,  # noqa: SLF001 - as above
    ToOne: SelectCompiler._row_member,  # noqa: SLF001 - as above
    ToMany: SelectCompiler._list_member,  # noqa: SLF001 - as above
    Groups: SelectCompiler._list_member,  # noqa: SLF001 - as above
    Aggregate: SelectCompiler._fragment_member,  # noqa: SLF001 - as above
    Embedded: SelectCompiler._composite_member,  # noqa: SLF001 - as above
}


def has_arrays(node: Node, layout: Layout) -> bool:
    """Return whether the database aggregates rows into text, at any level."""
    lists = (below for below in walk(node) if isinstance(below, (ToMany, Groups)))
    return layout.array or not all(isinstance(below, ToMany) and layout.leaves_open(below) for below in lists)


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
