"""Split a fetch into one statement for each level: lists are left open, and filled by the rows of the next level.

Where the array of a relationship belongs, the JSON of a row has a slot: a number and the row's key between two U+0002,
which JSON text never holds. The statement of a slot returns the rows that belong to many keys at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Dialect, Select, bindparam, select, tuple_
from sqlalchemy.orm import Mapper, aliased

from querywright.errors import ShapeError
from querywright.fetching.compile import related
from querywright.fetching.compile.binding import Binder
from querywright.fetching.compile.form import Form, Layout
from querywright.fetching.compile.related import Level
from querywright.fetching.compile.writing import Compiler
from querywright.fetching.decode.text import verify
from querywright.fetching.decode.values import row_reader
from querywright.fetching.mapping.attributes import Attribute, attribute_of
from querywright.fetching.mapping.clauses import has_limit
from querywright.fetching.mapping.identity import Discriminator, identity_of
from querywright.fetching.plan.nodes import Encoding, Groups, Node, Plan, Scalar, Shape, ToMany, ToOne, Variants, walk
from querywright.fetching.plan.scalars import internal
from querywright.fetching.writers import JsonWriter

__all__ = [
    "KEYS", "OpenList", "OpenRow", "Slot", "choose", "left_open", "primary_key", "statement_of",
]  # fmt: skip

KEYS = "querywright_keys"


@dataclass(frozen=True)
class OpenList:
    """A list that another statement fills.

    Attributes:
        node: What fills it.
        mapper: The class of the rows it belongs to.
    """

    node: ToMany
    mapper: Mapper[Any]


@dataclass(frozen=True)
class OpenRow:
    """A row that another statement writes, for it lies too deep.

    Attributes:
        node: What of it is wanted.
    """

    node: Shape | Variants

    @property
    def mapper(self) -> Mapper[Any]:
        """The class of the row."""
        return self.node.mapper


def left_open(plan: Plan, layout: Layout, deep: frozenset[int]) -> tuple[OpenList | OpenRow, ...]:
    """List what is left open of a plan, by its numbers.

    Args:
        plan: The plan.
        layout: How it is written.
        deep: The rows that lie too deep, by their identities.
    """
    return tuple(_left_open(plan.root, plan.mapper, layout, deep))


def _left_open(node: Node, mapper: Mapper[Any], layout: Layout, deep: frozenset[int]) -> Iterator[OpenList | OpenRow]:
    if isinstance(node, (Shape, Variants)):
        mapper = node.mapper
        if id(node) in deep:
            yield OpenRow(node)
    elif isinstance(node, (ToOne, ToMany, Groups)):
        if isinstance(node, ToMany) and layout.leaves_open(node):
            yield OpenList(node, mapper)
        mapper = mapper.relationships[node.relationship].mapper
    inside = (each.value for each in node.fields if layout.writes(each)) if isinstance(node, Shape) else node.inner
    for part in inside:
        yield from _left_open(part, mapper, layout, deep)


@dataclass(frozen=True)
class Slot:
    """The compiled statement of what was left open.

    Attributes:
        binder: Returns the key of a row above and the JSON of a row that belongs to it, or that is it.
        key: The primary key of the rows above.
        is_list: Whether any number of rows belongs there, or one.
    """

    binder: Binder
    key: tuple[Scalar, ...]
    is_list: bool = True

    def values(self, keys: Sequence[str], dialect: Dialect) -> list[Any]:
        """Turn keys, as they stand in slots, into values to bind.

        Raises:
            InvalidRow: No driver can bind one.
        """
        read_key = row_reader(self.key, dialect)
        read = [read_key(json.loads(verify(key))) for key in keys]
        return [values[0] for values in read] if len(self.key) == 1 else read


def choose(form: Form, plan: Plan, statement: Select[Any], writer: JsonWriter) -> Layout:
    """Decide how what is asked for is written.

    Left to itself, a statement with a limit is run as it is. Without one, the database first counts the rows, and
    leaves the rest to the levels if their JSON would be too large.
    """
    # Where the client joins the rows, the database holds one at a time.
    large = writer.client_joins and any(isinstance(node, ToMany) for node in plan.root.inner)
    layout = Layout(form, array=form.array and not large, for_model=form.for_model or not plan.exact)
    if plan.depth == 0 or form.strategy == "statement":
        return layout
    too_deep = writer.most_lists is not None and plan.depth > writer.most_lists
    if form.strategy == "auto" and not too_deep and _has_inexact_keys(plan):
        return layout
    if form.strategy == "levels" or too_deep:
        return replace(layout, array=False, split=True)
    limited = has_limit(statement)
    return layout if limited or not form.array or writer.client_joins else replace(layout, guarded=True)


def _has_inexact_keys(plan: Plan) -> bool:
    mappers = {node.mapper for node in walk(plan.root) if isinstance(node, (Shape, Variants))}
    return any(_is_inexact(part) for mapper in mappers for part in _parts(mapper))


def _is_inexact(part: Scalar) -> bool:
    """Return whether a value may not be equal to itself when it comes back, as 0.1 of a REAL is bound as a double."""
    return part.encoding is Encoding.FLOAT


def primary_key(mapper: Mapper[Any]) -> tuple[Scalar, ...]:
    """Plan how what tells the rows of a class apart is written into a slot.

    Raises:
        ShapeError: It would not find them again.
    """
    parts = _parts(mapper)
    if any(map(_is_inexact, parts)):
        reason = f"{mapper.class_.__name__} has a key of floating-point numbers, by which rows are not found again."
        raise ShapeError("strategy", reason, hint='Let one statement fetch all, with strategy="statement".')
    return parts


def _parts(mapper: Mapper[Any]) -> tuple[Scalar, ...]:
    return tuple(_part(source, mapper) for source in identity_of(mapper))


def _part(source: str | Discriminator, mapper: Mapper[Any]) -> Scalar:
    if isinstance(source, str):
        return internal(attribute_of(mapper, source, source), source)
    where = f"{mapper.class_.__name__}'s discriminator"
    made = Attribute("", source(mapper.class_).type, nullable=False, where=where)
    return replace(internal(made, where), source=source)


def statement_of(compiler: Compiler, opened: OpenList | OpenRow) -> Select[Any]:
    """Write the statement that fills what was left open of many rows at once."""
    if isinstance(opened, OpenList):
        return _statement_of_list(compiler, opened)
    row: Any = aliased(opened.mapper.class_)
    related.exempt(row, compiler.criteria)
    level = compiler.joins.to_written(Level(row, row), opened.node)
    item = compiler.writer.checked(compiler.written(opened.node, level), opened.node.path)
    statement: Any = select(compiler.key_text(opened.mapper, level).label("k"), item.label("o")).select_from(row)
    statement = level.joined(statement)
    return compiler.finished(statement.where(_among(related.identity_columns(row))), opened.node)


def _among(key: list[Any]) -> ColumnElement[bool]:
    """Ask for the rows of many keys."""
    wanted: Any = bindparam(KEYS, expanding=True)
    among: ColumnElement[bool] = (key[0] if len(key) == 1 else tuple_(*key)).in_(wanted)
    return among


def _statement_of_list(compiler: Compiler, open_list: OpenList) -> Select[Any]:
    node, parent = open_list.node, aliased(open_list.mapper.class_)
    related.exempt(parent, compiler.criteria)
    above = Level(parent, parent)
    inner = compiler.enter(node, above)
    item = compiler.writer.checked(compiler.element(node.target, inner), node.path)
    order = related.order_of(node.relationship, inner, node.rows, node.path)
    assert inner.link is not None  # noqa: S101 - it was entered from a level
    statement: Any = select(compiler.key_text(open_list.mapper, above).label("k"), item.label("o")).select_from(parent)
    statement = inner.joined(inner.link.join_from_above(statement, inner.source))
    chosen = statement.where(_among(related.identity_columns(parent)))
    return compiler.finished(inner.link.tied(chosen.order_by(*order)), node.target)
