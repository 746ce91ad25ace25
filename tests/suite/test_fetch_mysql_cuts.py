"""On a server that keeps a small group_concat_max_len, whatever it is asked, a fetch is right or an error."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator
from sqlalchemy import Connection, NullPool, create_engine, desc, select, text

from querywright import Count, Database, DatabaseError, First, Grouped, Keys, Many, Path, fetch, use_cursor_secret
from querywright.fetching.execute import compiled
from querywright.fetching.writers.mysql import MYSQL
from tests.conftest import CURSOR_SECRET
from tests.suite.models import Author, Book, Out, Tag

pytestmark = pytest.mark.drivers("mariadb+pymysql")

AUTHORS = select(Author).order_by(Author.id)


class TagName(Out):
    name: str


class Titled(Out):
    title: str


class Tagged(Out):
    title: str
    tags: list[TagName]


class Titles(Out):
    books: list[Titled]


class Lists(Out):
    name: str
    books: list[Tagged]


class CheckedLists(Out):
    name: Annotated[str, AfterValidator(lambda name: name)]
    books: list[Tagged]


class Strings(Out):
    books: Annotated[list[str], Path("books.title")]
    keys: Annotated[list[int], Keys("books")]


class Top(Out):
    books: Annotated[list[Titled], Many("books", order_by=desc("id"), limit=3)]


class TopUnordered(Out):
    tagged: Annotated[list[Tagged], Many("books", limit=2)]


class Groups(Out):
    books: Annotated[dict[int, list[Tagged]], Grouped("books", by="pages")]


class SingleGroups(Out):
    books: Annotated[dict[str, Titled], Grouped("books", by="title")]


class Ones(Out):
    first: Annotated[Tagged | None, First("books", order_by="id")]
    mentor: Titles | None
    count: Annotated[int, Count("books")]


MODELS = [Titles, Lists, CheckedLists, Strings, Top, TopUnordered, Groups, SingleGroups, Ones]
FORMS: dict[str, Any] = {
    "json": lambda query: json.loads(query.json()),
    "nothing that is none": lambda query: json.loads(query.json(exclude_none=True)),
    "instances": lambda query: [row.model_dump(mode="json") for row in query.all()],
    "page": lambda query: json.loads(query.json_page(size=9))["items"],
    "stream": lambda query: json.loads(b"".join(query.stream_json())),
}


@pytest.fixture
async def stubborn(db: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connection]:
    """A connection whose statements cannot lift the limit; authors with none to seven books of some tags."""
    tags = [Tag(id=n, name=f"é{n}" * n) for n in (1, 2, 3)]
    with db.transaction() as tx:
        tx.add_all(tags)
        for n in range(4):
            tx.add(Author(id=n + 1, name="n" * n, mentor_id=n or None))
            tx.flush()
            count = (0, 1, 3, 7)[n]
            tx.add_all(
                Book(author_id=n + 1, title='x"é'[: k % 4] + str(k), pages=1 + k % 3, tags=tags[: k % 4])
                for k in range(count)
            )
            tx.flush()
    monkeypatch.setattr(
        compiled,
        "writer_for",
        lambda _name, _driver="": replace(MYSQL, prelude="", hint="", page_prelude="", page_hint=""),
    )
    # Its dialect is new, so that nothing is found that was compiled before.
    engine = create_engine(db.engine.url, poolclass=NullPool)
    use_cursor_secret(engine, CURSOR_SECRET)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize("model", MODELS)
async def test_a_list_is_whole_or_an_error(db: Database, stubborn: Connection, model: type[Out]) -> None:
    """At every limit, so also where a list would be cut between two items."""
    for name, read in FORMS.items():
        expected = read(db.fetch(model, AUTHORS))
        outcomes = []
        for limit in [*range(4, 140, 1 if name == "json" else 11), 300, 700, 1024, 5000]:
            stubborn.execute(text(f"SET SESSION group_concat_max_len={limit}"))
            try:
                assert read(fetch(stubborn, model, AUTHORS)) == expected, (name, limit)
            except DatabaseError:
                outcomes.append(limit)
        assert outcomes
        assert 5000 not in outcomes


async def test_what_aggregates_nothing_is_never_cut(db: Database, stubborn: Connection) -> None:
    expected = json.loads(db.fetch(Titles, AUTHORS).json())
    for limit in (4, 50, 1024):
        stubborn.execute(text(f"SET SESSION group_concat_max_len={limit}"))
        assert json.loads(fetch(stubborn, Titles, AUTHORS, strategy="levels").json()) == expected
        assert len(list(fetch(stubborn, Titled, select(Book)).stream())) == 11


@pytest.mark.parametrize("length", [1, 100, 1000, 1023, 1024, 1025, 2000])
async def test_the_usual_limit(db: Database, stubborn: Connection, length: int) -> None:
    with db.transaction() as tx:
        tx.add_all(Book(author_id=1, title="x" * (length // 10)) for _ in range(10))
    stubborn.execute(text("SET SESSION group_concat_max_len=1024"))
    one = AUTHORS.where(Author.id == 1)
    if length < 1000:
        [author] = fetch(stubborn, Titles, one).all()
        assert [book.title for book in author.books] == ["x" * (length // 10)] * 10
    else:
        with pytest.raises(DatabaseError, match="group_concat_max_len"):
            fetch(stubborn, Titles, one).all()
