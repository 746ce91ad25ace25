"""Pages: what a page is, and the one statement that returns its rows, its total and its cursors."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import FromClause, Select, bindparam, func, literal_column, select, true
from sqlalchemy.types import Integer

from querywright.errors import InvalidPage
from querywright.fetching.compile.compiler import SelectCompiler
from querywright.fetching.compile.form import PageForm
from querywright.fetching.compile.keyset import behind, ordering
from querywright.fetching.compile.related import expression_of
from querywright.fetching.compile.sorting import Order, order_of
from querywright.fetching.compile.statement import root_entity, root_keys, root_mapper
from querywright.fetching.mapping.clauses import has_limit, has_locks, is_distinct, without_locks
from querywright.fetching.mapping.froms import with_values
from querywright.fetching.mapping.identity import whole_row
from querywright.fetching.plan.nodes import Plan

__all__ = ["MOST_ROWS", "OFFSET", "Page", "compile_page", "count_of", "counted", "require_size"]

MOST_ROWS = 1000
OFFSET = "querywright_offset"
Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """Some rows of a list, and how to get to the others.

    Attributes:
        items: The rows.
        total: How many rows the whole list has; ``None`` if they were not counted.
        next: What to pass as ``after`` for the next page; ``None`` at the end.
        previous: What to pass as ``before`` for the page before; ``None`` at the start.
    """

    items: list[Item]
    total: int | None = None
    next: str | None = None
    previous: str | None = None


def require_size(size: int, number: int | None) -> None:
    """Check what a client asked for.

    Raises:
        InvalidPage: The size or the number is out of bounds.
    """
    if not 1 <= size <= MOST_ROWS:
        raise InvalidPage(f"A page has 1 to {MOST_ROWS} rows, not {size}.")
    if number is not None and not 1 <= number <= 2**31:
        raise InvalidPage(f"There is no page number {number}.", hint="The first is 1.")


def compile_page(compiler: SelectCompiler, plan: Plan, statement: Select[Any], page: PageForm) -> Select[Any]:
    """Write the statement of a page: for each row its JSON, the total, and the values of its cursor.

    There is a row with the total even if the page has none.
    """
    keys = root_keys(plan, statement)
    order = order_of(statement, compiler.writer, keys)
    numbered = _numbered_rows(compiler, order, page)
    level = compiler.root_level(plan, numbered, keys)
    item = compiler.writer.checked(compiler.item(plan.root, level), plan.root.path)
    sorted_by = [numbered.c[name] for name in _names(order)] if page.by_keyset else []
    position = [part for column in sorted_by for part in compiler.writer.position(column)]
    labelled = [part.label(f"p{place}") for place, part in enumerate(position)]
    top = _with_total(level.select(item, *labelled, numbered.c.n), statement, total=page.total)
    return compiler.finished(top, plan.root)


def _names(order: Order) -> list[str]:
    return [f"k{position}" for position, _ in enumerate(order.sorts)]


def _numbered_rows(compiler: SelectCompiler, order: Order, page: PageForm) -> FromClause:
    """Select the rows of a page, what they are ordered by and their numbers."""
    named = list(zip(_names(order), order.sorts, strict=True))
    bare = with_values(order.statement, {name: sort.expression for name, sort in named})
    sorts = [sort.on(bare.c[name]) for name, sort in named]
    sorts = [sort.reversed for sort in sorts] if page.backwards else sorts
    rows = select(*bare.c).order_by(*ordering(sorts, compiler.writer)).limit(literal_column(str(page.size + 1)))
    if page.behind is not None:
        rows = rows.where(behind(sorts, page.behind, compiler.writer))
    offset = literal_column("0") if page.by_keyset else bindparam(OFFSET, type_=Integer)
    limited = rows.offset(offset).subquery()
    again = [sort.on(limited.c[name]) for name, sort in zip(_names(order), sorts, strict=True)]
    return select(*limited.c, compiler.row_number(ordering(again, compiler.writer)).label("n")).subquery()


def count_of(statement: Select[Any]) -> Select[Any]:
    """Count the rows of a statement."""
    return select(func.count()).select_from(counted(statement).subquery())


def counted(statement: Select[Any]) -> Select[Any]:
    """Give a statement whose rows are only counted, or looked for: it needs no order and no locks."""
    # Under a limit the order says which rows there are, and FETCH ... WITH TIES has to have one.
    rows: Any = statement if has_limit(statement) else statement.order_by(None)
    if is_distinct(rows):
        # What is fetched of them: SELECT would leave deferred columns out, and more rows were alike.
        entity = root_entity(rows)
        rows = rows.with_only_columns(*(expression_of(entity, source) for source in whole_row(root_mapper(rows))))
    if has_locks(rows):
        rows = without_locks(rows)
    return rows  # type: ignore[no-any-return]


def _with_total(rows: Select[Any], statement: Select[Any], *, total: bool) -> Any:
    """Select the JSON of each row, the total, and where the row stands."""
    items = rows.subquery()
    text, *position = [column for column in items.c if column.key != "n"]
    if not total:
        return select(text, literal_column("NULL"), *position).order_by(items.c.n)
    one = select(count_of(statement).scalar_subquery().label("total")).subquery()
    return select(text, one.c.total, *position).select_from(one.outerjoin(items, true())).order_by(items.c.n)
