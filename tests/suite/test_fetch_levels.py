"""One statement or one for each level: the same bytes, whichever is chosen, and the choice can be seen."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from pydantic import create_model
from sqlalchemy import event, inspect, select
from sqlalchemy.orm import with_loader_criteria

from querywright import Count, Grouped, Many, Path
from querywright.events import FetchSplit, subscribed
from querywright.fetching.compile.form import Form
from querywright.fetching.execute.compiled import compiled_for
from querywright.fetching.execute.levels import LARGEST_JSON
from querywright.fetching.plan.fieldsets import fieldset
from querywright.fetching.plan.planner import plan
from tests.suite.models import Author, AuthorOut, Book, BookOut, NameOut, Out, TagOut
from tests.suite.support import AnyDatabase, add, resolve, statements, transaction
from tests.suite.zoo import Zoo

AUTHORS = select(Author).order_by(Author.id)


class FullOut(Out):
    id: int
    mentor: AuthorOut | None
    books: list[BookOut]
    top: Annotated[list[BookOut], Many("books", order_by="pages", limit=2)]
    titles: Annotated[list[list[str]], Path("pupils.books.title")]
    count: Annotated[int, Count("books")]
    by_pages: Annotated[dict[int, list[BookOut]], Grouped("books", by="pages", order_by="id")]


@pytest.fixture
async def authors(db: AnyDatabase) -> AnyDatabase:
    async with transaction(db) as tx:
        tx.add_all(Author(id=n, name=f"name {n}", mentor_id=n - 1 if n > 1 else None) for n in range(1, 8))
    await add(db, *(Book(author_id=1 + n % 7, title=f"t{n}", pages=n % 3 + 1) for n in range(20)))
    return db


@pytest.mark.parametrize("verb", ["all", "json"])
async def test_the_same_either_way(authors: AnyDatabase, verb: str) -> None:
    for statement in (AUTHORS, AUTHORS.where(Author.id.in_([1, 3])).limit(1), AUTHORS.where(Author.id < 0)):
        found = [
            await resolve(getattr(authors.fetch(FullOut, statement, strategy=strategy), verb)())
            for strategy in ("auto", "statement", "levels")
        ]
        assert found[0] == found[1] == found[2]


async def test_one_statement_for_each_level(authors: AnyDatabase) -> None:
    with statements() as seen:
        await resolve(authors.fetch(AuthorOut, AUTHORS, strategy="levels").json())
    # Authors; pupils, books and the mentors' books; the tags of both kinds of books.
    assert len([sql for sql in seen if sql.startswith("SELECT")]) == 6


async def test_no_statement_is_made_for_what_nobody_asked_for(authors: AnyDatabase) -> None:
    for fields, lists in (("id", 0), ("id,books.title", 1)):
        paths = fieldset(plan(FullOut, inspect(Author)), fields).paths
        form = Form(array=True, strategy="levels", only=paths)
        compiled, _ = compiled_for(FullOut, AUTHORS, form, authors.engine.dialect, None)
        assert len(compiled.slots) == lists


async def test_too_many_rows_for_one_statement(authors: AnyDatabase) -> None:
    if authors.engine.dialect.name != "postgresql":
        pytest.skip("SQLite and MariaDB make one row at a time")
    whole = await resolve(authors.fetch(AuthorOut, AUTHORS, strategy="statement").json())
    small = AUTHORS.execution_options(**{LARGEST_JSON: 3 * 4096})
    seen: list[FetchSplit] = []
    with subscribed(FetchSplit, seen.append):
        assert await resolve(authors.fetch(AuthorOut, AUTHORS).json()) == whole
        assert seen == []
        assert await resolve(authors.fetch(AuthorOut, small.execution_options(**{LARGEST_JSON: 5})).json()) == whole
        assert await resolve(authors.fetch(AuthorOut, small.limit(7)).json()) == whole
        assert await resolve(authors.fetch(AuthorOut, small, strategy="statement").json()) == whole
    assert seen == [FetchSplit("AuthorOut", 7)]


async def test_many_parents(db: AnyDatabase) -> None:
    async with transaction(db) as tx:
        tx.add_all(Author(id=n, name="x") for n in range(1, 6000))
    await add(db, *(Book(author_id=n, title=f"t{n}", pages=1) for n in (1, 5000, 5001, 5999)))
    shape = create_model("Titles", titles=(Annotated[list[str], Path("books.title")], ...))
    rows = json.loads(await resolve(db.fetch(shape, AUTHORS, strategy="levels").json()))
    assert [row["titles"] for row in rows if row["titles"]] == [["t1"], ["t5000"], ["t5001"], ["t5999"]]


async def test_composite_keys_and_subclasses(zoo: AnyDatabase) -> None:
    shape = create_model("Names", names=(Annotated[list[str], Path("animals.name")], ...))
    statement = select(Zoo).order_by(Zoo.country, Zoo.number)
    found = await resolve(zoo.fetch(shape, statement, strategy="levels").json())
    assert found == await resolve(zoo.fetch(shape, statement).json())
    assert json.loads(found)[0] == {"names": ["Tom", "Rex", "Jumbo"]}


async def test_filters_hold_at_every_level(authors: AnyDatabase) -> None:
    await add(authors, Book(author_id=1, title="gone", pages=1, deleted=True))
    for least in (1, 2):
        option = with_loader_criteria(Book, lambda cls, n=least: (cls.deleted.is_(False)) & (cls.pages >= n))
        filtered = AUTHORS.options(option)
        split = await resolve(authors.fetch(AuthorOut, filtered, strategy="levels").json())
        assert split == await resolve(authors.fetch(AuthorOut, filtered).json())
        assert "gone" not in split.decode()


async def test_all_levels_see_one_snapshot(authors: AnyDatabase) -> None:
    """A book that comes between two statements is not in a count and missing from a list, or the other way round."""
    engine = getattr(authors.engine, "sync_engine", authors.engine)
    options: list[Any] = []

    def remember(connection: Any) -> None:
        options.append(connection.get_execution_options())

    event.listen(engine, "begin", remember)
    await resolve(authors.fetch(AuthorOut, AUTHORS, strategy="levels").json())
    event.remove(engine, "begin", remember)
    options_of = {"sqlite": "querywright_read_only", "postgresql": "isolation_level"}
    expected = options_of.get(authors.engine.dialect.name, "querywright_mysql_isolation")
    assert all(expected in given for given in options)
    assert len(options) == 1


def chain(depth: int) -> Any:
    model: Any = NameOut
    for level in range(depth):
        model = create_model(f"Level{level}", __base__=Out, id=(int, ...), pupils=(list[model], ...))
    return model


@pytest.mark.parametrize("depth", [6, 12])
async def test_lists_as_deep_as_one_likes(authors: AnyDatabase, depth: int) -> None:
    model = chain(depth)
    one = AUTHORS.where(Author.id == 1)
    auto = await resolve(authors.fetch(model, one).json())
    assert auto == await resolve(authors.fetch(model, one, strategy="levels").json())
    for _ in range(6):
        auto = json.dumps(json.loads(auto)[0]["pupils"]).encode()
    assert json.loads(auto)[0]["id"] == 7


async def test_tags(authors: AnyDatabase) -> None:
    shape = create_model("Tagged", tags=(list[TagOut], ...))
    statement = select(Book).order_by(Book.id)
    assert await resolve(authors.fetch(shape, statement, strategy="levels").json()) == await resolve(
        authors.fetch(shape, statement).json()
    )
