"""What a database can be made of, and be replaced by: options, arguments of the driver, an engine, memory."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from querywright import (
    AsyncDatabase,
    ConfigurationError,
    Database,
    DatabaseSettings,
    NestedTransaction,
)
from querywright.fastapi import Json, Reader, install
from tests.conftest import SYNC
from tests.suite.models import Base, Tag, TagOut
from tests.suite.support import AnyDatabase, add, resolve, run_sync, session, transaction

PG, MARIA = "postgresql+asyncpg://app@localhost/app", "mariadb+aiomysql://app@localhost/app"
TAGS = select(Tag).order_by(Tag.id)
MEMORY = (
    "sqlite+pysqlite:///:memory:",
    "sqlite+aiosqlite:///:memory:",
    "sqlite+aiosqlite:///file:x?mode=memory&uri=true",
)


def database(url: Any, **options: Any) -> AnyDatabase:
    kind = AsyncDatabase if any(name in str(url) for name in ("aio", "asyncpg")) else Database
    return kind(url, **options)


def names(db: AnyDatabase) -> Any:
    return db.fetch(TagOut, TAGS).all()


async def listed(db: AnyDatabase) -> list[str]:
    return [tag.name for tag in await resolve(names(db))]


@pytest.mark.parametrize("memory", MEMORY)
async def test_memory_is_one_database_with_transactions_apart(memory: str) -> None:
    db = database(memory, busy_timeout=0.05)
    async with transaction(db) as tx:
        await run_sync(tx, lambda sync: Base.metadata.create_all(sync.connection()))
    async with transaction(db) as tx:
        tx.add(Tag(id=1, name="uncommitted"))
        await resolve(tx.flush())
        # Neither a dirty read nor an empty database.
        with pytest.raises(OperationalError, match="locked"):
            await listed(db)
    assert await listed(db) == ["uncommitted"]
    with pytest.raises(ZeroDivisionError):
        async with transaction(db) as tx:
            tx.add(Tag(id=2, name="undone"))
            await resolve(tx.flush())
            raise ZeroDivisionError
    assert await listed(db) == ["uncommitted"]
    other = database(memory)
    async with session(other) as opened:
        assert await resolve(opened.scalar(text("SELECT count(*) FROM sqlite_master"))) == 0
    await resolve(other.dispose())
    await resolve(db.dispose())
    async with session(db) as opened:
        assert await resolve(opened.scalar(text("SELECT count(*) FROM sqlite_master"))) == 0
    await resolve(db.dispose())


async def test_readers_and_writers_of_memory_at_once() -> None:
    async with AsyncDatabase("sqlite+aiosqlite:///:memory:", busy_timeout=60) as db:
        async with db.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)

        async def pair(number: int) -> None:
            async with db.transaction() as tx:
                tx.add(Tag(id=2 * number, name=f"{number} first"))
                await tx.flush()
                await asyncio.sleep(0)
                tx.add(Tag(id=2 * number + 1, name=f"{number} second"))

        async def count() -> int:
            return len(await listed(db))

        seen = await asyncio.gather(*(work for n in range(12) for work in (pair(n), count())))
        assert all(found % 2 == 0 for found in seen if found is not None), "half of a transaction"
        assert await count() == 24


async def test_memory_that_is_shared_by_name() -> None:
    url = "sqlite+aiosqlite:///file:shared by name?mode=memory&cache=shared&uri=true"
    async with AsyncDatabase(url) as first, AsyncDatabase(url) as second:
        async with first.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        await add(first, Tag(id=1, name="one"))
        assert await listed(second) == ["one"]


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (
            PG,
            {"connect_args": {"comand_timeout": 1}},
            "connect_args has 'comand_timeout'.*Did you mean 'command_timeout'",
        ),
        (f"{PG}?connect_timeout=3", {}, "The URL's query has 'connect_timeout'.*It is a setting"),
        (f"{PG.replace('asyncpg', 'psycopg')}?autocommit=true", {}, "The URL's query may not have 'autocommit'"),
        (f"{MARIA}?autocommit=true", {}, "The URL's query may not have 'autocommit'"),
        ("sqlite+aiosqlite:///a.db?isolation_level=x", {}, "The URL's query may not have 'isolation_level'"),
        (f"{PG}?whatever=1", {}, "which asyncpg does not take. It takes "),
        (PG.replace("asyncpg", "psycopg"), {"connect_args": {"server_settings": {}}}, "psycopg does not take"),
        (f"{MARIA}?whatever=1", {}, "which aiomysql does not take"),
        (MARIA, {"connect_args": {"init_command": "SET x = 1"}}, "may not have 'init_command'"),
        ("sqlite+aiosqlite:///a.db", {"connect_args": {"factory": object}}, "may not have 'factory'"),
        ("sqlite+aiosqlite:///a.db", {"connect_args": {"busy": 1}}, "which aiosqlite does not take"),
        ("sqlite+aiosqlite:///a.db", {"isolation_level": "AUTOCOMMIT"}, r"create_engine\(isolation_level=...\)"),
        ("sqlite+aiosqlite:///a.db", {"poolclass": None}, r"create_engine\(poolclass=...\)"),
    ],
)
def test_what_is_refused_when_the_database_is_made(source: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        AsyncDatabase(source, **options)


@pytest.mark.parametrize(
    "source",
    [
        f"{PG}?prepared_statement_cache_size=0&command_timeout=3",
        f"{PG}?target_session_attrs=primary",
        "postgresql+psycopg://app@localhost/app?keepalives=1&options=-csearch_path%3Da&target_session_attrs=any",
        f"{MARIA}?charset=utf8mb4&unix_socket=/tmp/a",
        "sqlite+aiosqlite:///file:a.db?mode=ro&uri=true&immutable=1&timeout=3",
    ],
)
def test_what_drivers_take_is_taken(source: str) -> None:
    AsyncDatabase(source)


@pytest.mark.drivers("postgresql+psycopg", "postgresql+asyncpg", "postgresql+psycopg async")
async def test_arguments_for_the_driver(url: str, request: pytest.FixtureRequest) -> None:
    driver = request.node.callspec.params["url"]
    given: dict[str, Any] = (
        {"server_settings": {"search_path": "mine"}} if "asyncpg" in url else {"options": "-c search_path=mine"}
    )
    db: AnyDatabase = (Database if driver in SYNC else AsyncDatabase)(url, connect_args=given, lock_timeout=7)
    async with session(db) as opened:
        assert await resolve(opened.scalar(text("SHOW search_path"))) == "mine"
        assert await resolve(opened.scalar(text("SHOW lock_timeout"))) == "7s", "and those of the settings"
    await resolve(db.dispose())


def test_arguments_for_the_driver_are_not_printed() -> None:
    settings = DatabaseSettings(url=PG, connect_args={"password": "s3cret"})
    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert AsyncDatabase(settings, echo=True).settings.connect_args == {"password": "s3cret"}


async def test_echo(
    url: str, suite_tables: None, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    driver = request.node.callspec.params["url"]
    db: AnyDatabase = (Database if driver in SYNC else AsyncDatabase)(url, echo=True)
    with caplog.at_level(logging.INFO, "sqlalchemy.engine.Engine"):
        await add(db, Tag(id=1, name="hidden value"))
        assert await listed(db) == ["hidden value"]
    assert "INSERT INTO tags" in caplog.text
    assert caplog.text.count("FROM tags") == 1, "a fetch is logged as well"
    assert "hidden value" not in caplog.text
    await resolve(db.dispose())


async def test_a_database_is_replaced_beneath_its_object(db: AnyDatabase) -> None:
    await add(db, Tag(id=1, name="real"))
    engine, settings = db.engine, db.settings
    bound: Any = db.fetch
    begin: Any = db.transaction
    url = f"sqlite+{'aiosqlite' if isinstance(db, AsyncDatabase) else 'pysqlite'}:///:memory:"
    if isinstance(db, AsyncDatabase):
        async with db.replaced_by(url, pool_size=2) as same:
            assert same is db
            async with begin() as tx:
                await tx.run_sync(lambda sync: Base.metadata.create_all(sync.connection()))
            await add(db, Tag(id=1, name="of the test"))
            assert [tag.name for tag in await bound(TagOut, TAGS).all()] == ["of the test"]
            assert db.settings.pool_size == 2
    else:
        with db.replaced_by(url):
            Base.metadata.create_all(db.engine)
            await add(db, Tag(id=1, name="of the test"))
            assert [tag.name for tag in bound(TagOut, TAGS).all()] == ["of the test"]
    assert (db.engine, db.settings) == (engine, settings)
    assert await listed(db) == ["real"]


@pytest.mark.drivers("sqlite+pysqlite")
async def test_not_inside_a_transaction(db: Database) -> None:
    with db.transaction(), pytest.raises(NestedTransaction), db.replaced_by("sqlite+pysqlite:///:memory:"):
        pass


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_an_application_follows(db: AsyncDatabase) -> None:
    app = FastAPI()
    install(app, db)

    @app.get("/tags")
    async def tags(reader: Reader) -> Json[list[TagOut]]:
        return Json(await reader.fetch(TagOut, TAGS).json())

    @app.get("/at-import")
    async def at_import() -> Json[list[TagOut]]:
        return Json(await db.fetch(TagOut, TAGS).json())

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        async with db.replaced_by("sqlite+aiosqlite:///:memory:"):
            async with db.engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)
            await add(db, Tag(id=1, name="of the test"))
            for path in ("/tags", "/at-import"):
                assert (await client.get(path)).json() == [{"name": "of the test"}]
            assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/tags")).json() == []


async def test_who_replaces_a_database_keeps_the_secret_of_its_cursors() -> None:
    async with AsyncDatabase("sqlite+aiosqlite:///a.db", cursor_secret="s" * 20) as db:
        for options, secret in (({}, "s" * 20), ({"cursor_secret": "t" * 20}, "t" * 20)):
            async with db.replaced_by("sqlite+aiosqlite:///:memory:", **options):
                kept = db.settings.cursor_secret
                assert kept is not None
                assert kept.get_secret_value() == secret


@pytest.mark.drivers("postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg async")
async def test_what_connect_args_say_of_tls_wins(url: str, request: pytest.FixtureRequest) -> None:
    given: dict[str, Any] = {"ssl": False} if "asyncpg" in url else {"sslmode": "disable"}
    kind = Database if request.node.callspec.params["url"] in SYNC else AsyncDatabase
    db = kind(url, connect_args=given)
    await resolve(db.ping())
    await resolve(db.dispose())
