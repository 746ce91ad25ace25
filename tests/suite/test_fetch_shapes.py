"""Nested shapes on every database: one statement, equal to what the ORM and Pydantic make."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter
from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from querywright import MultipleFound, NotFound
from tests.suite.models import Author, AuthorOut, Book, BookOut, NameOut, Out, Profile, Tag, TagOut, book_tags
from tests.suite.support import AnyDatabase, add, by_orm, resolve, run_sync, statements, transaction


@pytest.fixture
async def library(db: AnyDatabase) -> AnyDatabase:
    """Four authors, one of them alone in the world; books with and without tags."""
    first = Author(id=1, name="first", email="f@example.com")
    second = Author(id=2, name="second", mentor_id=1)
    third = Author(id=3, name="third", mentor_id=2, email="%s :x")
    async with transaction(db) as tx:
        for author in (first, second, third, Author(id=4, name="alone")):
            tx.add(author)
            await resolve(tx.flush())
        tx.add_all([Tag(id=n, name=f"tag {n}") for n in (1, 2, 3)])
        tx.add_all([Profile(author_id=1, text="writes"), Profile(author_id=3, text="reads")])
        tx.add_all([Book(id=n, title=f"book {n}", author_id=n % 3 + 1, pages=n) for n in range(1, 9)])
        await resolve(tx.flush())
        links = [(1, 1, 1), (1, 2, 3), (1, 3, 2), (2, 1, 1), (5, 2, 1)]
        await resolve(tx.execute(book_tags.insert(), [{"book_id": b, "tag_id": t, "position": p} for b, t, p in links]))
    return db


AUTHORS = select(Author).order_by(Author.id)
SHAPES: dict[str, tuple[Any, Any]] = {
    "all": (AuthorOut, AUTHORS),
    "reverse order survives the joins": (AuthorOut, select(Author).order_by(Author.name.desc())),
    "limit and offset": (AuthorOut, AUTHORS.limit(2).offset(1)),
    "in list": (AuthorOut, AUTHORS.where(Author.id.in_([3, 1, 99]))),
    "empty in list": (AuthorOut, AUTHORS.where(Author.id.in_([]))),
    "many to many, to one": (BookOut, select(Book).order_by(Book.pages.desc())),
    "join in the statement": (NameOut, AUTHORS.join(Author.books).where(Book.pages > 6)),
    "distinct": (NameOut, AUTHORS.join(Author.books).distinct()),
    "group by": (NameOut, AUTHORS.join(Author.books).group_by(Author.id).having(func.count() > 2)),
    "exists": (NameOut, AUTHORS.where(Author.books.any(Book.title.like("%1")))),
    "no rows": (AuthorOut, select(Author).where(Author.id < 0)),
}


@pytest.mark.parametrize("name", SHAPES)
async def test_equals_orm_and_pydantic(library: AnyDatabase, name: str) -> None:
    model, statement = SHAPES[name]
    expected = await by_orm(library, model, statement)
    with statements() as seen:
        assert await resolve(library.fetch(model, statement).all()) == expected
        text = await resolve(library.fetch(model, statement).json())
    assert len(seen) == 2
    assert json.loads(text) == json.loads(TypeAdapter(list[model]).dump_json(expected))


class ShoutedOut(Out):
    shouted: str


class TitleOut(Out):
    title: str


async def test_distinct_keeps_different_rows_that_look_alike(library: AnyDatabase) -> None:
    await add(library, Book(id=20, title="same", author_id=1), Book(id=21, title="same", author_id=1))
    statement = select(Book).join(Author).where(Book.title == "same").distinct()
    assert await resolve(library.fetch(TitleOut, statement).json()) == b'[{"title":"same"},{"title":"same"}]'


async def test_distinct_may_order_by_what_nobody_asked_for(library: AnyDatabase) -> None:
    statement = select(Author).join(Author.books).distinct().order_by(Author.name.desc())
    rows = await resolve(library.fetch(ShoutedOut, statement).all())
    assert [row.shouted for row in rows] == ["third!", "second!", "first!"]


async def test_alias_as_root(library: AnyDatabase) -> None:
    writer = aliased(Author)
    statement = select(writer).join(Book, Book.author_id == writer.id).where(Book.id == 3).order_by(writer.id)
    rows = await resolve(library.fetch(AuthorOut, statement).all())
    assert [row.name for row in rows] == ["first"]
    assert [book.id for book in rows[0].books] == [6, 3]


async def test_union_as_root(library: AnyDatabase) -> None:
    union = select(Author).where(Author.id == 1).union(select(Author).where(Author.id == 4)).subquery()
    either = aliased(Author, union)
    rows = await resolve(library.fetch(NameOut, select(either).order_by(either.id)).all())
    assert [row.name for row in rows] == ["first", "alone"]


async def test_column_property(library: AnyDatabase) -> None:
    assert await resolve(library.fetch(ShoutedOut, AUTHORS.limit(1)).json()) == b'[{"shouted":"first!"}]'


async def test_relationship_order_by_association_column(library: AnyDatabase) -> None:
    book = await resolve(library.fetch(BookOut, select(Book).where(Book.id == 1)).one())
    assert [tag.name for tag in book.tags] == ["tag 2", "tag 3", "tag 1"]


async def test_empty_is_a_list_and_absent_is_null(library: AnyDatabase) -> None:
    text = await resolve(library.fetch(AuthorOut, select(Author).where(Author.id == 4)).json_one())
    alone = {"id": 4, "name": "alone", "email": None, "mentor": None, "pupils": [], "books": [], "profile": None}
    assert json.loads(text) == alone
    assert list(json.loads(text)) == list(alone)


async def test_verbs_for_one_row(library: AnyDatabase) -> None:
    one = library.fetch(NameOut, select(Author).where(Author.id == 2))
    none = library.fetch(NameOut, select(Author).where(Author.id == -2))
    many = library.fetch(NameOut, AUTHORS)
    second = NameOut(id=2, name="second")
    assert await resolve(one.one()) == await resolve(one.one_or_none()) == await resolve(one.first()) == second
    assert await resolve(one.json_one()) == b'{"id":2,"name":"second"}'
    assert await resolve(none.one_or_none()) is None
    assert await resolve(none.first()) is None
    assert await resolve(none.json()) == b"[]"
    assert await resolve(none.all()) == []
    assert (await resolve(many.first())) == NameOut(id=1, name="first")
    for verb in (none.one, none.json_one):
        with pytest.raises(NotFound, match="No Author matches"):
            await resolve(verb())  # type: ignore[arg-type]
    for verb in (many.one, many.one_or_none, many.json_one):
        with pytest.raises(MultipleFound, match="More than one Author"):
            await resolve(verb())  # type: ignore[arg-type]


async def test_first_respects_a_smaller_limit_of_the_statement(library: AnyDatabase) -> None:
    assert await resolve(library.fetch(NameOut, AUTHORS.limit(0)).first()) is None


async def test_sees_the_writes_of_its_transaction(library: AnyDatabase) -> None:
    async with transaction(library) as tx:
        tx.add(Tag(id=50, name="new"))
        statement = select(Tag).where(Tag.id == 50)
        assert (await resolve(tx.fetch(TagOut, statement).one())).name == "new"
        await run_sync(tx, lambda sync: setattr(sync.get_one(Tag, 50), "name", "newer"))
        assert await resolve(tx.fetch(TagOut, statement).json_one()) == b'{"name":"newer"}'
        assert await resolve(library.fetch(TagOut, statement).first()) is None


async def test_fetch_alone_begins_the_transaction_of_its_session(library: AnyDatabase) -> None:
    """Read committed or not, two fetches of one session belong to one transaction that rolls back whole."""
    with pytest.raises(RuntimeError):
        async with transaction(library) as tx:
            assert await resolve(tx.fetch(TagOut, select(Tag).where(Tag.id == 60)).first()) is None
            tx.add(Tag(id=60, name="rolled back"))
            assert await resolve(tx.fetch(TagOut, select(Tag).where(Tag.id == 60)).first()) is not None
            raise RuntimeError
    assert await resolve(library.fetch(TagOut, select(Tag).where(Tag.id == 60)).first()) is None


async def test_keeps_unflushed_changes_when_autoflush_is_off(library: AnyDatabase) -> None:
    async with transaction(library) as tx:
        sync = getattr(tx, "sync_session", tx)
        with sync.no_autoflush:
            tx.add(Tag(id=70, name="pending"))
            assert await resolve(tx.fetch(TagOut, select(Tag).where(Tag.id == 70)).first()) is None


async def test_statement_can_lock(library: AnyDatabase) -> None:
    async with transaction(library) as tx:
        locked = select(Author).where(Author.id == 1).with_for_update()
        assert (await resolve(tx.fetch(NameOut, locked).one())).name == "first"
