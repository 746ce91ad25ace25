"""What a database can be made of, and be replaced by: options, arguments of the driver, an engine, memory."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, create_engine, event, select, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session as PlainSession

from querywright import (
    AsyncDatabase,
    ConfigurationError,
    Conflict,
    Database,
    DatabaseSettings,
    NestedTransaction,
    TransactionLost,
)
from querywright.engine import classify
from querywright.fastapi import Json, Reader, install
from tests.conftest import SYNC
from tests.suite.models import Base, Tag, TagOut
from tests.suite.support import AnyDatabase, add, block, resolve, run_sync, session, statements, transaction

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


@asynccontextmanager
async def engine_of(db: AnyDatabase) -> AsyncIterator[Engine | AsyncEngine]:
    """An engine as an application makes it."""
    if isinstance(db, AsyncDatabase):
        engine = create_async_engine(db.engine.url)
        yield engine
        await engine.dispose()
    else:
        sync = create_engine(db.engine.url)
        yield sync
        sync.dispose()


def pool_of(engine: Engine | AsyncEngine) -> Any:
    return engine.sync_engine.pool if isinstance(engine, AsyncEngine) else engine.pool


def on(engine: Any) -> AnyDatabase:
    return AsyncDatabase(engine) if isinstance(engine, AsyncEngine) else Database(engine)


async def test_an_engine_of_ones_own(db: AnyDatabase) -> None:
    async with engine_of(db) as engine:
        own = on(engine)
        assert pool_of(own.engine) is pool_of(engine)
        await add(own, Tag(id=1, name="one"))
        assert await listed(own) == ["one"]
        with pytest.raises(IntegrityError) as caught:
            await add(own, Tag(id=2, name="one"))
        assert isinstance(classify(caught.value), Conflict)
        async with transaction(own, read_only=True) as tx:
            assert await resolve(tx.scalar(select(Tag.name))) == "one"
        for _ in range(3):
            async with transaction(own) as tx:
                await resolve(tx.execute(text("SELECT 1")))
        assert pool_of(engine).checkedout() == 0
        await resolve(own.ping())
        await resolve(own.dispose())
        assert pool_of(own.engine) is pool_of(engine), "it stays open"
        assert pool_of(engine).checkedin() > 0


@pytest.mark.drivers("postgresql+psycopg", "postgresql+asyncpg", "postgresql+psycopg async")
async def test_what_a_session_changes_on_ones_own_engine_is_gone(db: AnyDatabase) -> None:
    async with engine_of(db) as engine:
        own = on(engine)
        async with transaction(own) as tx:
            await resolve(tx.execute(text("SET search_path = nowhere")))
        async with session(own) as opened:
            assert await resolve(opened.scalar(text("SHOW search_path"))) != "nowhere"


@pytest.mark.drivers("postgresql+psycopg", "sqlite+pysqlite")
async def test_others_on_the_engine_notice_nothing(db: Database) -> None:
    async with engine_of(db) as engine:
        assert isinstance(engine, Engine)
        own = Database(engine)
        with statements() as seen, PlainSession(engine) as plain:
            plain.add(Tag(id=1, name="plain"))
            plain.commit()
        assert seen == []
        with own.transaction() as tx:
            assert tx.get(Tag, 1) is not None
        if engine.dialect.name == "postgresql":
            with engine.connect() as connection:
                connection.begin()
                with suppress(ProgrammingError):
                    connection.execute(text("SELECT * FROM nowhere"))
                # SQLAlchemy's own way: a COMMIT that is a ROLLBACK, and nobody says so.
                connection.commit()
            with pytest.raises(TransactionLost), own.transaction() as tx, suppress(ProgrammingError):
                tx.execute(text("SELECT * FROM nowhere"))


@pytest.mark.drivers("sqlite+pysqlite")
async def test_an_engine_that_begins_by_hand(db: Database) -> None:
    """The recipe of SQLAlchemy's guide to SQLite."""
    engine = create_engine(db.engine.url)

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    own = Database(engine)
    with own.transaction() as tx:
        tx.add(Tag(id=1, name="one"))
    with pytest.raises(ZeroDivisionError), own.transaction() as tx:
        tx.add(Tag(id=2, name="two"))
        tx.flush()
        raise ZeroDivisionError
    with pytest.raises(OperationalError, match="readonly"), own.transaction(read_only=True) as tx:
        tx.add(Tag(id=2, name="two"))
    assert await listed(own) == ["one"]
    engine.dispose()


@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite")
@pytest.mark.parametrize("of", ["engine", "class"])
async def test_an_engine_whose_begin_somebody_watches(db: AnyDatabase, of: str) -> None:
    """Who listens may begin, but need not."""
    watched: list[object] = []
    watch = watched.append
    async with engine_of(db) as engine:
        sync = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
        event.listen(sync if of == "engine" else Engine, "begin", watch)
        try:
            own = on(engine)
            with pytest.raises(ZeroDivisionError):
                async with transaction(own) as tx:
                    async with block(tx.savepoint()):
                        tx.add(Tag(id=1, name="lost"))
                    raise ZeroDivisionError
            async with transaction(own) as tx:
                assert await resolve(tx.scalar(select(Tag.id))) is None
            async with transaction(own, read_only=True) as tx:
                assert await resolve(tx.scalar(select(Tag.id))) is None
            async with session(own) as opened:
                opened.add(Tag(id=2, name="kept"))
                await resolve(opened.commit())
            assert await listed(own) == ["kept"]
            assert watched
        finally:
            event.remove(sync if of == "engine" else Engine, "begin", watch)


def autocommitting(db: AnyDatabase, how: str) -> Any:
    """An engine on which each statement is committed, or that is said to be in autocommit."""
    make: Any = create_async_engine if isinstance(db, AsyncDatabase) else create_engine
    url = db.engine.url
    if how == "level":
        return make(url, isolation_level="AUTOCOMMIT")
    if how == "option":
        return make(url).execution_options(isolation_level="AUTOCOMMIT")
    return make(url, connect_args={"autocommit": how == "driver"})


@pytest.mark.parametrize("how", ["level", "option", "driver", "driver not"])
async def test_an_engine_in_autocommit(db: AnyDatabase, how: str) -> None:
    """No block could roll back: it is refused when it is taken, or before the first statement."""
    sqlite = db.engine.dialect.name == "sqlite"
    if how.startswith("driver") and db.engine.dialect.driver == "asyncpg":
        pytest.skip("asyncpg has no such argument")
    if how.startswith("driver") and sqlite and not hasattr(sqlite3, "LEGACY_TRANSACTION_CONTROL"):
        pytest.skip("sqlite3 has it since Python 3.12")
    engine = autocommitting(db, how)
    # On SQLite we begin ourselves, unless its driver does.
    works = (how == "driver not") if not sqlite else not how.startswith("driver")
    try:
        with pytest.raises(ZeroDivisionError if works else ConfigurationError):
            async with transaction(on(engine)) as tx:
                tx.add(Tag(id=1, name="lost"))
                await resolve(tx.flush())
                raise ZeroDivisionError
    finally:
        await resolve(engine.dispose())
    assert await listed(db) == []


@pytest.mark.drivers("postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg async")
async def test_autocommit_in_the_middle(db: AnyDatabase) -> None:
    with pytest.raises(ConfigurationError, match="there would be no transaction"):
        async with transaction(db) as tx:
            await resolve(tx.connection(execution_options={"isolation_level": "AUTOCOMMIT"}))
    async with transaction(db) as tx:
        tx.add(Tag(id=1, name="one"))
    assert await listed(db) == ["one"]


async def test_an_engine_whose_url_names_no_driver(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/plain.db")
    with Database(engine).transaction() as tx:
        tx.execute(text("SELECT 1"))
    engine.dispose()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AsyncDatabase(create_engine("sqlite+pysqlite:///a.db")), "Give it to Database"),  # type: ignore[arg-type]
        (lambda: Database(create_async_engine("sqlite+aiosqlite:///a.db")), "Give it to AsyncDatabase"),  # type: ignore[arg-type]
        (lambda: Database(create_engine("sqlite+pysqlite:///a.db"), pool_size=3), "'pool_size' cannot be set"),
        (lambda: Database(create_engine("sqlite+pysqlite:///:memory:")), "SingletonThreadPool"),
        (lambda: AsyncDatabase(create_async_engine("sqlite+aiosqlite:///:memory:")), "StaticPool"),
        (
            lambda: AsyncDatabase(create_async_engine(PG, execution_options={"isolation_level": "REPEATABLE READ"})),
            "'isolation_level', which would win",
        ),
    ],
)
def test_engines_that_do_not_fit(make: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


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
