"""A10: what one user of a connection changes in its session, the next user of the pool does not see."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import psycopg.rows
import pytest
from pydantic import BaseModel
from sqlalchemy import create_engine, event, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.util import greenlet_spawn

from querywright import AsyncDatabase, Database
from querywright.engine import pool_snapshot
from querywright.engine.pool.reset import _CHANGED
from tests.conftest import POSTGRES, SYNC
from tests.faults.proxy import Proxy
from tests.suite.models import Tag
from tests.suite.support import AnyDatabase, resolve, run_sync, session, transaction

SQLITE = ("sqlite+pysqlite", "sqlite+aiosqlite")
ROLE = "tenant_of_the_state_tests"


@pytest.fixture
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.node.callspec.params["url"]
    return name


def open_one(url: str, driver: str, **options: Any) -> AnyDatabase:
    """A database with a single connection, so that whoever comes next gets it."""
    options = {"pool_size": 1, "max_overflow": 0, "ping_after_idle": 1000, **options}
    return Database(url, **options) if driver in SYNC else AsyncDatabase(url, **options)


@pytest.fixture
async def db(url: str, driver: str) -> AsyncIterator[AnyDatabase]:
    if driver in POSTGRES:
        engine = create_engine(url.replace("+asyncpg", "+psycopg"))
        with engine.begin() as connection:
            connection.execute(text(f"DROP ROLE IF EXISTS {ROLE}"))
            connection.execute(text(f"CREATE ROLE {ROLE}"))
        engine.dispose()
    opened = open_one(url, driver)
    yield opened
    await resolve(opened.dispose())


async def scalar(db: AnyDatabase, sql: str, *, commit: bool = False) -> Any:
    async with session(db) as opened:
        result = await run_sync(opened, lambda sync: _scalar(sync, sql))
        await resolve(opened.commit() if commit else opened.rollback())
        return result


def _scalar(sync: Session, sql: str) -> Any:
    result: Any = sync.execute(text(sql))
    return result.scalar() if result.returns_rows else None


def engine_of(db: AnyDatabase) -> Any:
    return db.engine.sync_engine if isinstance(db, AsyncDatabase) else db.engine


PID = "SELECT pg_backend_pid()"
# What changes the session; what asks for it; what the next user gets.
POSTGRES_CHANGES = {
    "isolation": (
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SELECT current_setting('transaction_isolation')",
        "read committed",
    ),
    "read only": (
        "SET default_transaction_read_only = on",
        "SELECT current_setting('transaction_read_only')",
        "off",
    ),
    "role": (f"SET ROLE {ROLE}", "SELECT current_user", "postgres"),
    "session user": (f"SET SESSION AUTHORIZATION {ROLE}", "SELECT session_user", "postgres"),
    "search_path": ("SET search_path TO pg_catalog", "SHOW search_path", '"$user", public'),
    "timeout": ("SET statement_timeout = '7s'", "SHOW statement_timeout", "30s"),
    "set_config": ("SELECT set_config('work_mem', '77MB', false)", "SHOW work_mem", "4MB"),
    "in a comment": ("/* SET LOCAL */ SET work_mem = '77MB'", "SHOW work_mem", "4MB"),
    "in a function": ("DO $$ BEGIN PERFORM set_config('work_mem', '77MB', false); END $$", "SHOW work_mem", "4MB"),
    "advisory lock": (
        "SELECT pg_advisory_lock(10)",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        0,
    ),
    "listen": ("LISTEN news", "SELECT count(*) FROM pg_listening_channels()", 0),
    "temporary table": (
        "CREATE TEMPORARY TABLE mine (id int)",
        "SELECT count(*) FROM pg_class WHERE relname = 'mine'",
        0,
    ),
    "cursor": (
        "DECLARE held CURSOR WITH HOLD FOR SELECT 1",
        "SELECT count(*) FROM pg_cursors WHERE name = 'held'",
        0,
    ),
}


@pytest.mark.drivers(*POSTGRES)
@pytest.mark.parametrize("what", POSTGRES_CHANGES)
async def test_a10_state_is_reset_in_place(db: AnyDatabase, what: str) -> None:
    change, ask, expected = POSTGRES_CHANGES[what]
    pid = await scalar(db, PID)
    await scalar(db, change, commit=True)
    assert await scalar(db, ask) == expected
    assert await scalar(db, PID) == pid


SQLITE_CHANGES = {
    "pragma": ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys", 1),
    "pragma call": ("PRAGMA cache_size(77)", "PRAGMA cache_size", -2000),
    "query_only": ("PRAGMA query_only = 1", "PRAGMA query_only", 0),
    "attach": ("ATTACH ':memory:' AS other", "SELECT count(*) FROM pragma_database_list WHERE name = 'other'", 0),
    "temporary table": ("CREATE TEMP TABLE mine (id int)", "SELECT count(*) FROM sqlite_temp_master", 0),
    "temp.table": ("CREATE TABLE temp.mine (id int)", "SELECT count(*) FROM sqlite_temp_master", 0),
}


@pytest.mark.drivers(*SQLITE)
@pytest.mark.parametrize("what", SQLITE_CHANGES)
async def test_a10_state_of_sqlite_ends_with_its_connection(db: AnyDatabase, what: str) -> None:
    change, ask, expected = SQLITE_CHANGES[what]
    async with session(db) as opened:
        # foreign_keys cannot be changed, and nothing attached, in a transaction.
        options = {"querywright_autocommit": True}
        await resolve(opened.connection(execution_options=options))
        await run_sync(opened, lambda sync: sync.execute(text(change)))
        assert await run_sync(opened, lambda sync: _scalar(sync, ask)) != expected
    assert await scalar(db, ask) == expected


MARIADB_CHANGES = {
    "session variable": ("SET SESSION sql_mode = ''", "SELECT @@sql_mode = ''", 0),
    "isolation": ("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT @@tx_isolation", "REPEATABLE-READ"),
    "user variable": ("SET @mine = 1", "SELECT @mine", None),
    "lock": ("SELECT GET_LOCK('mine', 1)", "SELECT IS_USED_LOCK('mine')", None),
    "database": ("USE mysql", "SELECT database() = 'mysql'", 0),
}


@pytest.mark.drivers("mariadb+pymysql", "mariadb+aiomysql")
@pytest.mark.parametrize("what", MARIADB_CHANGES)
async def test_a10_state_of_mariadb_ends_with_its_connection(db: AnyDatabase, what: str) -> None:
    change, ask, expected = MARIADB_CHANGES[what]
    await scalar(db, change, commit=True)
    assert await scalar(db, ask) == expected


@pytest.mark.drivers(*POSTGRES, *SQLITE)
async def test_a_connection_that_nobody_changed_is_kept_as_it_is(db: AnyDatabase) -> None:
    def connection_of(sync: Session) -> Any:
        sync.execute(text("SELECT 1"))
        assert _CHANGED not in sync.connection().info
        return sync.connection().connection.dbapi_connection

    async with session(db, read_only=True) as opened:
        first = await run_sync(opened, connection_of)
    async with transaction(db, isolation="SERIALIZABLE", read_only=True, deferrable=True) as tx:
        assert await run_sync(tx, connection_of) is first
    async with transaction(db, timeout=20) as tx:
        assert await run_sync(tx, connection_of) is first


# How a connection comes into autocommit without SQLAlchemy's knowledge, as by a cancelled call.
AUTOCOMMIT: dict[str, Callable[[Any], object]] = {
    "postgresql+psycopg": lambda lent: setattr(lent, "autocommit", True),
    "postgresql+psycopg async": lambda lent: lent.set_autocommit(True),
    "postgresql+asyncpg": lambda lent: setattr(lent, "isolation_level", "autocommit"),
    "sqlite+pysqlite": lambda lent: setattr(lent, "isolation_level", "IMMEDIATE"),
    "sqlite+aiosqlite": lambda lent: setattr(lent, "isolation_level", "IMMEDIATE"),
    "mariadb+pymysql": lambda lent: lent.autocommit(True),
    "mariadb+aiomysql": lambda lent: lent.autocommit(True),
}


@pytest.mark.parametrize("when", ["in use", "idle"])
async def test_a21_a_connection_that_is_not_as_it_was_is_replaced(
    db: AnyDatabase, suite_tables: None, driver: str, when: str
) -> None:
    def lent(sync: Session) -> Any:
        return sync.connection().connection.dbapi_connection

    async with session(db) as opened:
        first = await run_sync(opened, lent)
        if when == "in use":
            await resolve(opened.rollback())
            await run_sync(opened, lambda _: AUTOCOMMIT[driver](first))
    if when == "idle":
        engine = engine_of(db)
        change = greenlet_spawn(AUTOCOMMIT[driver], first) if engine.dialect.is_async else AUTOCOMMIT[driver](first)
        await resolve(change)
    async with transaction(db) as tx:
        assert await run_sync(tx, lent) is not first
    with suppress(ZeroDivisionError):
        async with transaction(db) as tx:
            tx.add(Tag(name="undone"))
            await resolve(tx.flush())
            raise ZeroDivisionError
    async with transaction(db) as tx:
        assert await resolve(tx.scalar(select(func.count()).select_from(Tag))) == 0


class OtherRow(sqlite3.Row):
    pass


# What the next user's rows would be.
ROWS: dict[str, tuple[str, Any]] = {
    "postgresql+psycopg": ("row_factory", psycopg.rows.dict_row),
    "postgresql+psycopg async": ("row_factory", psycopg.rows.dict_row),
    "sqlite+pysqlite": ("row_factory", OtherRow),
    "sqlite+aiosqlite": ("text_factory", bytes),
}


@pytest.mark.drivers(*ROWS)
async def test_a_connection_whose_rows_are_others_is_replaced(db: AnyDatabase, suite_tables: None, driver: str) -> None:
    name, value = ROWS[driver]
    async with session(db) as opened:
        used: Any = await run_sync(opened, lambda sync: sync.connection().connection.driver_connection)
    if hasattr(used, name):
        setattr(used, name, value)
    else:
        # psycopg2.
        used.cursor_factory = None
    async with session(db) as opened:
        assert await resolve(opened.scalar(text("SELECT 'a'"))) == "a"
        assert await run_sync(opened, lambda sync: sync.connection().connection.driver_connection) is not used


# What begins without SQLAlchemy's knowledge.
BEGINNING = {"postgresql": "BEGIN", "sqlite": "BEGIN IMMEDIATE", "mariadb": "START TRANSACTION READ ONLY"}


async def test_a21_a_transaction_that_nobody_knows_of_ends_with_its_user(
    db: AnyDatabase, suite_tables: None, driver: str
) -> None:
    def begin(sync: Session) -> None:
        lent: Any = sync.connection().connection.dbapi_connection
        sync.rollback()
        cursor = lent.cursor()
        cursor.execute(BEGINNING[driver.partition("+")[0]])
        cursor.close()

    async with session(db) as opened:
        await run_sync(opened, begin)
    async with transaction(db) as tx:
        tx.add(Tag(name="kept"))
    async with transaction(db, read_only=True) as tx:
        assert await resolve(tx.scalar(select(func.count()).select_from(Tag))) == 1


class StateBase(DeclarativeBase):
    pass


class Thing(StateBase):
    __tablename__ = "things_of_the_state_tests"
    id: Mapped[int] = mapped_column(primary_key=True)


class Setting(BaseModel):
    id: int


@pytest.mark.drivers(*POSTGRES)
async def test_a10_state_changed_by_a_fetch_is_reset(db: AnyDatabase) -> None:
    async with session(db) as opened:
        await run_sync(opened, lambda sync: Thing.metadata.tables[Thing.__tablename__].create(sync.connection()))
        await resolve(opened.commit())
    try:
        changing = select(Thing).where(func.set_config("work_mem", "77MB", False) == "77MB")
        await resolve(db.fetch(Setting, changing).all())
        assert await scalar(db, "SHOW work_mem") == "4MB"
        async with session(db) as opened:
            await resolve(opened.fetch(Setting, changing).all())
            await resolve(opened.commit())
        assert await scalar(db, "SHOW work_mem") == "4MB"
    finally:
        async with session(db) as opened:
            await run_sync(opened, lambda sync: Thing.metadata.tables[Thing.__tablename__].drop(sync.connection()))
            await resolve(opened.commit())


@pytest.mark.drivers(*POSTGRES)
async def test_a10_state_is_reset_always_if_the_settings_say_so(url: str, driver: str) -> None:
    db = open_one(url, driver, reset_on_return="always")
    body = "SELECT set_config('work_mem', '9MB', false)"
    await scalar(db, f"CREATE OR REPLACE FUNCTION sneak() RETURNS text LANGUAGE sql AS $${body}$$", commit=True)
    await scalar(db, "SELECT sneak()", commit=True)
    assert await scalar(db, "SHOW work_mem") == "4MB"
    await scalar(db, "DROP FUNCTION sneak()", commit=True)
    await resolve(db.dispose())


@pytest.mark.drivers(*POSTGRES)
async def test_a10_state_set_up_at_connect_stays(url: str, driver: str) -> None:
    db = open_one(url, driver)

    @event.listens_for(engine_of(db), "connect")
    def set_up(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("SET work_mem = '5MB'")
        cursor.close()
        connection.commit()

    assert await scalar(db, "SHOW work_mem") == "5MB"
    await scalar(db, "SET work_mem = '6MB'", commit=True)
    assert await scalar(db, "SHOW work_mem") == "5MB"
    await resolve(db.dispose())


@pytest.mark.drivers(*POSTGRES)
async def test_a10_state_of_a_broken_connection_needs_no_reset(
    proxy: Proxy, url: str, driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    db = open_one(proxy.url(url), driver)
    with suppress(DBAPIError):
        async with session(db) as opened:
            await run_sync(opened, lambda sync: sync.execute(text("SET work_mem = '77MB'")))
            proxy.drop()
    assert await scalar(db, "SHOW work_mem") == "4MB"
    async with session(db) as opened:
        await resolve(opened.connection(execution_options={"isolation_level": "AUTOCOMMIT"}))
        await run_sync(opened, lambda sync: sync.execute(text("SET work_mem = '77MB'")))
        proxy.drop()
    assert await scalar(db, "SHOW work_mem") == "4MB"
    assert not caplog.records
    assert pool_snapshot(engine_of(db)).checked_out == 0
    await resolve(db.dispose())


@pytest.mark.drivers("postgresql+asyncpg", "postgresql+psycopg async")
async def test_a10_state_is_not_kept_by_a_cancelled_task(url: str) -> None:
    async with AsyncDatabase(url, pool_size=1, max_overflow=0) as db:

        async def change() -> None:
            async with db.session() as opened:
                await opened.execute(text("SET work_mem = '77MB'"))
                await opened.commit()

        for steps in range(0, 200, 4):
            task = asyncio.create_task(change())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert await scalar(db, "SHOW work_mem") == "4MB"
        assert pool_snapshot(db.engine.sync_engine).checked_out == 0
