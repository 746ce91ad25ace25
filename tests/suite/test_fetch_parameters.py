"""Values of a statement's parameters, wherever they come from, in every verb and on every database."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy.orm
from sqlalchemy import ColumnElement, Select, String, bindparam, event, func, or_, select, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import ORMExecuteState, with_loader_criteria

from querywright import ShapeError, prepare
from tests.suite.models import Author, Book, NameOut, Out
from tests.suite.support import AnyDatabase, add, collect, resolve


class PupilOut(Out):
    id: int


class Library(Out):
    id: int
    books: list[PupilOut]


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


Form = tuple[Select[Any], dict[str, Any] | None]
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
async def test_parameters_of_every_form(authors: AnyDatabase, name: str) -> None:
    # Of the same structure, but what it says of its parameters must not last.
    for first in (named(), named(value="d"), named(callable_=lambda: "d")):
        assert [row.id for row in await resolve(authors.fetch(AuthorOut, first, {"n": "c"}).all())] == [3]
    statement, parameters = FORMS[name]
    given, prepared = authors.fetch(AuthorOut, statement, parameters), prepare(AuthorOut, statement)
    for _ in range(2):
        assert keys(await resolve(given.all())) == [2]
        assert keys(await resolve(prepared(authors, **(parameters or {})).all())) == [2]
    assert await resolve(given.count()) == 1
    if statement._limit_clause is None:
        assert keys((await resolve(given.page(size=3))).items) == [2]


@pytest.mark.parametrize("name", ["params and given", "function", "literal and params", "odd names"])
async def test_parameters_in_every_verb(authors: AnyDatabase, name: str) -> None:
    statement, parameters = FORMS[name]
    given, prepared = authors.fetch(AuthorOut, statement, parameters), prepare(AuthorOut, statement)
    by_levels = authors.fetch(AuthorOut, statement, parameters, strategy="levels")
    assert keys(await resolve(by_levels.all())) == keys(await resolve(given.all())) == [2]
    assert keys(json.loads(await resolve(given.json()))) == keys(json.loads(await resolve(by_levels.json()))) == [2]
    assert keys([await resolve(given.one()), await resolve(given.first())]) == [2, 2]
    assert json.loads(await resolve(given.json_one())) == {"id": 2, "pupils": [{"id": 20}]}
    assert keys(await collect(given.stream())) == [2]
    assert keys(json.loads(b"".join(await collect(given.stream_json())))) == [2]
    assert keys(json.loads(await resolve(given.json_page(size=3)))["items"]) == [2]
    assert keys((await resolve(given.page(size=3, number=1))).items) == [2]
    called = prepared(authors, **(parameters or {}))
    assert keys((await resolve(called.page(size=3))).items) == [2]
    assert await resolve(called.count()) == await resolve(given.count()) == 1
    assert await resolve(called.exists())
    assert await resolve(given.exists())
    assert await resolve(given.explain())
    assert given.sql()


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("made", ["function", "expression"])
async def test_parameters_of_statements_that_a_listener_filters(authors: AnyDatabase, name: str, made: str) -> None:
    """SQLAlchemy 2.0 cannot fill in what has the option by ``params()``: it has nothing to copy."""
    filters: dict[str, Any] = {
        "function": lambda author: author.id != bindparam("hidden"),
        "expression": Author.id != bindparam("hidden"),
    }
    option = with_loader_criteria(Author, filters[made], include_aliases=True)

    def add_filter(state: ORMExecuteState) -> None:
        if state.is_select:
            state.statement = state.statement.options(option)
            state.parameters = {**dict(state.parameters or {}), "hidden": 3, "not there": 0}  # type: ignore[misc]

    statement, parameters = FORMS[name]
    event.listen(sqlalchemy.orm.Session, "do_orm_execute", add_filter)
    try:
        assert keys(await resolve(authors.fetch(AuthorOut, statement, parameters).all())) == [2]
        assert keys(await resolve(prepare(AuthorOut, statement)(authors, **(parameters or {})).all())) == [2]
        hidden = authors.fetch(AuthorOut, named(), {"n": "c"})
        assert await resolve(hidden.all()) == (await resolve(hidden.page(size=2))).items == []
    finally:
        event.remove(sqlalchemy.orm.Session, "do_orm_execute", add_filter)


async def test_parameters_of_filters_of_related_rows(authors: AnyDatabase) -> None:
    """They are not in every statement, and nevertheless known."""
    option = with_loader_criteria(Book, lambda book: book.pages >= bindparam("least"), include_aliases=True)
    statement = select(Author).where(Author.id.in_([1, 3])).order_by(Author.id).options(option)
    for strategy in ("auto", "levels"):
        for least, expected in ((1, [1, 3]), (2, [3]), (4, [])):
            fetched = authors.fetch(Library, statement, {"least": least}, strategy=strategy)
            assert [book.id for row in await resolve(fetched.all()) for book in row.books] == expected
            assert await resolve(fetched.count()) == 2
    narrow = authors.fetch(Library, statement, {"least": 1}, fields="id")
    assert await resolve(narrow.json()) == b'[{"id":1},{"id":3}]'
    for verb in ("all", "count", "exists"):
        with pytest.raises(ShapeError, match="it has no parameter laest; it has least"):
            await resolve(getattr(authors.fetch(Library, statement, {"laest": 1, "least": 1}), verb)())


class Tagged(ColumnElement[str]):
    """An element without a cache key."""

    inherit_cache = False
    type = String()

    def __init__(self, inside: ColumnElement[str]) -> None:
        self.inside = inside


@compiles(Tagged)
def _compile_tagged(element: Tagged, compiler: Any, **options: Any) -> str:
    return f"lower({compiler.process(element.inside, **options)})"


async def test_statements_without_a_cache_key(authors: AnyDatabase) -> None:
    statement = select(Author).where(Tagged(Author.name) == bindparam("n"), Author.id < 10)
    assert statement._generate_cache_key() is None
    for name, key in (("b", 2), ("c", 3)):
        for fetched in (
            authors.fetch(NameOut, statement.params(n=name)),
            authors.fetch(NameOut, statement, {"n": name}),
        ):
            assert keys(await resolve(fetched.all())) == [key]
            assert await resolve(fetched.count()) == 1
            assert keys((await resolve(fetched.page(size=1))).items) == [key]
    with pytest.raises(InvalidRequestError, match="'n'"):
        await resolve(authors.fetch(NameOut, statement).all())


async def test_functions_are_called_anew(authors: AnyDatabase) -> None:
    names = iter("abcdabcd")
    by_name = prepare(NameOut, select(Author).where(Author.name == bindparam(None, callable_=lambda: next(names))))
    assert [keys(await resolve(by_name(authors).all())) for _ in range(4)] == [[1], [2], [3], [4]]


def keys(rows: Any) -> list[int]:
    return [row["id"] if isinstance(row, dict) else row.id for row in rows]


async def test_parameters_without_a_name_keep_their_values(authors: AnyDatabase) -> None:
    for name in "abc":
        found = authors.fetch(NameOut, select(Author).where(Author.name == bindparam(None, name)))
        assert [row.name for row in await resolve(found.all())] == [name]
        assert await resolve(found.count()) == 1
