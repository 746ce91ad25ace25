"""Values that a client may send and no statement takes are told from what is wrong with the statement itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import JSON, Select, bindparam, select, text
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from querywright import DatabaseError, Document, InvalidValue
from querywright.engine import classify
from querywright.engine.reports import report_of
from tests.conftest import POSTGRES
from tests.suite.models import Out, Tag, TagOut
from tests.suite.support import AnyDatabase, add, resolve, transaction
from tests.tables import needs


class Tables(DeclarativeBase):
    pass


class Card(Tables):
    __tablename__ = "client_cards"

    id: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[Any] = mapped_column(JSON)
    document: Mapped[Any] = mapped_column(Document)


class CardOut(Out):
    id: int


@pytest.fixture
@needs(Tables.metadata)
async def cards(db: AnyDatabase) -> AnyDatabase:
    await add(db, Card(id=1, data={"a": "b"}, document={"a": "b"}))
    return db


async def scalars(db: AnyDatabase, statement: Any, parameters: Any = None) -> list[Any]:
    async with transaction(db) as tx:
        return list((await resolve(tx.execute(statement, parameters or {}))).all())


async def known(db: AnyDatabase, statement: Any, parameters: Any = None) -> DatabaseError | None:
    """Run what has to fail, and say what it is for."""
    with pytest.raises((DBAPIError, StatementError)) as caught:
        await scalars(db, statement, parameters)
    return classify(caught.value)


async def fetched(db: AnyDatabase, model: Any, statement: Select[Any]) -> AsyncIterator[DatabaseError | None]:
    for verb in ("json", "all", "first", "count"):
        with pytest.raises((DBAPIError, StatementError)) as caught:
            await resolve(getattr(db.fetch(model, statement), verb)())
        yield classify(caught.value)


TAGS = select(Tag).order_by(Tag.id)
LIMITS = {
    "limit": TAGS.limit,
    "offset": TAGS.limit(3).offset,
}


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("number", [-1, -(2**63), 2**64, 10**30, 10**400], ids=lambda number: str(number)[:9])
async def test_limits_that_no_database_takes(db: AnyDatabase, name: str, number: int) -> None:
    if db.engine.dialect.name == "sqlite" and -(2**63) <= number < 0:
        pytest.skip("SQLite takes a negative number for none")
    statement = LIMITS[name](number)
    assert type(await known(db, statement)) is InvalidValue
    async for error in fetched(db, TagOut, statement):
        assert type(error) is InvalidValue


@pytest.mark.drivers("mariadb+pymysql", "mariadb+aiomysql")
async def test_a_parameter_as_a_limit(db: AnyDatabase) -> None:
    statement = TAGS.limit(bindparam("most"))
    assert await scalars(db, statement, {"most": 1}) == []
    assert type(await known(db, statement, {"most": -1})) is InvalidValue
    # Wrong SQL stays a fault of the application.
    assert type(await known(db, text("SELECT 1 FORM tags LIMIT :most"), {"most": 1})) is DatabaseError


KEYS: list[Any] = [
    "'", '"', "\\", "]", "[", "[0]", "$", "*", "", "%", "%s", ":x", "{", "}", ",", "é", "x" * 5000, "a\0", "\0",
    "\ud800", 0, -1, 2**63, 10**30,
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=lambda key: ascii(key)[:12])
async def test_keys_of_documents_that_a_client_chooses(cards: AnyDatabase, key: Any) -> None:
    found: list[Any] = []
    for column in (Card.data, Card.document):
        for path in (key, ("a", key)):
            statement = select(Card).where(column[path].as_string() == "b")
            for run in (partial(scalars, cards, statement), cards.fetch(CardOut, statement).all):
                try:
                    found.append(len(await resolve(run())))
                except (DBAPIError, StatementError) as error:
                    found.append(type(classify(error)))
    # Of a text the first item is the text itself, on MySQL and MariaDB.
    assert set(found) <= {0, 1, InvalidValue}


SEARCHES = {
    "sqlite": [
        ("SELECT name FROM client_words WHERE client_words MATCH :sent", text)
        for text in ('"a', "a AND", "other:a", "a-b", "a(", "^", "NEAR(a b, c)", "*a", "")
    ]
    + [("SELECT 'a' REGEXP :sent", "("), ("SELECT json_extract('{}', :sent)", "$.["), ("SELECT '{}' -> :sent", "$x")],
    "postgresql": [
        ("SELECT to_tsquery('english', CAST(:sent AS text))", "a b"),
        ("SELECT to_tsquery('english', CAST(:sent AS text))", "a & ("),
        ("SELECT CAST(CAST(:sent AS text) AS jsonpath)", "$.["),
        ("SELECT 'a' ~ CAST(:sent AS text)", "("),
        ("SELECT 'a' LIKE CAST(:sent AS text)", "\\"),
        ("SELECT now() AT TIME ZONE CAST(:sent AS text)", "Mars"),
    ],
    "mariadb": [
        *(
            ("SELECT name FROM client_words WHERE MATCH(name) AGAINST(:sent IN BOOLEAN MODE)", text)
            for text in ("+", "(a", "a@b", "++a")
        ),
        ("SELECT 'a' REGEXP :sent", "("),
    ],
}  # fmt: skip
WORDS = {
    "sqlite": "CREATE VIRTUAL TABLE client_words USING fts5(name)",
    "postgresql": "CREATE TABLE client_words (name TEXT)",
    "mariadb": "CREATE TABLE client_words (name TEXT, n INTEGER, FULLTEXT (name)) ENGINE=InnoDB",
}


@pytest.fixture
async def words(db: AnyDatabase) -> AsyncIterator[AnyDatabase]:
    async with transaction(db) as tx:
        await resolve(tx.execute(text(WORDS[db.engine.dialect.name])))
    yield db
    async with transaction(db) as tx:
        await resolve(tx.execute(text("DROP TABLE client_words")))


async def test_searches_and_patterns_that_a_client_writes(words: AnyDatabase) -> None:
    for statement, sent in SEARCHES[words.engine.dialect.name]:
        with pytest.raises(DBAPIError) as caught:
            await scalars(words, text(statement), {"sent": sent})
        assert (type(classify(caught.value)), statement, sent) == (InvalidValue, statement, sent)
        assert f'"{sent}"' not in report_of(caught.value), "what was sent is in the log"


WRONG = {
    "sqlite": ["SELECT nothing FROM client_words WHERE client_words MATCH 'a'", "SELECT 'a' LIKE 'b' ESCAPE 'xx'"],
    "postgresql": ["SELECT to_tsquery('a') FORM tags", "SELECT 'tsquery", "SELECT CAST('a' AS jsonpath"],
    "mariadb": ["SELECT 1 FORM tags", "SELECT MATCH(name) AGAINST('+') nothing FORM client_words"],
}


async def test_statements_that_are_wrong_themselves(words: AnyDatabase) -> None:
    for statement in WRONG[words.engine.dialect.name]:
        assert (type(await known(words, text(statement))), statement) == (DatabaseError, statement)


COMPUTED = {
    "postgresql": [
        ("SELECT 1 / (length(CAST(:sent AS text)) - 1)", "22012"),
        ("SELECT ln(length(CAST(:sent AS text)) - 1)", "2201E"),
        ("SELECT power(length(CAST(:sent AS text)) - 1, -1)", "2201F"),
        ("SELECT substring('abc', 1, length(CAST(:sent AS text)) - 2)", "22011"),
        ("SELECT jsonb_path_query('{}', 'strict $.a') WHERE CAST(:sent AS text) = 'a'", "2203A"),
    ],
    "mariadb": [
        ("INSERT INTO client_words (n) SELECT 1 / (LENGTH(:sent) - 1)", "22012"),
        ("INSERT INTO client_words (n) SELECT LN(LENGTH(:sent) - 1)", "22012"),
    ],
}


@pytest.mark.drivers(*POSTGRES, "mariadb+pymysql", "mariadb+aiomysql")
async def test_what_a_statement_computes_is_no_fault_of_a_client(words: AnyDatabase) -> None:
    for statement, state in COMPUTED[words.engine.dialect.name]:
        with pytest.raises(DBAPIError) as caught:
            await scalars(words, text(statement), {"sent": "a"})
        error = classify(caught.value)
        assert error is not None
        assert (type(error), error.sqlstate, statement) == (DatabaseError, state, statement)
        assert error.message in report_of(caught.value)
