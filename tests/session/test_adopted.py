"""An engine that the application has made: its pool, its transactions, and what of it is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, select, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session as PlainSession

from querywright import (
    AsyncDatabase,
    ConfigurationError,
    Conflict,
    Database,
    TransactionLost,
)
from querywright.engine import classify
from tests.suite.models import Tag, TagOut
from tests.suite.support import AnyDatabase, add, block, resolve, session, statements, transaction

PG = "postgresql+asyncpg://app@localhost/app"
TAGS = select(Tag).order_by(Tag.id)


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
    if how.startswith("driver") and db.engine.dialect.driver in {"asyncpg", "psycopg2"}:
        pytest.skip("the driver has no such argument")
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
