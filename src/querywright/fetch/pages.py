"""Pages: what a page is, and the one statement that returns its rows, its total and its cursors."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import Select, bindparam, func, literal_column, select, true
from sqlalchemy.types import Integer

from querywright.errors import InvalidPage, ShapeError
from querywright.fetch.attributes import Attribute
from querywright.fetch.compile import SelectCompiler, inner_rows, root_entity, root_keys
from querywright.fetch.form import PageForm
from querywright.fetch.keyset import Sort, behind, ordering, sorts_of
from querywright.fetch.nodes import Plan, Scalar
from querywright.fetch.scalars import internal

__all__ = ["MOST_ROWS", "OFFSET", "Page", "compile_page", "count_of", "cursor_scalars", "require_size"]

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


def page_sorts(statement: Select[Any], compiler: SelectCompiler) -> tuple[Sort, ...]:
    """Read the order of a statement that has pages.

    Raises:
        ShapeError: It has a limit of its own.
    """
    if statement._limit_clause is not None or statement._offset_clause is not None:  # noqa: SLF001 - nothing public
        raise ShapeError("statement", "it has a limit of its own, and page() sets one.", hint="Leave it out.")
    return sorts_of(statement, root_entity(statement), compiler.writer)


def cursor_scalars(sorts: tuple[Sort, ...]) -> list[Scalar]:
    """Plan how the values are written that a cursor holds."""
    found = (
        Attribute(f"k{n}", sort.expression.type, nullable=True, where=str(sort.expression))
        for n, sort in enumerate(sorts)
    )
    return [internal(attribute, "order_by") for attribute in found]


def compile_page(compiler: SelectCompiler, plan: Plan, statement: Select[Any], page: PageForm) -> Select[Any]:
    """Write the statement of a page: for each row its JSON, the values of its cursor, and the total.

    There is a row with the total even if the page has none.
    """
    keys = root_keys(plan, statement)
    sorts = page_sorts(statement, compiler)
    labelled = [sort.expression.label(f"k{n}") for n, sort in enumerate(sorts)]
    bare = inner_rows(statement.order_by(None), keys, labelled)
    inner = [sort.on(bare.c[f"k{n}"]) for n, sort in enumerate(sorts)]
    inner = [sort.reversed for sort in inner] if page.backwards else inner
    rows = select(*bare.c).order_by(*ordering(inner, compiler.writer)).limit(literal_column(str(page.size + 1)))
    if page.behind_nulls is not None:
        rows = rows.where(behind(inner, page.behind_nulls, compiler.writer))
    offset = literal_column("0") if page.by_keyset else bindparam(OFFSET, type_=Integer)
    limited = rows.offset(offset).subquery()
    again = ordering([sort.on(limited.c[f"k{n}"]) for n, sort in enumerate(inner)], compiler.writer)
    numbered = select(*limited.c, compiler.row_number(again).label("n")).subquery()
    level = compiler.root_level(plan, numbered, keys)
    item = compiler.writer.checked(compiler.item(plan.root, level), plan.root.path)
    cursor = _cursor(compiler, sorts, numbered) if page.by_keyset else compiler.writer.literal("[]")
    top = _with_total(level.select(item, cursor.label("k"), numbered.c.n), statement, total=page.total)
    return compiler.finished(top, plan.root)


def _cursor(compiler: SelectCompiler, sorts: tuple[Sort, ...], rows: Any) -> Any:
    values = [
        func.coalesce(compiler.wire_text(node, rows.c[f"k{n}"]), compiler.writer.literal("null"))
        for n, node in enumerate(cursor_scalars(sorts))
    ]
    return compiler.writer.listed(values)


def count_of(statement: Select[Any]) -> Select[Any]:
    """Count the rows of a statement."""
    return select(func.count()).select_from(statement.order_by(None).subquery())


def _with_total(rows: Select[Any], statement: Select[Any], *, total: bool) -> Any:
    items = rows.subquery()
    if not total:
        return select(items.c.o, items.c.k, literal_column("NULL")).order_by(items.c.n)
    count = count_of(statement).scalar_subquery()
    one = select(count.label("total")).subquery()
    return select(items.c.o, items.c.k, one.c.total).select_from(one.outerjoin(items, true())).order_by(items.c.n)
