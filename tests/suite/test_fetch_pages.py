"""Pages by cursor and by number, over every kind of order, equal slices of the whole list."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import asc, bindparam, desc, func, select, text
from sqlalchemy.orm import aliased
from sqlalchemy.sql import operators

from querywright import InvalidPage, Page, ShapeError
from tests.suite.models import Author, Book, Everything, NameOut, Out
from tests.suite.strategies import everything
from tests.suite.support import AnyDatabase, add, by_orm, resolve, session, statements
from tests.suite.test_fetch_properties import can_hold, copy

ONE_OF_EACH = pytest.mark.drivers(
    "sqlite+pysqlite", "sqlite+aiosqlite", "postgresql+psycopg", "postgresql+asyncpg", "mariadb+pymysql"
)
SORTABLE = [
    *("id", "number", "text", "flag", "ratio", "price", "moment", "local", "day", "genre", "level"),
    *(
        "number_or_none",
        "text_or_none",
        "flag_or_none",
        "moment_or_none",
        "day_or_none",
        "key_or_none",
        "price_or_none",
    ),
]


class OrderedOut(Out):
    """Little of a row, so that each new order is compiled soon."""

    id: UUID
    text_or_none: str | None
    ratio: float


@st.composite
def orders(draw: st.DrawFn) -> list[Any]:
    """Draw an ORDER BY: columns with and without NULL, in both directions, with NULLs at either end."""
    names = draw(st.lists(st.sampled_from(SORTABLE), max_size=3, unique=True))
    made = []
    for name in names:
        column = getattr(Everything, name)
        ordered = draw(st.sampled_from([column, column.asc(), column.desc()]))
        if draw(st.booleans()) and ordered is not column:
            ordered = draw(st.sampled_from([ordered.nulls_first(), ordered.nulls_last()]))
        made.append(ordered)
    return made


def spelled_out(clause: Any) -> list[Any]:
    """Write an ORDER BY for MariaDB, which has no NULLS FIRST."""
    nulls = {operators.nulls_first_op: desc, operators.nulls_last_op: asc}.get(getattr(clause, "modifier", None))
    return [clause] if nulls is None else [nulls(clause.element.element.is_(None)), clause.element]


@ONE_OF_EACH
@settings(suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(everything(), max_size=7, unique_by=lambda row: row.id),
    repeated=st.booleans(),
    order=orders(),
    size=st.integers(1, 4),
)
async def test_walk_through_all_pages(
    db: AnyDatabase, rows: list[Everything], *, repeated: bool, order: list[Any], size: int
) -> None:
    assume(can_hold(db, rows))
    async with session(db) as opened:
        copies = [copy(row) for row in rows]
        for row in copies[1:] if repeated else []:
            for name in SORTABLE[1:6]:
                setattr(row, name, getattr(copies[0], name))
        opened.add_all(copies)
        await resolve(opened.flush())
        opened.expunge_all()
        statement = select(Everything).order_by(*order)
        last = order and str(order[-1]).endswith(("DESC", "DESC NULLS FIRST", "DESC NULLS LAST"))
        clauses = [part for clause in order for part in spelled_out(clause)] if db.engine.name == "mariadb" else order
        total_order = select(Everything).order_by(*clauses, Everything.id.desc() if last else Everything.id)
        whole = await resolve(opened.fetch(OrderedOut, total_order).all())
        forth: list[Any] = []
        cursor, pages = None, []
        while True:
            page = await resolve(opened.fetch(OrderedOut, statement).page(size=size, after=cursor))
            assert page.total == len(rows)
            forth += page.items
            pages.append(page)
            cursor = page.next
            if cursor is None:
                break
        assert forth == whole
        back = list(pages[-1].items)
        cursor = pages[-1].previous
        while cursor is not None:
            page = await resolve(opened.fetch(OrderedOut, statement).page(size=size, before=cursor))
            assert page.next is not None
            back = page.items + back
            cursor = page.previous
        assert back == whole
        number = len(whole) // size + 1
        by_number = await resolve(opened.fetch(OrderedOut, statement).page(size=size, number=number))
        assert by_number.items == whole[(number - 1) * size :]


@pytest.fixture
async def authors(db: AnyDatabase) -> AnyDatabase:
    await add(db, *(Author(id=n, name=f"name {n % 3}", email=None if n % 2 else f"{n}@x.y") for n in range(1, 8)))
    await add(db, *(Book(author_id=1 + n % 7, title=f"t{n}", pages=n + 1) for n in range(10)))
    return db


BY_NAME = select(Author).order_by(Author.name, Author.email.desc())


async def test_one_statement_for_rows_total_and_cursors(authors: AnyDatabase) -> None:
    with statements() as seen:
        page = await resolve(authors.fetch(NameOut, BY_NAME).page(size=3))
    assert len(seen) == 1
    assert (len(page.items), page.total, page.previous) == (3, 7, None)
    assert page.next is not None


async def test_json_page_is_the_page_as_json(authors: AnyDatabase) -> None:
    page = await resolve(authors.fetch(NameOut, BY_NAME).page(size=3))
    text = await resolve(authors.fetch(NameOut, BY_NAME).json_page(size=3))
    written = Page[NameOut].model_validate_json(text)
    assert (written.items, written.total) == (page.items, page.total)
    # It is encrypted, each time otherwise.
    assert written.next not in {None, page.next}
    assert list(json.loads(text)) == ["items", "total", "next", "previous"]
    without = await resolve(authors.fetch(NameOut, BY_NAME).json_page(size=3, after=page.next, total=False))
    assert json.loads(without)["total"] is None
    assert len(json.loads(without)["items"]) == 3


async def test_past_the_end_the_total_is_right(authors: AnyDatabase) -> None:
    page = await resolve(authors.fetch(NameOut, BY_NAME).page(size=5, number=9))
    assert page == Page[Any](items=[], total=7)
    empty = await resolve(authors.fetch(NameOut, BY_NAME.where(Author.id == 0)).page(size=5))
    assert empty == Page[Any](items=[], total=0)


async def test_rows_that_come_and_go_disturb_no_later_page(authors: AnyDatabase) -> None:
    statement = select(Author).order_by(Author.id)
    first = await resolve(authors.fetch(NameOut, statement).page(size=3))
    await add(authors, Author(id=-1, name="new"))
    second = await resolve(authors.fetch(NameOut, statement).page(size=3, after=first.next))
    assert [row.id for row in second.items] == [4, 5, 6]


async def test_pages_of_filtered_distinct_joined_and_aliased_rows(authors: AnyDatabase) -> None:
    other = aliased(Author)
    for statement in (
        select(Author).join(Author.books).distinct().order_by(Author.name, Author.id),
        select(Author).join(Author.books).group_by(Author.id).order_by(func.count().desc(), Author.id),
        select(other).outerjoin(other.books).where(other.id > 2).order_by(Book.pages.desc(), other.id),
        select(Author).where(Author.id > bindparam("least")).order_by(asc(Author.name)),
    ):
        values = {"least": 2} if "least" in str(statement) else None
        found = list((await resolve(authors.fetch(NameOut, statement, values).page(size=100))).items)
        whole = await resolve(authors.fetch(NameOut, statement, values).all())
        assert sorted(row.id for row in found) == sorted(row.id for row in whole)
        items: list[Any] = []
        cursor = None
        while True:
            page = await resolve(authors.fetch(NameOut, statement, values).page(size=2, after=cursor))
            assert page.total == len(whole)
            items += page.items
            cursor = page.next
            if cursor is None:
                break
        assert items == found


@pytest.mark.drivers("sqlite+pysqlite")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "A page has 1 to 1000 rows, not 0"),
        ({"size": 1001}, "A page has 1 to 1000 rows, not 1001"),
        ({"size": 5, "number": 0}, "There is no page number 0"),
        ({"size": 5, "number": 1, "after": "x"}, "not by two of them"),
    ],
)
async def test_pages_that_cannot_be(db: AnyDatabase, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPage, match=message):
        await resolve(db.fetch(NameOut, BY_NAME).page(**options))


@pytest.mark.drivers("sqlite+pysqlite")
async def test_statements_that_have_no_pages(db: AnyDatabase) -> None:
    with pytest.raises(ShapeError, match="it has a limit of its own"):
        await resolve(db.fetch(NameOut, BY_NAME.limit(3)).page(size=2))
    with pytest.raises(ShapeError, match="it is ordered by a text"):
        await resolve(db.fetch(NameOut, select(Author).order_by(text("name"))).page(size=2))


async def test_orm_sees_the_same_order(authors: AnyDatabase) -> None:
    page = await resolve(authors.fetch(NameOut, BY_NAME).page(size=7))
    assert page.items == await by_orm(authors, NameOut, BY_NAME.order_by(Author.id.desc()))
