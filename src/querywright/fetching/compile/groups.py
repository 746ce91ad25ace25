"""Write a dict of the rows of a relationship: one array of items for each key, then one object of those arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, Select, case, cast, func, literal_column, select, tuple_

from querywright.fetching.compile import related
from querywright.fetching.compile.related import Level
from querywright.fetching.compile.writing import Compiler
from querywright.fetching.plan.nodes import Groups
from querywright.fetching.writers import SEVERAL, TOO_LARGE, JsonWriter, SQLText

__all__ = ["write_groups"]


def write_groups(compiler: Compiler, node: Groups, level: Level) -> SQLText:
    """Write a dict of the rows that belong to a row of a level."""
    if not compiler.writer.outer_rows_in_from:
        return _in_place(compiler, node, level)
    writer = compiler.writer
    inner = compiler.enter(node, level)
    item = writer.checked(compiler.element(node.target, inner), node.path)
    key, written = inner.column(node.key.source), _key(compiler, node, inner)
    order = related.order_of(node.relationship, inner, node.rows, node.path)
    # A database that groups rows by hashing them loses the order of a subquery.
    position = func.row_number().over(order_by=order) if order and writer.aggregate_orders else literal_column("0")
    items = inner.select(item, key.label("k"), written.label("w"), position.label("n")).order_by(*order).subquery()
    array = writer.aggregate(items.c.o, [items.c.n] if order and writer.aggregate_orders else ())
    array = _only(writer, items.c.o) if node.single else writer.join("[", array, "]")
    group = writer.join(_quoted(writer, items.c.w), ":", array).label("o")
    groups = select(group, items.c.k).group_by(items.c.k, items.c.w).order_by(items.c.k).subquery()
    whole = writer.enclosed("{", writer.aggregate(groups.c.o, [groups.c.k] if writer.aggregate_orders else ()), "}")
    return select(whole).select_from(groups).scalar_subquery()


def _in_place(compiler: Compiler, node: Groups, level: Level) -> SQLText:
    """Do without a subquery in FROM: the first row of each group writes the whole group."""
    writer, rows = compiler.writer, compiler.enter(node, level)
    firsts, others = (
        related.enter(node.relationship, level, compiler.criteria, which)
        for which in (replace(node.rows, distinct=True), node.rows)
    )
    key, written = firsts.column(node.key.source), _key(compiler, node, firsts)
    group = _group(compiler, node, rows).where(_alike(_key(compiler, node, rows), written))
    sooner = tuple_(*related.identity_columns(others.entity)) < tuple_(*related.identity_columns(firsts.entity))
    another = others.select(writer.literal("1")).where(_alike(_key(compiler, node, others), written), sooner)
    array = group.correlate(firsts.source).scalar_subquery()
    pair = writer.checked(writer.join(_quoted(writer, written), ":", array), TOO_LARGE)
    pairs = writer.aggregate(pair, [key, cast(written, LargeBinary)])
    whole = firsts.select(writer.enclosed("{", pairs, "}"))
    return whole.where(key.is_not(None), ~another.correlate(firsts.source).exists()).scalar_subquery()


def _key(compiler: Compiler, node: Groups, level: Level) -> SQLText:
    return compiler.text(node.key, level.column(node.key.source))


def _group(compiler: Compiler, node: Groups, rows: Level) -> Select[Any]:
    """Select the items of a group."""
    item = compiler.element(node.target, rows)
    if node.single:
        return rows.select(_only(compiler.writer, compiler.writer.checked(item, node.path)))
    order = related.order_of(node.relationship, rows, node.rows, node.path)
    return compiler.array(item, rows, node.path, order)


def _only(writer: JsonWriter, item: SQLText) -> ColumnElement[str]:
    """Write the only row of a group; which one of several is meant, nobody knows."""
    return case((func.count() > 1, writer.broken(SEVERAL)), else_=func.max(item))


def _quoted(writer: JsonWriter, written: SQLText) -> SQLText:
    """Make a key of a value that is written as JSON."""
    is_text = written.like(writer.literal('"%'))
    return case((is_text, written), else_=writer.join('"', written, '"'))


def _alike(one: SQLText, other: SQLText) -> ColumnElement[bool]:
    """Compare texts byte by byte, for most collations take "a" for "A"."""
    return cast(one, LargeBinary) == cast(other, LargeBinary)
