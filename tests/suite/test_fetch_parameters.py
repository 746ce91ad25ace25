"""Values of a statement's parameters, wherever they come from, in every verb and on every database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Select, bindparam, func, or_, select, text

from querywright import prepare
from tests.suite.models import Author, Book, Out
from tests.suite.support import AnyDatabase, add, resolve


class PupilOut(Out):
    id: int


class AuthorOut(Out):
    id: int
    pupils: list[PupilOut]


@pytest.fixture
async def authors(db: AnyDatabase) -> AnyDatabase:
    await add(db, *(Author(id=n, name=name) for n, name in enumerate("abcd", 1)))
    await add(db, *(Author(id=10 * n, name=f"{name}%(n)s:n", mentor_id=n) for n, name in enumerate("abcd", 1)))
    await add(db, *(Book(id=n, author_id=n, title=f"book {n}", pages=n) for n in (1, 2, 3)))
    return db


def named(**options: Any) -> Select[Any]:
    return select(Author).where(Author.name == bindparam("n", **options)).order_by(Author.id)


def counted(name: str) -> Callable[[], str]:
    calls: list[str] = []

    def call() -> str:
        calls.append(name)
        return name

    return call


Form = tuple[Select[Any], dict[str, Any] | None]
B = select(Author).where(Author.name == "b")
# Each selects the second author, whatever was compiled before it.
FORMS: dict[str, Form] = {
    "given": (named(), {"n": "b"}),
    "params": (named().params(n="b"), None),
    "params of a dict": (named().params({"n": "b"}), None),
    "params twice": (named().params(n="a").params(n="b"), None),
    "params and given": (named().params(n="a"), {"n": "b"}),
    "default": (named(value="b"), None),
    "default and params": (named(value="a").params(n="b"), None),
    "default and given": (named(value="a"), {"n": "b"}),
    "function": (named(callable_=lambda: "b"), None),
    "function and given": (named(callable_=lambda: "a"), {"n": "b"}),
    "function without a name": (select(Author).where(Author.name == bindparam(None, callable_=lambda: "b")), None),
    "unique": (select(Author).where(Author.name == bindparam("n", "b", unique=True)), None),
    "text": (select(Author).where(text("authors.name = :n")).params(n="b"), None),
    "text with values": (select(Author).where(text("authors.name = :n").bindparams(n="b")), None),
    "text, values and params": (select(Author).where(text("authors.name = :n").bindparams(n="a")).params(n="b"), None),
    "literal": (named(value="b", literal_execute=True), None),
    "literal and params": (named(literal_execute=True).params(n="b"), None),
    "literal and given": (named(literal_execute=True), {"n": "b"}),
    "literals of a list": (
        select(Author).where(Author.id.in_(bindparam("ids", [2, 7], expanding=True, literal_execute=True))),
        None,
    ),
    "list": (select(Author).where(Author.id.in_(bindparam("ids", expanding=True))).params(ids=[2, 9]), None),
    "inside": (
        select(Author).where(Author.id.in_(select(Book.id).where(Book.title == bindparam("t")))).params(t="book 2"),
        None,
    ),
    "inside, with params": (
        select(Author).where(Author.id.in_(select(Book.id).where(Book.title == bindparam("t")).params(t="book 2"))),
        None,
    ),
    "twice": (
        select(Author).where(or_(Author.name == bindparam("n"), Author.name == func.lower(bindparam("n")))),
        {"n": "b"},
    ),
    "in the order": (
        select(Author).where(Author.id < 3).order_by((Author.name == bindparam("n")).desc()).limit(1).params(n="b"),
        None,
    ),
    "odd names": (
        select(Author).where(
            Author.name == bindparam("a b.%(c)s:d[e]"), Author.id > bindparam("1"), Author.id < bindparam("é")
        ),
        {"a b.%(c)s:d[e]": "b", "1": 1, "é": 10},
    ),
    "odd names, params": (
        select(Author).where(Author.name == bindparam("a b"), Author.id.in_(bindparam("x.y", expanding=True))).params(
            {"a b": "b", "x.y": [1, 2, 3]}
        ),
        None,
    ),
    "names of ours": (
        select(Author).where(Author.name == bindparam("querywright_keys"), Author.id != bindparam("querywright_most")),
        {"querywright_keys": "b", "querywright_most": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
async def test_parameters_of_every_form_in_every_verb(authors: AnyDatabase, name: str) -> None:
    # Of the same structure, but what it says of its parameters must not last.
    for first in (named(), named(value="d"), named(callable_=lambda: "d")):
        assert [row.id for row in await resolve(authors.fetch(AuthorOut, first, {"n": "c"}).all())] == [3]
    statement, parameters = FORMS[name]
    for _ in range(2):
        assert await in_every_verb(authors, statement, parameters) == {verb: [2] for verb in VERBS}


VERBS = (
    "all", "json", "one", "one_or_none", "first", "json_one", "stream", "stream_json", "page", "json_page", "number",
    "levels", "count", "exists", "prepared", "prepared page", "prepared count",
)  # fmt: skip


async def in_every_verb(
    db: AnyDatabase, statement: Select[Any], parameters: dict[str, Any] | None
) -> dict[str, list[int]]:
    """Fetch the keys of a statement that finds one row."""
    given = db.fetch(AuthorOut, statement, parameters)
    by_levels = db.fetch(AuthorOut, statement, parameters, strategy="levels")
    prepared = prepare(AuthorOut, statement)
    has_limit = "LIMIT" in str(statement)
    found: dict[str, Any] = {
        "all": await resolve(given.all()),
        "json": json.loads(await resolve(given.json())),
        "one": [await resolve(given.one())],
        "one_or_none": [await resolve(given.one_or_none())],
        "first": [await resolve(given.first())],
        "json_one": [json.loads(await resolve(given.json_one()))],
        "stream": await collect(given.stream()),
        "stream_json": json.loads(b"".join(await collect(given.stream_json()))),
        "levels": await resolve(by_levels.all()),
        "prepared": await resolve(prepared(db, **(parameters or {})).all()),
    }
    if not has_limit:
        found["page"] = (await resolve(given.page(size=3))).items
        found["json_page"] = json.loads(await resolve(given.json_page(size=3)))["items"]
        found["number"] = (await resolve(given.page(size=3, number=1))).items
        found["prepared page"] = (await resolve(prepared(db, **(parameters or {})).page(size=3))).items
    assert await resolve(given.explain())
    assert given.sql()
    keys = {verb: [row["id"] if isinstance(row, dict) else row.id for row in rows] for verb, rows in found.items()}
    keys["count"] = [2] * await resolve(given.count())
    keys["prepared count"] = [2] * await resolve(prepared(db, **(parameters or {})).count())
    keys["exists"] = [2] if await resolve(given.exists()) else []
    return {verb: keys.get(verb, [2]) for verb in VERBS}


async def collect(stream: Iterator[Any] | AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream] if isinstance(stream, AsyncIterator) else list(stream)
