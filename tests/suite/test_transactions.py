"""Sessions and transactions keep their promises on every database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

import querywright
from querywright import AsyncDatabase, Database, ManagedTransaction, TransactionLost, fetch
from querywright.engine import pool_snapshot
from querywright.session import Session
from tests.suite.models import Author, NameOut, Tag, TagOut
from tests.suite.support import AnyDatabase, add, resolve, session, statements, transaction

COUNT = select(func.count()).select_from(Tag)


async def count(db: AnyDatabase) -> int:
    async with session(db) as opened:
        return int(await resolve(opened.scalar(COUNT)))


async def test_commits_at_the_end(db: AnyDatabase) -> None:
    async with transaction(db) as tx:
        tx.add(Tag(name="kept"))
    assert await count(db) == 1


async def test_rolls_back_on_error(db: AnyDatabase) -> None:
    with pytest.raises(RuntimeError):
        async with transaction(db) as tx:
            tx.add(Tag(name="lost"))
            await resolve(tx.flush())
            raise RuntimeError
    assert await count(db) == 0


# MySQL and MariaDB commit before each DDL statement.
@pytest.mark.drivers(
    "sqlite+pysqlite", "sqlite+aiosqlite", "postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg"
)
async def test_rolls_back_ddl(db: AnyDatabase) -> None:
    with pytest.raises(RuntimeError):
        async with transaction(db) as tx:
            await resolve(tx.execute(text("CREATE TABLE passing (id INTEGER)")))
            raise RuntimeError
    with pytest.raises(DBAPIError):
        async with transaction(db) as tx:
            await resolve(tx.execute(text("SELECT * FROM passing")))


async def test_savepoint(db: AnyDatabase) -> None:
    async with transaction(db) as tx:
        tx.add(Tag(name="outer"))
        await resolve(tx.flush())
        nested = await resolve(tx.begin_nested())
        tx.add(Tag(name="inner"))
        await resolve(tx.flush())
        await resolve(nested.rollback())
    assert await count(db) == 1


async def test_a_session_commits_nothing_by_itself(db: AnyDatabase) -> None:
    async with session(db) as opened:
        opened.add(Tag(name="lost"))
        await resolve(opened.flush())
    assert await count(db) == 0


async def test_objects_stay_usable_after_the_commit(db: AnyDatabase) -> None:
    async with transaction(db) as tx:
        tag = Tag(name="read later")
        tx.add(tag)
    assert tag.name == "read later"


async def test_sessions_are_of_sqlalchemy(db: AnyDatabase) -> None:
    async with transaction(db) as tx:
        expected = querywright.AsyncSession if isinstance(db, AsyncDatabase) else querywright.Session
        assert type(tx) is expected


async def test_read_only_refuses_writes(db: AnyDatabase) -> None:
    await add(db, Tag(name="old"))
    with pytest.raises(DBAPIError):
        async with transaction(db, read_only=True) as tx:
            await resolve(tx.execute(text("UPDATE tags SET name = 'new'")))
    async with transaction(db, read_only=True) as tx:
        assert await resolve(tx.scalar(COUNT)) == 1
    # The next user of the connection may write again.
    await add(db, Tag(name="newer"))
    assert await count(db) == 2


async def test_every_connection_comes_back(db: AnyDatabase) -> None:
    for _ in range(3):
        await resolve(db.fetch(TagOut, select(Tag)).json())
        await add(db, Tag(name=f"tag {_}"))
        await resolve(db.ping())
    engine = db.engine if isinstance(db, Database) else db.engine.sync_engine
    assert pool_snapshot(engine).checked_out == 0


async def test_fetch_outside_a_transaction_is_one_statement_without_begin(db: AnyDatabase) -> None:
    await resolve(db.ping())
    with statements() as seen:
        await resolve(db.fetch(TagOut, select(Tag)).json())
    assert len(seen) == 1
    # On MySQL and MariaDB, a comment stands in front.
    assert seen[0].partition("*/ ")[-1 if seen[0].startswith("/*") else 0].startswith("SELECT")


async def test_cursor_events_fire(db: AnyDatabase) -> None:
    """Somebody else's listener, such as a tracer, sees a fetch like any other statement."""
    seen: list[str] = []

    def listener(_connection: object, cursor: object, statement: str, *_rest: object) -> None:
        assert cursor is not None
        seen.append(statement)

    engine = db.engine if isinstance(db, Database) else db.engine.sync_engine
    event.listen(engine, "before_cursor_execute", listener)
    with statements() as ours:
        assert await resolve(db.fetch(TagOut, select(Tag)).json()) == b"[]"
        async with transaction(db) as tx:
            assert await resolve(tx.fetch(TagOut, select(Tag)).json()) == b"[]"
    assert [s for s in seen if "json" in s] == [s for s in ours if "json" in s]
    assert len([s for s in seen if "json" in s]) == 2


async def test_fetch_on_plain_sqlalchemy(db: AnyDatabase) -> None:
    """Engines, connections and sessions that Querywright did not make."""
    await add(db, Author(id=1, name="first"))
    statement = select(Author)
    expected = [NameOut(id=1, name="first")]
    if isinstance(db, AsyncDatabase):
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine  # noqa: PLC0415 - only for this kind

        engine = create_async_engine(db.engine.url)
        async with engine.connect() as connection, AsyncSession(engine) as plain:
            for bind in (engine, connection, plain, db):
                assert await fetch(bind, NameOut, statement).all() == expected
                assert await fetch(bind, NameOut, statement).all() == expected
        await engine.dispose()
    else:
        from sqlalchemy import create_engine  # noqa: PLC0415 - only for this kind
        from sqlalchemy.orm import Session  # noqa: PLC0415 - only for this kind

        sync_engine = create_engine(db.engine.url)
        with sync_engine.connect() as sync_connection, Session(sync_engine) as sync_plain:
            for sync_bind in (sync_engine, sync_connection, sync_plain, db):
                assert fetch(sync_bind, NameOut, statement).all() == expected
        sync_engine.dispose()


@pytest.mark.drivers("postgresql+asyncpg")
async def test_a_plain_connection_stays_usable_after_fetch(db: AsyncDatabase) -> None:
    async with db.engine.connect() as connection:
        assert await fetch(connection, TagOut, select(Tag)).all() == []
        await connection.execute(text("INSERT INTO tags (name) VALUES ('one')"))
        assert await fetch(connection, TagOut, select(Tag)).json() == b'[{"name":"one"}]'
        await connection.rollback()
        assert await fetch(connection, TagOut, select(Tag)).json() == b"[]"


# A statement that runs for minutes unless it is cancelled.
ENDLESS = {
    "postgresql": "(SELECT 1 FROM pg_sleep(300)) = 1",
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 4000000) SELECT max(i) FROM n) > 0",
    "mariadb": "sleep(300) = 1",
}


@pytest.mark.parametrize("inside", ["database", "transaction"])
@pytest.mark.drivers("sqlite+aiosqlite", "postgresql+asyncpg", "postgresql+psycopg async", "mariadb+aiomysql")
async def test_cancelled_fetch_gives_its_connection_back(db: AsyncDatabase, inside: str) -> None:
    await add(db, Tag(name="one"))
    endless = select(Tag).where(text(ENDLESS[db.engine.dialect.name]))

    async def work() -> None:
        if inside == "database":
            await db.fetch(TagOut, endless).json()
        async with db.transaction(read_only=True) as tx:
            await tx.fetch(TagOut, endless).json()

    task = asyncio.create_task(work())
    await asyncio.wait([task], timeout=0.1)
    assert pool_snapshot(db.engine.sync_engine).checked_out == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pool_snapshot(db.engine.sync_engine).checked_out == 0
    assert await db.fetch(TagOut, select(Tag)).json() == b'[{"name":"one"}]'


@pytest.mark.drivers("sqlite+pysqlite")
async def test_sqlite_writers_take_turns(db: Database) -> None:
    """Read, then write, in eight threads at once: a deferred transaction would fail with "database is locked"."""
    await add(db, Author(id=1, name="0"))

    def count_up() -> None:
        for _ in range(10):
            with db.transaction() as tx:
                author = tx.get_one(Author, 1)
                author.name = str(int(author.name) + 1)

    threads = [threading.Thread(target=count_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (db.fetch(NameOut, select(Author)).one()).name == "80"


@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite")
async def test_sqlite_reads_beside_a_writer(db: AnyDatabase) -> None:
    async with transaction(db) as tx:
        tx.add(Tag(name="not yet"))
        await resolve(tx.flush())
        assert await resolve(db.fetch(TagOut, select(Tag)).json()) == b"[]"
        async with transaction(db, read_only=True, nested="new") as reader:
            assert await resolve(reader.scalar(COUNT)) == 0


@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite")
async def test_sqlite_pragmas(db: AnyDatabase) -> None:
    async with session(db) as opened:
        pragmas = {
            name: await resolve(opened.scalar(text(f"PRAGMA {name}")))
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    # The tests have a limit of their own.
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 1, "busy_timeout": 60_000}


@pytest.mark.drivers("postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg")
async def test_postgres_session_settings(db: AnyDatabase) -> None:
    async with session(db) as opened:
        shown = {
            name: await resolve(opened.scalar(text(f"SHOW {name}")))
            for name in (
                "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "timezone",
                "application_name",
            )
        }  # fmt: skip
    assert list(shown.values()) == ["30s", "10s", "1min", "UTC", "querywright"]


async def test_repr_hides_the_password() -> None:
    db = AsyncDatabase("postgresql+asyncpg://user:hunter2@localhost/app?passfile=hunter2")
    assert "hunter2" not in repr(db) + repr(db.settings) + str(db.engine)


@pytest.mark.drivers("postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg async")
async def test_a_lock_taken_by_fetch_lasts_as_long_as_its_transaction(db: AnyDatabase) -> None:
    await add(db, Tag(id=1, name="one"))
    async with transaction(db) as tx:
        await resolve(tx.fetch(TagOut, select(Tag).with_for_update()).one())
        with pytest.raises(DBAPIError, match="could not obtain lock"):
            async with transaction(db, nested="new") as other:
                await resolve(other.execute(select(Tag).with_for_update(nowait=True)))


async def test_an_error_that_was_ignored_is_no_success(db: AnyDatabase) -> None:
    """SQLAlchemy skips the COMMIT of a transaction that a failed flush has rolled back, and says nothing."""
    await add(db, Tag(name="taken"))
    with pytest.raises(TransactionLost, match="rolled back"):
        async with transaction(db) as tx:
            tx.add(Tag(name="lost"))
            await resolve(tx.flush())
            tx.add(Tag(name="taken"))
            with suppress(IntegrityError):
                await resolve(tx.flush())
    assert await count(db) == 1


async def test_autoflush_off_for_one_statement(db: AnyDatabase) -> None:
    async with transaction(db) as tx:
        tx.add(Tag(name="pending"))
        statement = select(Tag).execution_options(autoflush=False)
        assert await resolve(tx.fetch(TagOut, statement).json()) == b"[]"
        assert len(tx.new) == 1


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg")
async def test_fetch_inside_a_flush(db: Database) -> None:
    with db.transaction() as tx:
        seen: list[bytes] = []
        event.listen(tx, "before_flush", lambda session, *_: seen.append(fetch(session, TagOut, select(Tag)).json()))
        tx.add(Tag(name="one"))
        tx.flush()
        assert seen == [b"[]"]


@pytest.mark.drivers("postgresql+psycopg")
def test_options_of_the_url_are_kept(url: str) -> None:
    with Database(f"{url}?options=-csearch_path%3Delsewhere&connect_timeout=9") as db, db.session() as opened:
        assert opened.scalar(text("SHOW search_path")) == "elsewhere"
        assert opened.scalar(text("SHOW statement_timeout")) == "30s"


async def test_dispose_closes_what_is_in_use_when_it_comes_back(db: AnyDatabase) -> None:
    closed: list[object] = []
    engine = db.engine.sync_engine if isinstance(db, AsyncDatabase) else db.engine
    async with session(db) as opened:
        await resolve(opened.execute(text("SELECT 1")))
        event.listen(engine.pool, "close", lambda connection, _: closed.append(connection))
        await resolve(db.dispose())
        assert closed == []
    assert len(closed) == 1
    assert pool_snapshot(engine).checked_out == 0


@pytest.mark.parametrize("command", ["COMMIT", "ROLLBACK", "/* ; */ commit", "BEGIN"])
async def test_a_command_that_ends_the_transaction_is_refused_in_its_block(db: AnyDatabase, command: str) -> None:
    called: list[str] = []
    with pytest.raises(ManagedTransaction):
        async with transaction(db) as tx:
            tx.on_commit(called.append, "commit")
            tx.add(Tag(name="lost"))
            await resolve(tx.flush())
            await resolve(tx.execute(text(command)))
    with pytest.raises(ManagedTransaction):
        async with transaction(db) as tx:
            tx.add(Tag(name="lost"))
            await resolve(tx.flush())
            connection = await resolve(tx.connection())
            await resolve(connection.exec_driver_sql(command))
    assert (await count(db), called) == (0, [])
    # Whoever ends it himself may say so as he likes.
    if command == "ROLLBACK" and "sqlite" not in db.engine.dialect.name:
        async with session(db) as opened:
            opened.add(Tag(name="lost"))
            await resolve(opened.flush())
            await resolve(opened.execute(text(command)))
    assert await count(db) == 0


@pytest.mark.drivers("mariadb+pymysql", "mariadb+aiomysql")
@pytest.mark.parametrize("command", ["SET autocommit = 1", "SET @@session.autocommit = 1", "LOCK TABLES tags WRITE"])
async def test_what_commits_without_saying_so_is_refused_in_a_block(db: AnyDatabase, command: str) -> None:
    with pytest.raises(ManagedTransaction):
        async with transaction(db) as tx:
            tx.add(Tag(name="lost"))
            await resolve(tx.flush())
            await resolve(tx.execute(text(command)))
    assert await count(db) == 0


async def test_savepoints_may_be_written_as_text(db: AnyDatabase) -> None:
    async with transaction(db) as tx:
        tx.add(Tag(name="one"))
        await resolve(tx.flush())
        await resolve(tx.execute(text("SAVEPOINT mine")))
        tx.add(Tag(name="two"))
        await resolve(tx.flush())
        await resolve(tx.execute(text("ROLLBACK TO SAVEPOINT mine")))
    assert await count(db) == 1


async def test_who_listens_before_a_commit_sees_what_it_will_write(db: AnyDatabase) -> None:
    """As in SQLAlchemy: an audit of what is new writes with it."""
    seen: list[str] = []

    def audit(opened: Session) -> None:
        if opened.get_nested_transaction() is None and (new := [each.name for each in opened.new]):
            seen.extend(new)
            opened.add(Tag(name="audit"))

    event.listen(Session, "before_commit", audit)
    try:
        async with transaction(db) as tx:
            tx.add(Tag(name="one"))
    finally:
        event.remove(Session, "before_commit", audit)
    assert seen == ["one"]
    assert await count(db) == 2


async def test_who_swallows_that_a_connection_was_given_up_is_told(db: AnyDatabase) -> None:
    """As after a timeout around one statement; SQLAlchemy's words ask for a rollback() that a block refuses."""
    with pytest.raises(TransactionLost, match="its connection is lost"):
        async with transaction(db) as tx:
            tx.add(Tag(name="lost"))
            await resolve(tx.flush())
            connection = await resolve(tx.connection())
            await resolve(connection.invalidate())
    assert await count(db) == 0


@pytest.mark.drivers("postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg")
async def test_a_read_only_transaction_leaves_the_default_of_the_role(db: AnyDatabase, url: str) -> None:
    """psycopg sends read_only=False as READ WRITE: who may only read by default could write after it."""
    options = "?options=-c%20default_transaction_read_only%3Don" if "psycopg" in url else ""
    arguments: dict[str, Any] = {} if options else {"server_settings": {"default_transaction_read_only": "on"}}
    async with of_role(type(db), f"{url}{options}", arguments) as reading:
        for _ in range(2):
            with pytest.raises(DBAPIError, match="read-only"):
                async with transaction(reading) as tx:
                    tx.add(Tag(name="never"))
            async with transaction(reading, read_only=True) as tx:
                await resolve(tx.scalar(COUNT))
            async with transaction(reading, isolation="SERIALIZABLE", read_only=True, deferrable=True) as tx:
                await resolve(tx.scalar(COUNT))
            async with session(reading, read_only=True) as opened:
                await resolve(opened.scalar(COUNT))


@asynccontextmanager
async def of_role(kind: Any, url: str, arguments: dict[str, Any]) -> AsyncIterator[Any]:
    db = kind(url, pool_size=1, max_overflow=0, connect_args=arguments)
    yield db
    await resolve(db.dispose())
