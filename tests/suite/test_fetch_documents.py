"""Stored JSON that parsers disagree about: one document of it breaks neither its row nor the list."""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated, Any

import msgspec
import pytest
from pydantic import AfterValidator, TypeAdapter
from sqlalchemy import JSON, ForeignKey, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from querywright import DatabaseError
from tests.suite.models import Out
from tests.suite.support import AnyDatabase, add, by_orm, resolve, transaction
from tests.tables import needs


class Tables(DeclarativeBase):
    pass


class Shelf(Tables):
    __tablename__ = "document_shelves"

    id: Mapped[int] = mapped_column(primary_key=True)
    documents: Mapped[list[Document]] = relationship(order_by="Document.id")


class Document(Tables):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int] = mapped_column(ForeignKey("document_shelves.id"), default=1)
    data: Mapped[Any] = mapped_column(JSON, nullable=True)


class Exact(Out):
    id: int
    data: Any


class Checked(Out):
    id: int
    data: Annotated[Any, AfterValidator(lambda data: data)]


class Exacts(Out):
    documents: list[Exact]


class Checkeds(Out):
    documents: list[Checked]


class Struct(msgspec.Struct):
    id: int
    data: Any


class CheckedStruct(msgspec.Struct):
    id: int
    data: Any

    def __post_init__(self) -> None:
        pass


DEEP = 400
# What each database takes for JSON.
ALL = ("sqlite", "postgresql", "mysql", "mariadb")
HALVES = ("sqlite", "postgresql")
TEXTS = {
    "half of a pair": (r'{"a": "\ud800", "b": ["\udfff x", "é"]}', HALVES),
    "half of a pair as key": (r'{"\ud800": 1}', HALVES),
    "just half of a pair": (r'"\ud800"', HALVES),
    "not a number": (r'{"a": [NaN, Infinity, -Infinity, "NaN", "\"NaN"]}', ("sqlite",)),
    "not a number and half of a pair": (r'{"a": [NaN, -Infinity], "Infinity\ud800": "-Infinity \\"}', ("sqlite",)),
    "just not a number": ("NaN", ("sqlite",)),
    "just larger than a double": ("9" * 400, ("sqlite",)),
    "large": (f'{{"a": {"9" * 400}, "b": -{"1" * 30}}}', ALL),
    "zeros": ('{"a": -0, "b": -0.0, "c": 0.0, "d": 1e2, "e": 1.10}', ALL),
    "twice": ('{"a": 1, "b": 2, "a": {"a": 3, "a": 4}}', ALL),
    "zero byte": (r'{"a": "\u0000\u001f"}', ALL),
    "null": ("null", ALL),
    "none": (None, ALL),
}


@pytest.fixture
@needs(Tables.metadata)
async def shelf(db: AnyDatabase) -> AnyDatabase:
    await add(db, Shelf(id=1))
    return db


async def store(db: AnyDatabase, *documents: str | None) -> None:
    """Store texts as they are, each between two that any parser takes."""
    stored = "CAST(:data AS JSON)" if db.engine.dialect.name == "postgresql" else ":data"
    rows = [("{}", number * 3) for number in range(len(documents) + 1)]
    rows += [(document, number * 3 + 1) for number, document in enumerate(documents)]  # type: ignore[list-item]
    async with transaction(db) as tx:
        for data, key in rows:
            statement = text(f"INSERT INTO documents (id, shelf_id, data) VALUES (:id, 1, {stored})")
            await resolve(tx.execute(statement, {"id": key + 1, "data": data}))


def as_read(value: Any) -> Any:
    """JSON has no NaN, and equal is what a client reads."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)


STATEMENT = select(Document).order_by(Document.id)


@pytest.mark.parametrize("name", [*TEXTS, "all"])
async def test_a_document_breaks_no_list(shelf: AnyDatabase, name: str) -> None:
    dialect = shelf.engine.dialect.name
    wanted = [document for document, takers in TEXTS.values() if dialect in takers]
    if name != "all":
        if dialect not in TEXTS[name][1]:
            pytest.skip(f"{dialect} takes no such JSON")
        wanted = [TEXTS[name][0]]
    await store(shelf, *wanted)
    expected = await by_orm(shelf, Exact, STATEMENT)
    plain = [{"id": row.id, "data": row.data} for row in expected]
    models: tuple[Any, ...] = (Exact, Checked, Struct, CheckedStruct)
    for model in models:
        found = await resolve(shelf.fetch(model, STATEMENT).all())
        assert repr([{"id": row.id, "data": row.data} for row in found]) == repr(plain)
        query = shelf.fetch(model, STATEMENT)
        assert as_read(json.loads(await resolve(query.json()))) == as_read(plain)
        assert as_read(json.loads(await resolve(query.json_page(size=50)))["items"]) == as_read(plain)
        only = shelf.fetch(model, STATEMENT, fields="data")
        assert as_read(json.loads(await resolve(only.json()))) == as_read([{"data": row["data"]} for row in plain])
    lists: tuple[Any, ...] = (Exacts, Checkeds)
    for nested in lists:
        for strategy in ("statement", "levels"):
            below = shelf.fetch(nested, select(Shelf), strategy=strategy)
            [one] = await resolve(below.all())
            assert repr([{"id": row.id, "data": row.data} for row in one.documents]) == repr(plain)
            assert as_read(json.loads(await resolve(below.json()))) == as_read([{"documents": plain}])


async def test_a_document_may_be_nested_deeply(shelf: AnyDatabase) -> None:
    """Deeper than Pydantic parses; MariaDB's own limit is 32."""
    if shelf.engine.dialect.name in {"mysql", "mariadb"}:
        pytest.skip("MariaDB takes no JSON nested deeper than 32")
    await store(shelf, '{"a":' * DEEP + "1" + "}" * DEEP, "[" * DEEP + "]" * DEEP)
    expected = await by_orm(shelf, Exact, STATEMENT)
    assert await resolve(shelf.fetch(Exact, STATEMENT).all()) == expected
    written = json.loads(await resolve(shelf.fetch(Exact, STATEMENT).json()))
    assert written == [{"id": row.id, "data": row.data} for row in expected]


async def test_null_is_told_from_no_document(shelf: AnyDatabase) -> None:
    await store(shelf, "null", None)
    written = json.loads(await resolve(shelf.fetch(Exact, STATEMENT).json(exclude_none=True)))
    adapter = TypeAdapter(list[Exact])
    assert written == json.loads(adapter.dump_json(await by_orm(shelf, Exact, STATEMENT), exclude_none=True))


@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite", "mariadb+pymysql")
@pytest.mark.parametrize(
    "stored", ["", "{bad", "[1,]", '1},{"id":99,"data":2', '1,"admin":true', "[NaN", '{"a": -NaN}']
)
async def test_a_text_that_is_no_document_is_never_sent(shelf: AnyDatabase, stored: str) -> None:
    if shelf.engine.dialect.name == "mariadb":
        async with transaction(shelf) as tx:
            await resolve(tx.execute(text("ALTER TABLE documents MODIFY data LONGTEXT")))
    await store(shelf, stored)
    for strategy in ("statement", "levels"):
        for fetched in (
            shelf.fetch(Exact, STATEMENT, strategy=strategy),
            shelf.fetch(Exacts, select(Shelf), strategy=strategy),
        ):
            for verb in (fetched.json, fetched.all, partial(fetched.page, size=5)):
                with pytest.raises(DatabaseError, match="holds a text that is not JSON"):
                    await resolve(verb())
