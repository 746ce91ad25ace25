"""The SQL for MySQL 8, of which no server is needed, and how it writes constants."""

from __future__ import annotations

import re
from typing import Annotated, Any

import pytest
from sqlalchemy import Dialect, desc, select
from sqlalchemy.dialects import mysql

from querywright import First, Grouped, Many
from querywright.fetching.compile.form import Form, PageForm
from querywright.fetching.execute.compiled import compiled_for
from querywright.fetching.writers.mysql import _literal
from tests.suite.models import Author, AuthorOut, BookOut, Everything, EverythingOut, NameOut, Out
from tests.suite.zoo import Zoo

LIMIT = 2**30 - 1


@pytest.fixture
def dialect() -> Dialect:
    made = mysql.dialect()
    made.server_version_info = (8, 0, 36)
    return made


def sql(dialect: Dialect, model: type, statement: object, form: Form) -> str:
    prepared, extracted = compiled_for(model, statement, form, dialect)  # type: ignore[arg-type]
    return prepared.binder.bind(extracted).sql


def test_flat_rows(dialect: Dialect) -> None:
    statement = select(Author).where(Author.id > 3).order_by(Author.name).limit(5)
    assert " ".join(sql(dialect, NameOut, statement, Form(array=False)).split()) == (
        "SELECT coalesce(coalesce(concat('{\"id\":', anon_1.c0 + 0, ',\"name\":', json_quote(anon_1.c1), '}'), "
        "CASE WHEN (anon_1.c0 IS NOT NULL AND anon_1.c1 IS NOT NULL) THEN _utf8mb4 X'01746f6f206c6172676501' END), "
        "_utf8mb4 X'014e616d654f757401') AS o "
        "FROM (SELECT authors.id AS c0, authors.name AS c1 FROM authors WHERE authors.id > %s "
        "ORDER BY authors.name LIMIT %s) AS anon_1 ORDER BY anon_1.c1"
    )


@pytest.mark.parametrize("model", [AuthorOut, BookOut, NameOut])
def test_arrays_lift_the_limit_of_each_server_for_one_statement(dialect: Dialect, model: type) -> None:
    root = select(Author) if model is not BookOut else select(Author.books.property.mapper.class_)
    text = sql(dialect, model, root, Form(array=True))
    hint = f"SELECT /*+ SET_VAR(group_concat_max_len={LIMIT}) */ "
    assert text.startswith(f"/*M! SET STATEMENT group_concat_max_len={LIMIT} FOR */ {hint}")
    assert text.count("SET_VAR") == text.count("SET STATEMENT") == 1


def test_the_hint_follows_the_select_and_not_the_with(dialect: Dialect) -> None:
    known = select(Author.id).cte("known")
    text = sql(dialect, AuthorOut, select(Author).where(Author.id.in_(select(known.c.id))), Form(array=True))
    assert re.match(r"/\*M![^/]*\*/ WITH known AS\s+\(SELECT .*?\)\s+SELECT /\*\+ SET_VAR", text, re.DOTALL)


def test_nothing_that_a_session_could_change(dialect: Dialect) -> None:
    for model, root in ((AuthorOut, Author), (EverythingOut, Everything)):
        text = sql(dialect, model, select(root).order_by(root.id), Form(array=True))
        assert "||" not in text
        assert "\\" not in text
        assert "LATERAL" not in text
        assert "row_number" not in text
        assert str(2**64 - 1) not in text


def test_arrays_are_ordered_by_group_concat(dialect: Dialect) -> None:
    text = sql(dialect, AuthorOut, select(Author), Form(array=True))
    assert "_utf8mb4 X'03' ORDER BY books_2.id DESC SEPARATOR '')" in text
    assert re.search(r"ORDER BY book_tags_\d\.`?position`? DESC SEPARATOR ''\)", text)


class NamedOut(Out):
    name: str


class ZooOut(Out):
    heaviest: Annotated[list[NamedOut], Many("animals", order_by=desc("weight"), limit=2)]
    kinds: Annotated[dict[str, list[NamedOut]], Grouped("animals", by="kind")]
    first: Annotated[NamedOut | None, First("animals", order_by="weight")]


def test_no_subquery_in_from_but_that_of_the_root(dialect: Dialect) -> None:
    """MariaDB and MySQL before 8.0.14 have no rows outside of it there."""
    text = sql(dialect, ZooOut, select(Zoo), Form(array=True))
    assert len(re.findall(r"FROM\s+\(", text)) == 1
    assert "SEPARATOR '' /*M!100303 LIMIT 2 */), " in text
    assert "_utf8mb4 X'03', least(count(*), 2))" in text


@pytest.mark.parametrize(
    ("order", "written"),
    [
        (Author.email, "k0 ASC, "),
        (Author.email.desc(), "k0 DESC, "),
        (Author.email.nulls_last(), "k0 IS NULL ASC, "),
        (Author.email.desc().nulls_first(), "k0 IS NULL DESC, "),
    ],
)
def test_pages_without_the_words_that_order_nulls(dialect: Dialect, order: Any, written: str) -> None:
    form = Form(array=False, page=PageForm(3, by_keyset=True))
    text = sql(dialect, NameOut, select(Author).order_by(order), form)
    assert "NULLS" not in text
    assert written in text.replace(")", "")
    assert re.search(r"row_number\(\) OVER \(ORDER BY \(?anon_\d", text)


@pytest.mark.parametrize("text", ["\\", "\\' OR 1=1 -- ", "é", "😀", "\x01", "\n", "\x00", "\x7f", "%(name)s"])
def test_what_a_session_may_read_otherwise_is_hexadecimal(text: str) -> None:
    assert str(_literal(text)) == f"_utf8mb4 X'{text.encode().hex()}'"


def test_plain_text_stays_readable() -> None:
    assert str(_literal('it\'s "quoted" % :x')) == "'it''s \"quoted\" % :x'"
