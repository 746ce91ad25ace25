"""Response models that write their own JSON, aliases, filters and schemas, on every database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, AliasChoices, AliasPath, BaseModel, ConfigDict, Field, computed_field
from pydantic import ValidationError as PydanticValidationError
from sqlalchemy import bindparam, event, select, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, selectinload, sessionmaker, with_loader_criteria

from querywright import AsyncDatabase, ConfigurationError, Database, ShapeError, fetch
from tests.suite.models import Author, Base, Book, NameOut, Out, Tag
from tests.suite.support import AnyDatabase, add, resolve, session, transaction


class Loud(Out):
    name: Annotated[str, AfterValidator(str.upper)]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def size(self) -> int:
        return len(self.name)


class Shelf(Out):
    id: int
    pupils: list[Loud]


async def test_validators_and_computed_fields(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="first"))
    await add(db, Author(id=2, name="second", mentor_id=1))
    statement = select(Author).order_by(Author.id)
    text_ = await resolve(db.fetch(Shelf, statement).json())
    assert text_ == b'[{"id":1,"pupils":[{"name":"SECOND","size":6}]},{"id":2,"pupils":[]}]'
    assert await resolve(db.fetch(Loud, statement.limit(1)).json_one()) == b'{"name":"FIRST","size":5}'
    assert (await resolve(db.fetch(Loud, statement.limit(1)).one())).name == "FIRST"


class LoudRenamed(BaseModel):
    name: Annotated[str, AfterValidator(str.upper)] = Field(validation_alias="read_as", serialization_alias="writtenAs")


async def test_validators_and_aliases(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="first"))
    assert await resolve(db.fetch(LoudRenamed, select(Author)).json()) == b'[{"writtenAs":"FIRST"}]'
    assert await resolve(db.fetch(LoudRenamed, select(Author)).json_one()) == b'{"writtenAs":"FIRST"}'


class Short(Out):
    name: str = Field(max_length=2)


async def test_constraints_of_the_model_hold(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="long"))
    with pytest.raises(PydanticValidationError):
        await resolve(db.fetch(Short, select(Author)).json())


class Renamed(BaseModel):
    model_config = ConfigDict(alias_generator=lambda name: f"{name}_'\"%é")
    id: int
    name: str = Field(alias="theName")
    email: str | None = Field(validation_alias=AliasChoices(AliasPath("a", "b"), "mail"))


async def test_aliases(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="first"))
    statement = select(Author)
    [row] = json.loads(await resolve(db.fetch(Renamed, statement).json()))
    assert row == {"id_'\"%é": 1, "theName": "first", "email_'\"%é": None}
    instance = await resolve(db.fetch(Renamed, statement).one())
    assert (instance.id, instance.name, instance.email) == (1, "first", None)
    assert json.loads(instance.model_dump_json(by_alias=True)) == row


NOT_DELETED = [
    with_loader_criteria(Author, Author.deleted.is_(False)),
    with_loader_criteria(Book, lambda book: book.deleted.is_(False), include_aliases=True),
]


class PupilOut(Out):
    id: int
    mentor: NameOut | None
    books: list[NameOnly]


class NameOnly(Out):
    title: str


class TreeOut(Out):
    id: int
    pupils: list[PupilOut]


@pytest.fixture
async def some_deleted(db: AnyDatabase) -> AnyDatabase:
    await add(db, Author(id=1, name="first"))
    await add(db, Author(id=2, name="second", mentor_id=1))
    await add(db, Author(id=3, name="gone", mentor_id=1, deleted=True))
    await add(db, Book(id=1, author_id=2, title="kept"), Book(id=2, author_id=2, title="gone", deleted=True))
    return db


FILTERED = [{"id": 1, "pupils": [{"id": 2, "mentor": {"id": 1, "name": "first"}, "books": [{"title": "kept"}]}]}]


async def test_loader_criteria_hold_at_every_level(some_deleted: AnyDatabase) -> None:
    statement = select(Author).where(Author.id != 2).order_by(Author.id).options(*NOT_DELETED)
    assert json.loads(await resolve(some_deleted.fetch(TreeOut, statement).json())) == FILTERED


async def test_criteria_with_values_are_bound_anew(some_deleted: AnyDatabase) -> None:
    def only(titles: list[str]) -> Any:
        return (
            select(Author)
            .where(Author.id == 2)
            .options(with_loader_criteria(Book, lambda book: book.title.in_(titles), track_closure_variables=True))
        )

    for title in ("kept", "gone", "neither"):
        row = json.loads(await resolve(some_deleted.fetch(PupilOut, only([title])).json_one()))
        assert row["books"] == ([] if title == "neither" else [{"title": title}])


@pytest.fixture
def soft_delete() -> Iterator[None]:
    def listener(state: Any) -> None:
        if state.is_select:
            state.statement = state.statement.options(*NOT_DELETED)

    event.listen(Session, "do_orm_execute", listener)
    yield
    event.remove(Session, "do_orm_execute", listener)


async def test_filters_of_the_session_hold(some_deleted: AnyDatabase, soft_delete: None) -> None:
    statement = select(Author).where(Author.id != 2).order_by(Author.id)
    async with session(some_deleted) as opened:
        for _ in range(2):
            assert json.loads(await resolve(opened.fetch(TreeOut, statement).json())) == FILTERED


@pytest.mark.drivers("postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg async")
async def test_schema_translate_map(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="here"))
    async with transaction(db) as tx:
        await resolve(tx.execute(text("CREATE SCHEMA other")))
        await resolve(tx.execute(text("CREATE TABLE other.authors (LIKE public.authors)")))
        await resolve(tx.execute(text("INSERT INTO other.authors VALUES (1, 'there', NULL, NULL, false)")))
    try:
        other = db.engine.execution_options(schema_translate_map={None: "other"})
        assert await resolve(fetch(other, NameOut, select(Author)).json_one()) == b'{"id":1,"name":"there"}'  # type: ignore[call-overload]
        assert await resolve(db.fetch(NameOut, select(Author)).json_one()) == b'{"id":1,"name":"here"}'
    finally:
        async with transaction(db) as tx:
            await resolve(tx.execute(text("DROP SCHEMA other CASCADE")))


@pytest.mark.drivers("postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg async")
async def test_schema_translate_map_of_a_session_or_statement(db: AnyDatabase) -> None:
    """A tenant's schema, however it was chosen, holds for a fetch as for the ORM."""
    await add(db, Author(id=1, name="here"))
    there = {"schema_translate_map": {None: "tenant"}}
    expected = b'{"id":1,"name":"there"}'
    async with transaction(db) as tx:
        await resolve(tx.execute(text("CREATE SCHEMA tenant")))
        await resolve(tx.execute(text("CREATE TABLE tenant.authors (LIKE public.authors)")))
        await resolve(tx.execute(text("INSERT INTO tenant.authors VALUES (1, 'there', NULL, NULL, false)")))
    try:
        marked = select(Author).execution_options(**there)
        assert await resolve(db.fetch(NameOut, marked).json_one()) == expected
        async with session(db) as opened:
            await resolve(opened.connection(execution_options=there))
            assert await resolve(opened.fetch(NameOut, select(Author)).json_one()) == expected
        async with session(db) as listened:
            event.listen(
                getattr(listened, "sync_session", listened),
                "do_orm_execute",
                lambda state: state.update_execution_options(**there),
            )
            assert await resolve(listened.fetch(NameOut, select(Author)).json_one()) == expected
    finally:
        async with transaction(db) as tx:
            await resolve(tx.execute(text("DROP SCHEMA tenant CASCADE")))


REFUSED = {
    "a column": select(Author.id),
    "two classes": select(Author, Book),
    "a class and a column": select(Author, Author.id),
    "text": text("SELECT 1"),
    "a union": select(Tag).union(select(Tag)),
    "a table": select(Author.__table__),
}


@pytest.mark.parametrize("name", REFUSED)
def test_statements_of_anything_but_one_class_are_refused(name: str) -> None:
    with Database("sqlite+pysqlite:///:memory:") as db, pytest.raises(ShapeError, match=r"^statement: "):
        db.fetch(NameOut, REFUSED[name]).all()  # type: ignore[arg-type]


def test_sql_needs_no_connection() -> None:
    sql = AsyncDatabase("postgresql+asyncpg://nobody@127.0.0.1:1/x").fetch(NameOut, select(Author)).sql()
    assert sql.startswith("SELECT '['")


async def test_in_lists_of_any_length_share_a_plan(db: AnyDatabase) -> None:
    await add(db, *(Author(id=n, name=str(n)) for n in range(1, 5)))
    for ids in ([1], [1, 2, 3], [], [4, 9]):
        rows = await resolve(db.fetch(NameOut, select(Author).where(Author.id.in_(ids))).all())
        assert sorted(row.id for row in rows) == [n for n in ids if n < 5]


BY_NAME = select(Author).where(Author.name == bindparam("name"), Author.id.in_(bindparam("ids", expanding=True)))


async def test_named_parameters(db: AnyDatabase) -> None:
    await add(db, *(Author(id=n, name=f"author {n}") for n in range(1, 5)))
    for n in (1, 2):
        fetched = db.fetch(NameOut, BY_NAME, {"name": f"author {n}", "ids": list(range(n + 1))})
        assert await resolve(fetched.one()) == NameOut(id=n, name=f"author {n}")
    async with session(db) as opened:
        assert await resolve(opened.fetch(NameOut, BY_NAME, {"name": "author 3", "ids": []}).json()) == b"[]"
    with pytest.raises(InvalidRequestError, match="'name'"):
        await resolve(db.fetch(NameOut, BY_NAME, {"ids": [1]}).json())
    with pytest.raises(ShapeError, match="no parameter nmae"):
        await resolve(db.fetch(NameOut, BY_NAME, {"nmae": "author 1", "ids": [1]}).json())


def test_a_session_with_several_databases_is_asked_for_the_right_one(tmp_path: Path) -> None:
    from sqlalchemy import create_engine  # noqa: PLC0415 - beside its only use

    engines = [create_engine(f"sqlite+pysqlite:///{tmp_path}/{name}.db") for name in ("authors", "tags")]
    for engine in engines:
        Base.metadata.create_all(engine)
    with Session(binds={Author: engines[0], Tag: engines[1]}) as routed:
        routed.add_all([Author(id=1, name="first"), Tag(id=1, name="one")])
        assert fetch(routed, NameOut, select(Author)).json() == b'[{"id":1,"name":"first"}]'
        assert fetch(routed, NameOut, select(Tag)).json() == b'[{"id":1,"name":"one"}]'
    for engine in engines:
        engine.dispose()


def test_filters_of_loader_options_are_refused() -> None:
    filtered = select(Author).options(selectinload(Author.books.and_(Book.pages > 1)))
    with Database("sqlite+pysqlite:///:memory:") as db, pytest.raises(ShapeError, match="filters a relationship"):
        db.fetch(NameOut, filtered).all()


@pytest.mark.parametrize("model", [list[NameOut], dict, Author])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with (
        Database("sqlite+pysqlite:///:memory:") as db,
        pytest.raises(ShapeError, match="is not a model with named fields"),
    ):
        db.fetch(model, select(Author))


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+asyncpg")
async def test_scoped_sessions(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="first"))
    expected = b'[{"id":1,"name":"first"}]'
    if isinstance(db, AsyncDatabase):
        scoped = async_scoped_session(async_sessionmaker(db.engine), scopefunc=lambda: 1)
        assert await fetch(scoped, NameOut, select(Author)).json() == expected
        await scoped.remove()
        with pytest.raises(ConfigurationError, match="not open yet"):
            fetch(db.engine.connect(), NameOut, select(Author))
    else:
        sync_scoped = scoped_session(sessionmaker(db.engine))
        assert fetch(sync_scoped, NameOut, select(Author)).json() == expected
        sync_scoped.remove()


PARAMETER = select(Author).where(Author.name == bindparam("param_1"))


async def test_parameters_of_any_name(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="first"))
    assert (await resolve(db.fetch(NameOut, PARAMETER, {"param_1": "first"}).one())).id == 1


class ByName(BaseModel):
    model_config = ConfigDict(validate_by_alias=False, validate_by_name=True)
    name: str = Field(alias="Name")


@pytest.mark.skipif(
    "validate_by_alias" not in ConfigDict.__annotations__, reason="Pydantic has validate_by_alias since 2.11"
)
async def test_models_that_validate_by_name(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="first"))
    assert (await resolve(db.fetch(ByName, select(Author)).one())).name == "first"
    assert await resolve(db.fetch(ByName, select(Author)).json()) == b'[{"Name":"first"}]'


class Percent(Out):
    id: int = Field(serialization_alias="%(id_1)s")
    name: str = Field(serialization_alias="it's %% %s :id_1 ? $1 {} \\ %(")


async def test_keys_are_never_taken_for_parameters(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="Ada"))
    statement = select(Author).where(Author.id == 1, Author.name != "x")
    rows = json.loads(await resolve(db.fetch(Percent, statement).json()))
    assert rows == [{"%(id_1)s": 1, "it's %% %s :id_1 ? $1 {} \\ %(": "Ada"}]
