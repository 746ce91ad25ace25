"""Streams, counts, explanations, sparse fieldsets, prepared queries, and what a client's JSON leaves out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, computed_field
from sqlalchemy import bindparam, select

from querywright import Count, Path, ShapeError, UnknownFields, fetch, prepare
from tests.suite.models import Author, AuthorOut, Book, BookOut, NameOut, Out
from tests.suite.support import AnyDatabase, add, by_orm, collect, resolve, statements, transaction

AUTHORS = select(Author).order_by(Author.id)


@pytest.fixture
async def authors(db: AnyDatabase) -> AnyDatabase:
    await add(db, *(Author(id=n, name=f"name {n}", email=None if n % 2 else f"{n}@x.y") for n in range(1, 8)))
    await add(db, *(Book(author_id=1 + n % 7, title=f"t{n}", pages=n + 1) for n in range(10)))
    return db


class LoudOut(Out):
    id: int
    name: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def loud(self) -> str:
        return self.name.upper()


@pytest.mark.parametrize("model", [AuthorOut, LoudOut])
async def test_streams_are_the_whole_in_pieces(authors: AnyDatabase, model: Any) -> None:
    whole = await resolve(authors.fetch(model, AUTHORS).all())
    assert await collect(authors.fetch(model, AUTHORS).stream(batch=2)) == whole
    pieces = await collect(authors.fetch(model, AUTHORS).stream_json(batch=3))
    assert len(pieces) == 4
    assert json.loads(b"".join(pieces)) == json.loads(await resolve(authors.fetch(model, AUTHORS).json()))
    lines = b"".join(await collect(authors.fetch(model, AUTHORS).stream_json(lines=True))).splitlines()
    assert [model.model_validate_json(line) for line in lines] == whole


async def test_streams_of_nothing(authors: AnyDatabase) -> None:
    nothing = AUTHORS.where(Author.id < 0)
    assert b"".join(await collect(authors.fetch(NameOut, nothing).stream_json())) == b"[]"
    assert await collect(authors.fetch(NameOut, nothing).stream_json(lines=True)) == []
    assert await collect(authors.fetch(NameOut, nothing).stream()) == []


async def test_a_stream_that_is_left_early_gives_its_connection_back(authors: AnyDatabase) -> None:
    stream = authors.fetch(NameOut, AUTHORS).stream(batch=1)
    if isinstance(stream, AsyncIterator):
        assert (await anext(stream)).id == 1
        await stream.aclose()  # type: ignore[attr-defined]
    else:
        assert next(stream).id == 1
        stream.close()  # type: ignore[attr-defined]
    assert authors.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_streams_and_levels_lock_their_rows(authors: AnyDatabase) -> None:
    locked = AUTHORS.with_for_update()
    expected = await by_orm(authors, AuthorOut, AUTHORS)
    assert await collect(authors.fetch(AuthorOut, locked).stream(batch=2)) == expected
    assert await resolve(authors.fetch(AuthorOut, locked, strategy="levels").all()) == expected


async def test_a_stream_in_a_transaction_sees_its_writes(authors: AnyDatabase) -> None:
    async with transaction(authors) as tx:
        tx.add(Author(id=100, name="new"))
        found = await collect(tx.fetch(NameOut, AUTHORS.where(Author.id > 6)).stream())
    assert [row.id for row in found] == [7, 100]


async def test_count_and_exists(authors: AnyDatabase) -> None:
    assert await resolve(authors.fetch(NameOut, AUTHORS).count()) == 7
    assert await resolve(authors.fetch(NameOut, AUTHORS.limit(3)).count()) == 3
    assert await resolve(authors.fetch(NameOut, AUTHORS.where(Author.id.in_([1, 2, 99]))).count()) == 2
    assert await resolve(authors.fetch(NameOut, AUTHORS.where(Author.id == 4)).exists()) is True
    assert await resolve(authors.fetch(NameOut, AUTHORS.where(Author.id == 40)).exists()) is False
    assert await resolve(authors.fetch(NameOut, AUTHORS.offset(7)).exists()) is False
    joined = select(Author).join(Author.books).distinct()
    assert await resolve(authors.fetch(NameOut, joined).count()) == 7


async def test_explain(authors: AnyDatabase) -> None:
    assert "authors" in await resolve(authors.fetch(AuthorOut, AUTHORS.where(Author.id == 3)).explain())
    analyzed = await resolve(authors.fetch(AuthorOut, AUTHORS.where(Author.id == 3)).explain(analyze=True))
    assert ("actual time" in analyzed) is (authors.engine.dialect.name == "postgresql")


class SparseBook(Out):
    id: int
    title: str = Field(serialization_alias="bookTitle")


class SparseOut(Out):
    id: int
    name: str
    email: str | None
    books: list[SparseBook]
    count: Annotated[int, Count("books")]


class SparseLoud(SparseOut):
    @computed_field  # type: ignore[prop-decorator]
    @property
    def loud(self) -> str:
        return self.name.upper()


@pytest.mark.parametrize("model", [SparseOut, SparseLoud])
async def test_sparse_fieldsets(authors: AnyDatabase, model: Any) -> None:
    one = AUTHORS.where(Author.id == 1)
    for fields, expected in {
        "name": {"name": "name 1"},
        " email , id ": {"id": 1, "email": None},
        "books.bookTitle,id": {"id": 1, "books": [{"bookTitle": "t7"}, {"bookTitle": "t0"}]},
        "count": {"count": 2},
    }.items():
        assert json.loads(await resolve(authors.fetch(model, one, fields=fields).json_one())) == expected
        assert json.loads(await resolve(authors.fetch(model, one, fields=fields).json())) == [expected]
        [line] = await collect(authors.fetch(model, one, fields=fields).stream_json(lines=True))
        assert json.loads(line) == expected
        page = json.loads(await resolve(authors.fetch(model, one, fields=fields).json_page(size=5)))
        assert page["items"] == [expected]
    books = json.loads(await resolve(authors.fetch(model, one, fields="books").json_one()))["books"]
    assert [list(book) for book in books] == [["id", "bookTitle"]] * 2


@pytest.mark.parametrize("fields", [["id", "books.bookTitle"], ("id,books.bookTitle",), ["", "id", "books.bookTitle,"]])
async def test_fields_may_come_in_several_texts(authors: AnyDatabase, fields: Any) -> None:
    whole = await resolve(fetch(authors, SparseOut, AUTHORS, fields="id,books.bookTitle").json())
    assert await resolve(fetch(authors, SparseOut, AUTHORS, fields=fields).json()) == whole


@pytest.mark.parametrize("fields", ["", ",", " , ", [], [""], ["", ","]])
async def test_fields_that_name_nothing_are_as_none(authors: AnyDatabase, fields: Any) -> None:
    whole = await resolve(fetch(authors, SparseOut, AUTHORS).json())
    assert await resolve(fetch(authors, SparseOut, AUTHORS, fields=fields).json()) == whole


async def test_an_empty_cursor_is_as_none(authors: AnyDatabase) -> None:
    query = fetch(authors, SparseOut, AUTHORS)
    first = await resolve(query.page(size=1))
    for cursors in ({"after": ""}, {"before": ""}, {"after": "", "before": ""}):
        page = await resolve(query.page(size=1, **cursors))
        assert (page.items, bool(page.next), page.previous) == (first.items, bool(first.next), None)
    again = await resolve(query.page(size=1, after=first.next, before=""))
    assert again.items != first.items
    assert json.loads(await resolve(query.json_page(size=1, number=2, after="")))["items"][0]["id"] == again.items[0].id


@pytest.mark.drivers("sqlite+pysqlite")
@pytest.mark.parametrize("fields", [5, b"id", ["id", 5], [["id"]], [None]])
async def test_fields_of_another_kind_are_told(db: AnyDatabase, fields: Any) -> None:
    with pytest.raises(ShapeError, match="fields: expected a text, or a list of texts, got"):
        fetch(db, SparseOut, AUTHORS, fields=fields)


async def test_fields_that_nobody_asked_for_are_not_read(authors: AnyDatabase) -> None:
    sql = authors.fetch(SparseOut, AUTHORS, fields="id").sql()
    assert "books" not in sql


@pytest.mark.drivers("sqlite+pysqlite")
@pytest.mark.parametrize(
    "fields", ["nmae", "id,books.title", "name.x", "books.", "id;DROP TABLE authors", "'", ["id", "nmae"], ["id\0"]]
)
async def test_unknown_fields_are_told(db: AnyDatabase, fields: Any) -> None:
    with pytest.raises(UnknownFields) as caught:
        await resolve(fetch(db, SparseOut, AUTHORS, fields=fields).json())
    assert caught.value.allowed == ("id", "name", "email", "books", "books.id", "books.bookTitle", "count")


class ManyNames(Out):
    model_config = ConfigDict(from_attributes=True, populate_by_name=True)

    id: int = Field(exclude=True)
    name: str = Field(alias="fullName")
    email: str | None
    mentor: NameOut | None
    shouted: str = Field(serialization_alias="LOUD")


@pytest.mark.parametrize("by_alias", [True, False])
@pytest.mark.parametrize("exclude_none", [True, False])
async def test_what_json_leaves_out(authors: AnyDatabase, *, by_alias: bool, exclude_none: bool) -> None:
    await add(authors, Author(id=50, name="pupil", mentor_id=1))
    expected = await resolve(authors.fetch(ManyNames, AUTHORS).all())
    options = {"by_alias": by_alias, "exclude_none": exclude_none}
    written = TypeAdapter(list[ManyNames]).dump_json(expected, **options)
    assert authors.fetch(ManyNames, AUTHORS).explain_plan().exact
    text = await resolve(authors.fetch(ManyNames, AUTHORS).json(**options))
    assert text == written
    one = await resolve(authors.fetch(ManyNames, AUTHORS.limit(1)).json_one(**options))
    assert one == expected[0].model_dump_json(**options).encode()


class NestedNone(Out):
    email: str | None
    name: str
    profile: Annotated[str | None, Path("profile.text")]
    books: list[BookOut]
    pupils: list[ManyNames]


async def test_exclude_none_at_every_level(authors: AnyDatabase) -> None:
    await add(authors, Author(id=50, name="pupil", mentor_id=1))
    shape = NestedNone
    expected = await resolve(authors.fetch(shape, AUTHORS).all())
    text = await resolve(authors.fetch(shape, AUTHORS).json(exclude_none=True))
    assert text == TypeAdapter(list[shape]).dump_json(expected, exclude_none=True, by_alias=True)  # type: ignore[valid-type]


by_key = prepare(AuthorOut, select(Author).where(Author.id == bindparam("id")))
by_names = prepare(NameOut, AUTHORS.where(Author.name.in_(bindparam("names", expanding=True)), Author.id > 0))
fixed = prepare(NameOut, AUTHORS.where(Author.id == 3))
defaulted = prepare(NameOut, AUTHORS.where(Author.id == bindparam("id", value=5)))


async def test_prepared_queries(authors: AnyDatabase) -> None:
    for key in (1, 2):
        [expected] = await by_orm(authors, AuthorOut, AUTHORS.where(Author.id == key))
        assert await resolve(by_key(authors, id=key).one()) == expected
    assert [row.id for row in await resolve(by_names(authors, names=["name 2", "name 5"]).all())] == [2, 5]
    assert await resolve(by_names(authors, names=[]).all()) == []
    assert (await resolve(fixed(authors).one())).id == 3
    assert (await resolve(defaulted(authors).one())).id == 5
    assert (await resolve(defaulted(authors, id=6).one())).id == 6
    async with transaction(authors) as tx:
        tx.add(Author(id=100, name="new"))
        assert (await resolve(by_key(tx, id=100).one())).name == "new"


async def test_prepared_queries_check_their_parameters(authors: AnyDatabase) -> None:
    with pytest.raises(ShapeError, match="it has the parameters id; missing: id"):
        await resolve(by_key(authors).one())
    with pytest.raises(ShapeError, match="it has no parameter nmae; it has id"):
        await resolve(by_key(authors, id=1, nmae="x").one())


def test_prepared_queries_are_checked_when_they_are_declared() -> None:
    class Wrong(BaseModel):
        nmae: str

    with pytest.raises(ShapeError, match=r"Wrong\.nmae: Author has no attribute"):
        prepare(Wrong, AUTHORS)


async def test_a_prepared_query_is_one_statement(authors: AnyDatabase) -> None:
    with statements() as seen:
        await resolve(by_key(authors, id=1).json_one())
        await resolve(by_key(authors, id=2).json_one())
    assert len(seen) == 2
    assert seen[0] == seen[1]


async def test_fetch_takes_an_engine(authors: AnyDatabase) -> None:
    assert await resolve(fetch(authors.engine, NameOut, AUTHORS).count()) == 7
