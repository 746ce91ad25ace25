from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from querywright.fetching.compile.form import Form
from querywright.fetching.execute.cache import LRU
from querywright.fetching.execute.compiled import compiled_for
from tests.suite.models import Author, NameOut


def test_throws_out_what_was_used_least_recently() -> None:
    cache: LRU[str] = LRU(2)
    cache.put("a", "A")
    cache.put("b", "B")
    assert cache.get("a") == "A"
    cache.put("c", "C")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("A", None, "C")
    assert len(cache) == 2


def test_statements_of_one_structure_are_compiled_once() -> None:
    dialect = sqlite.dialect()  # type: ignore[no-untyped-call]
    first, one = compiled_for(NameOut, select(Author).where(Author.id == 1), Form(array=True), dialect)
    second, two = compiled_for(NameOut, select(Author).where(Author.id == 2), Form(array=True), dialect)
    assert first is second
    assert (first.binder.bind(one).parameters, second.binder.bind(two).parameters) == ((1,), (2,))


def test_dialects_forms_and_structures_are_kept_apart() -> None:
    lite, pg = sqlite.dialect(), postgresql.dialect()  # type: ignore[no-untyped-call]
    statement = select(Author).where(Author.id == 1)
    made = [
        compiled_for(NameOut, statement, Form(array=True), lite)[0],
        compiled_for(NameOut, statement, Form(array=True), pg)[0],
        compiled_for(NameOut, statement, Form(array=False), lite)[0],
        compiled_for(NameOut, statement.limit(1), Form(array=True), lite)[0],
    ]
    assert len({id(prepared) for prepared in made}) == len(made)
