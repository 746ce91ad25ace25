"""What goes wrong in a database has one name on every driver, and no driver's words in it."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
from typing import Any

import pytest
from sqlalchemy import bindparam, select, text
from sqlalchemy.exc import SQLAlchemyError, StatementError

from querywright import (
    AsyncDatabase,
    Conflict,
    Database,
    DatabaseUnavailable,
    InvalidRow,
    InvalidValue,
    PoolTimeout,
    StatementTimeout,
    prepare,
)
from querywright.engine import classify
from tests.suite.models import Author, Book, Everything, Out, Profile, Tag
from tests.suite.support import AnyDatabase, add, resolve, session, transaction

VIOLATIONS = {
    "unique": (lambda: [Tag(name="twice"), Tag(name="twice")], Conflict),
    "foreign key": (lambda: [Book(author_id=99, title="lost")], Conflict),
    "not null": (lambda: [Tag(name=None)], InvalidValue),
    "check": (lambda: [Author(id=1, name="a"), Book(author_id=1, title="b", pages=0)], InvalidValue),
}


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_constraints(db: AnyDatabase, name: str) -> None:
    rows, expected = VIOLATIONS[name]
    with pytest.raises(SQLAlchemyError) as caught:
        await add(db, *rows())
    known = classify(caught.value)
    assert type(known) is expected
    assert "tags" not in str(known)
    assert "twice" not in str(known)
    assert getattr(known, "column", None) == ("name" if name == "not null" else None)


# PostgreSQL itself repeats the row in its message, which therefore reaches no client and no log of ours.
@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite")
async def test_bound_values_stay_out_of_messages(db: AnyDatabase) -> None:
    with pytest.raises(SQLAlchemyError) as caught:
        await add(db, Author(id=1, name="secret"), Book(author_id=1, title="secret", pages=0))
    assert "secret" not in str(caught.value)


@pytest.mark.drivers(
    "postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg", "mariadb+pymysql", "mariadb+aiomysql"
)
async def test_values_that_do_not_fit(db: AnyDatabase) -> None:
    with pytest.raises(SQLAlchemyError) as caught:
        await add(db, Tag(name="x" * 51))
    known = classify(caught.value)
    assert isinstance(known, InvalidValue)
    # PostgreSQL does not say.
    assert known.column == (None if db.engine.dialect.name == "postgresql" else "name")


# MySQL and MariaDB compare with a number of any size.
@pytest.mark.drivers(
    "sqlite+pysqlite", "sqlite+aiosqlite", "postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg"
)
async def test_numbers_that_no_column_holds(db: AnyDatabase) -> None:
    if db.engine.dialect.driver == "psycopg2":
        pytest.skip("psycopg2 writes it into the statement, and PostgreSQL compares with a number of any size")
    for bind in (db, None):
        with pytest.raises(SQLAlchemyError) as caught:
            async with transaction(db) as tx:
                await resolve((bind or tx).fetch(TagOut, select(Tag).where(Tag.id == 10**20)).json())
        assert type(classify(caught.value)) is InvalidValue


async def test_a_fetch_refuses_what_a_type_refuses(db: AnyDatabase) -> None:
    """As a session does, on each of its ways to bind values."""
    naive, moment = dt.datetime(2024, 1, 1), Everything.moment  # noqa: DTZ001 - on purpose
    prepared: Any = prepare(NumberOut, select(Everything).where(moment == bindparam("moment")))
    by_query = db.fetch(NumberOut, select(Everything).where(moment == naive))
    several = db.fetch(NumberOut, select(Everything).where(moment.in_([naive])))
    for fetched in (by_query, several, prepared(db, moment=naive)):
        for verb in ("json", "all", "count"):
            with pytest.raises(StatementError) as caught:
                await resolve(getattr(fetched, verb)())
            assert type(classify(caught.value)) is InvalidValue
            assert "2024" not in str(classify(caught.value))


class NumberOut(Out):
    number: int


@pytest.mark.drivers("postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg")
async def test_statement_timeout(db: AnyDatabase) -> None:
    with pytest.raises(SQLAlchemyError) as caught:
        async with transaction(db) as tx:
            await resolve(tx.execute(text("SET LOCAL statement_timeout = 20")))
            await resolve(tx.execute(text("SELECT pg_sleep(5)")))
    assert type(classify(caught.value)) is StatementTimeout


class TagOut(Out):
    name: str


@pytest.mark.drivers("postgresql+asyncpg")
async def test_errors_of_the_direct_path_are_sqlalchemys(db: AsyncDatabase) -> None:
    """Straight on asyncpg or on SQLAlchemy's cursor: the caller sees the same error."""
    async with db.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE tags RENAME COLUMN name TO title"))
    try:
        with pytest.raises(SQLAlchemyError, match="tags") as caught:
            await db.fetch(TagOut, select(Tag)).json()
        with pytest.raises(type(caught.value), match="tags"):
            async with db.transaction() as tx:
                await tx.fetch(TagOut, select(Tag)).json()
    finally:
        async with db.engine.begin() as connection:
            await connection.execute(text("ALTER TABLE tags RENAME COLUMN title TO name"))
    assert await db.fetch(TagOut, select(Tag)).json() == b"[]"


@pytest.mark.drivers("postgresql+asyncpg", "postgresql+psycopg async", "postgresql+psycopg")
async def test_lost_connections_are_replaced(db: AnyDatabase) -> None:
    """The server ends an idle connection: asyncpg has noticed, for psycopg it takes a ping."""
    await resolve(db.ping())
    engine = db.engine if isinstance(db, Database) else db.engine.sync_engine
    other = Database(engine.url.set(drivername="postgresql+psycopg"))
    with other.transaction() as tx:
        tx.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.dispose()
    await asyncio.sleep(0.6)  # longer than ping_after_idle
    assert await resolve(db.fetch(TagOut, select(Tag)).json()) == b"[]"


async def test_pool_timeout(url: str) -> None:
    if "psycopg" in url or "pysqlite" in url or "pymysql" in url:
        database = Database(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
        with database.session() as held:
            held.execute(text("SELECT 1"))
            with pytest.raises(SQLAlchemyError) as caught:
                database.ping()
        database.dispose()
    else:
        db = AsyncDatabase(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
        async with db.session() as waiting:
            await waiting.execute(text("SELECT 1"))
            with pytest.raises(SQLAlchemyError) as caught:
                await db.ping()
        await db.dispose()
    assert type(classify(caught.value)) is PoolTimeout


def refusing_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_nobody_listens(driver: str) -> None:
    url = f"postgresql+{driver}://someone:secret@127.0.0.1:{refusing_port()}/app"
    db = AsyncDatabase(url)
    with pytest.raises(SQLAlchemyError) as caught:
        await db.ping()
    known = classify(caught.value)
    assert type(known) is DatabaseUnavailable
    assert "secret" not in f"{caught.value!r} {known}"
    await db.dispose()


def test_sqlite_in_a_missing_folder() -> None:
    with Database("sqlite+pysqlite:////nowhere/at/all.db") as db, pytest.raises(SQLAlchemyError) as caught:
        db.ping()
    assert type(classify(caught.value)) is DatabaseUnavailable


class OwnerOut(Out):
    name: str


class LooseProfileOut(Out):
    text: str
    author: OwnerOut


@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite")
async def test_a_missing_row_of_a_foreign_key_is_reported(db: AnyDatabase) -> None:
    async with session(db) as opened:
        await resolve(opened.execute(text("COMMIT")))
        await resolve(opened.execute(text("PRAGMA foreign_keys=OFF")))
        await resolve(opened.execute(text("INSERT INTO profiles (author_id, text) VALUES (99, 'orphan')")))
        await resolve(opened.execute(text("PRAGMA foreign_keys=ON")))
        await resolve(opened.execute(text("BEGIN")))
    for verb in ("json", "all", "first", "json_one"):
        with pytest.raises(InvalidRow, match=r"LooseProfileOut\.author"):
            await resolve(getattr(db.fetch(LooseProfileOut, select(Profile)), verb)())


async def test_null_where_the_mapping_promises_a_value_is_reported(db: AnyDatabase) -> None:
    """A database that has drifted from its models."""
    async with transaction(db) as tx:
        await resolve(tx.execute(text("DROP TABLE book_tags")))
        await resolve(tx.execute(text("DROP TABLE tags")))
        await resolve(tx.execute(text("CREATE TABLE tags (id INTEGER PRIMARY KEY, name VARCHAR(50))")))
        await resolve(tx.execute(text("INSERT INTO tags VALUES (1, 'one'), (2, NULL)")))
    assert await resolve(db.fetch(TagOut, select(Tag).where(Tag.id == 1)).json()) == b'[{"name":"one"}]'
    for verb in ("json", "all"):
        with pytest.raises(InvalidRow, match=r"^TagOut: a row holds no value"):
            await resolve(getattr(db.fetch(TagOut, select(Tag)), verb)())


async def test_an_unknown_name_of_an_enum_is_reported(db: AnyDatabase) -> None:
    from tests.suite.models import EverythingOut  # noqa: PLC0415 - the long one
    from tests.suite.test_fetch_values import a_row  # noqa: PLC0415 - one row of everything

    await add(db, a_row())
    async with transaction(db) as tx:
        await resolve(tx.execute(text("UPDATE everything SET genre = 'OPERA'")))
    with pytest.raises(InvalidRow, match="Genre"):
        await resolve(db.fetch(EverythingOut, select(Everything)).json())


@pytest.mark.drivers("mariadb+pymysql", "mariadb+aiomysql")
async def test_a_statement_that_no_packet_holds(db: AnyDatabase) -> None:
    """The server would close the connection, and SQLAlchemy all others of the pool."""
    own = text("SELECT connection_id()")
    async with transaction(db) as tx:
        before = await resolve(tx.scalar(own))
        with pytest.raises(SQLAlchemyError) as caught:
            await resolve(tx.execute(text("SELECT :large"), {"large": "é" * 2**23}))
        assert type(classify(caught.value)) is InvalidValue
        assert await resolve(tx.scalar(text("SELECT length(:large)"), {"large": "é" * 2**20})) == 2**21
        assert await resolve(tx.scalar(own)) == before
