"""Transactions: how they run, how they nest, what they refuse, and that nothing of them stays behind."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from querywright import (
    AsyncDatabase,
    ConcurrentUse,
    ConfigurationError,
    Database,
    ManagedTransaction,
    NestedTransaction,
    TransactionLost,
    fetch,
)
from querywright.engine import pool_snapshot
from querywright.engine.databases.errors import classify
from tests.suite.models import Author, NameOut, Tag, TagOut
from tests.suite.support import AnyDatabase, add, resolve, transaction

COUNT = select(func.count()).select_from(Tag)
POSTGRES = ("postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg")
SQLITE = ("sqlite+pysqlite", "sqlite+aiosqlite")


async def names(db: AnyDatabase) -> list[str]:
    async with transaction(db, read_only=True, nested="new") as tx:
        return list((await resolve(tx.scalars(select(Tag.name).order_by(Tag.name)))).all())


def checked_out(db: AnyDatabase) -> int:
    return pool_snapshot(db.engine if isinstance(db, Database) else db.engine.sync_engine).checked_out


@pytest.mark.drivers(*POSTGRES)
@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
async def test_isolation_lasts_for_one_transaction(db: AnyDatabase, level: Any) -> None:
    async with transaction(db, isolation=level) as tx:
        assert await resolve(tx.scalar(text("SHOW transaction_isolation"))) == level.lower()
    async with transaction(db) as tx:
        assert await resolve(tx.scalar(text("SHOW transaction_isolation"))) == "read committed"


@pytest.mark.drivers(*POSTGRES)
async def test_deferrable_and_read_only(db: AnyDatabase) -> None:
    async with transaction(db, isolation="SERIALIZABLE", read_only=True, deferrable=True) as tx:
        assert await resolve(tx.scalar(text("SHOW transaction_deferrable"))) == "on"
        assert await resolve(tx.scalar(text("SHOW transaction_read_only"))) == "on"
    async with transaction(db) as tx:
        assert await resolve(tx.scalar(text("SHOW transaction_deferrable"))) == "off"
        assert await resolve(tx.scalar(text("SHOW transaction_read_only"))) == "off"


async def test_every_level_is_kept_on_every_database(db: AnyDatabase) -> None:
    async with transaction(db, isolation="SERIALIZABLE") as tx:
        tx.add(Tag(name="one"))
    assert await names(db) == ["one"]


@pytest.mark.parametrize(
    "options",
    [
        {"isolation": "CHAOS"},
        {"deferrable": True},
        {"deferrable": True, "isolation": "SERIALIZABLE"},
        {"timeout": 0},
        {"timeout": 31},
        {"nested": "sideways"},
    ],
)
async def test_options_that_cannot_work_are_refused(db: AnyDatabase, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        async with transaction(db, **options):
            pass


@pytest.mark.drivers(*POSTGRES)
async def test_a_timeout_of_one_transaction(db: AnyDatabase) -> None:
    with pytest.raises(DBAPIError):
        async with transaction(db, timeout=0.05) as tx:
            await resolve(tx.execute(text("SELECT pg_sleep(20)")))
    async with transaction(db) as tx:
        assert await resolve(tx.scalar(text("SHOW statement_timeout"))) == "30s"
        assert await resolve(tx.scalar(text("SHOW transaction_timeout"))) == "0"


@pytest.mark.drivers(*SQLITE)
async def test_a_timeout_on_sqlite(db: AnyDatabase) -> None:
    endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT max(i) FROM n")
    with pytest.raises(DBAPIError) as caught:
        async with transaction(db, timeout=0.05) as tx:
            await resolve(tx.execute(endless))
    known = classify(caught.value)
    assert known is not None
    assert known.sqlstate == "57014"
    async with transaction(db) as tx:
        long = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 300000) SELECT max(i) FROM n")
        assert await resolve(tx.scalar(long)) == 300000


@pytest.mark.parametrize("verb", ["commit", "rollback", "close"])
async def test_a_managed_transaction_is_not_ended_by_hand(db: AnyDatabase, verb: str) -> None:
    async with transaction(db) as tx:
        tx.add(Tag(name="kept"))
        with pytest.raises(ManagedTransaction, match=rf"{verb}\(\) was called"):
            await resolve(getattr(tx, verb)())
    assert await names(db) == ["kept"]


async def test_a_transaction_inside_another_says_how(db: AnyDatabase) -> None:
    async with transaction(db) as outer:
        with pytest.raises(NestedTransaction, match="nested='join'"):
            async with transaction(db):
                pass
        async with transaction(db, nested="join") as inner:
            assert inner is outer
            inner.add(Tag(name="joined"))
        async with transaction(db, nested="savepoint") as inner:
            assert inner is outer
        with pytest.raises(NestedTransaction, match="another way"):
            async with transaction(db, nested="join", isolation="SERIALIZABLE"):
                pass
    assert await names(db) == ["joined"]
    # Without one around it, each begins one of its own.
    async with transaction(db, nested="join", isolation="SERIALIZABLE") as tx:
        tx.add(Tag(name="own"))
    assert await names(db) == ["joined", "own"]


async def test_a_failed_savepoint_leaves_the_rest(db: AnyDatabase) -> None:
    async with transaction(db) as tx:
        tx.add(Tag(name="before"))
        with pytest.raises(RuntimeError):
            async with transaction(db, nested="savepoint") as inner:
                inner.add(Tag(name="undone"))
                raise RuntimeError
        tx.add(Tag(name="after"))
    assert await names(db) == ["after", "before"]


async def test_a_failed_block_that_joined_dooms_the_whole(db: AnyDatabase) -> None:
    with pytest.raises(TransactionLost, match="RuntimeError"):
        async with transaction(db) as tx:
            tx.add(Tag(name="before"))
            with suppress(RuntimeError):
                async with transaction(db, nested="join"):
                    raise RuntimeError
    assert await names(db) == []


async def test_a_constraint_that_fails_in_a_savepoint(db: AnyDatabase) -> None:
    await add(db, Tag(name="taken"))
    async with transaction(db) as tx:
        with suppress(IntegrityError):
            async with transaction(db, nested="savepoint"):
                tx.add(Tag(name="taken"))
                await resolve(tx.flush())
        tx.add(Tag(name="free"))
    assert await names(db) == ["free", "taken"]


@pytest.mark.drivers("sqlite+aiosqlite", "postgresql+psycopg async", "postgresql+asyncpg")
async def test_a_task_started_inside_has_no_transaction(db: AsyncDatabase) -> None:
    async def beside() -> list[str]:
        async with db.transaction(read_only=True) as tx:
            return [tag.name for tag in await tx.fetch(TagOut, select(Tag)).all()]

    async with db.transaction() as tx:
        tx.add(Tag(name="not yet"))
        await tx.flush()
        assert await asyncio.create_task(beside()) == []


@pytest.mark.drivers(*POSTGRES)
async def test_a_transaction_that_collided_is_void(db: AnyDatabase) -> None:
    """A savepoint can be rolled back after a serialization failure, but what was read before it is no longer true."""
    await add(db, Author(id=1, name="0"))
    update = text("UPDATE authors SET name = name || '1'")
    with pytest.raises(TransactionLost, match="void") as caught:
        async with transaction(db, isolation="REPEATABLE READ") as tx:
            assert (await resolve(tx.fetch(NameOut, select(Author)).one())).name == "0"
            async with transaction(db, nested="new") as other:
                await resolve(other.execute(update))
            with suppress(DBAPIError):
                async with transaction(db, nested="savepoint", isolation="REPEATABLE READ"):
                    await resolve(tx.execute(update))
            await resolve(tx.execute(text("SELECT 1")))
    assert caught.value.sqlstate == "40001"
    assert (await resolve(db.fetch(NameOut, select(Author)).one())).name == "01"


@pytest.mark.drivers(*POSTGRES)
async def test_a_commit_after_an_ignored_error_is_an_error(db: AnyDatabase) -> None:
    """The server answers such a COMMIT with ROLLBACK."""
    with pytest.raises(TransactionLost):
        async with transaction(db) as tx:
            tx.add(Tag(name="lost"))
            await resolve(tx.flush())
            with suppress(DBAPIError):
                await resolve(tx.execute(text("SELECT 1/0")))
    assert await names(db) == []


@pytest.mark.drivers(*SQLITE)
async def test_sqlite_rolled_back_by_itself(db: AnyDatabase) -> None:
    with pytest.raises(TransactionLost):
        async with transaction(db) as tx:
            tx.add(Tag(name="lost"))
            await resolve(tx.flush())
            with suppress(DBAPIError):
                await resolve(tx.execute(text("INSERT OR ROLLBACK INTO tags (name) VALUES ('lost')")))
    assert await names(db) == []


@pytest.mark.drivers("sqlite+aiosqlite", "postgresql+psycopg async", "postgresql+asyncpg")
@pytest.mark.parametrize("first", ["execute", "fetch"])
async def test_two_tasks_in_one_session_are_named(db: AsyncDatabase, first: str) -> None:
    waiting = asyncio.Event()

    async def slow(tx: Any) -> None:
        waiting.set()
        if first == "execute":
            await tx.execute(select(Tag))
        else:
            await tx.fetch(TagOut, select(Tag)).all()

    async with db.transaction() as tx:
        task = asyncio.create_task(slow(tx), name="the first")
        await waiting.wait()
        with pytest.raises(ConcurrentUse) as caught:
            await tx.scalar(COUNT)
        await task
        assert "the first" in caught.value.first
        assert "slow" in caught.value.first
        assert "Task-" in caught.value.second or "task" in caught.value.second
        assert await tx.scalar(COUNT) == 0
    assert checked_out(db) == 0


@pytest.mark.drivers("sqlite+aiosqlite", "postgresql+psycopg async", "postgresql+asyncpg")
async def test_a_task_left_behind_in_a_session_is_no_success(db: AsyncDatabase) -> None:
    waiting = asyncio.Event()

    async def slow(tx: Any) -> None:
        waiting.set()
        await tx.execute(select(Tag))

    with pytest.raises(ConcurrentUse):
        async with db.transaction() as tx:
            tx.add(Tag(name="lost"))
            await tx.flush()
            task = asyncio.create_task(slow(tx))
            await waiting.wait()
    await asyncio.wait([task])
    with suppress(Exception):
        task.result()
    assert checked_out(db) == 0
    assert await names(db) == []


@pytest.mark.drivers(*POSTGRES)
async def test_who_waits_on_a_connection_that_is_closed_has_an_error(db: AnyDatabase) -> None:
    """psycopg's C code would go on with memory that is freed, once the next connection has a socket of that number."""
    for _ in range(10):
        mark = uuid4().hex
        with pytest.raises(ConcurrentUse):
            async with transaction(db) as tx:
                sleeping = partial(tx.execute, text(f"SELECT pg_sleep(60) -- {mark}"))
                waits = asyncio.to_thread(sleeping) if isinstance(db, Database) else sleeping()
                task = asyncio.create_task(waits)
                await asleep(db, mark)
        assert await names(db) == []
        with pytest.raises(SQLAlchemyError):
            await asyncio.wait_for(task, 20)
        assert checked_out(db) == 0


async def asleep(db: AnyDatabase, mark: str) -> None:
    """Wait until the statement with that comment sleeps at the server."""
    state = text(f"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%60) -- {mark}'")
    seen = 0
    while not seen:
        await asyncio.sleep(0)
        async with transaction(db, nested="new", read_only=True) as tx:
            seen = await resolve(tx.scalar(state))


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg")
async def test_two_threads_in_one_session_are_named(db: Database) -> None:
    caught: list[ConcurrentUse] = []

    def intrude(tx: Any) -> None:
        try:
            tx.scalar(COUNT)
        except ConcurrentUse as error:
            caught.append(error)

    with db.transaction() as tx:

        def during_flush(*_: object) -> None:
            thread = threading.Thread(target=intrude, args=(tx,), name="the second")
            thread.start()
            thread.join()

        from sqlalchemy import event  # noqa: PLC0415 - only here

        event.listen(tx, "before_flush", during_flush)
        tx.add(Tag(name="one"))
        tx.flush()
        event.remove(tx, "before_flush", during_flush)
    assert [error.second for error in caught] == ["thread 'the second'"]


@pytest.mark.drivers("postgresql+asyncpg", "postgresql+psycopg async", "sqlite+aiosqlite")
async def test_cancelled_during_the_commit(db: AsyncDatabase) -> None:
    """The commit is finished, the hooks run, and then the cancellation goes on."""
    from sqlalchemy import event  # noqa: PLC0415 - only here

    called: list[str] = []

    async def work() -> None:
        async with db.transaction() as tx:
            tx.add(Tag(name="durable"))
            tx.on_commit(called.append, "hook")
            event.listen(tx.sync_session, "before_commit", lambda _: asyncio.current_task() and task.cancel())

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await names(db), called, checked_out(db)) == (["durable"], ["hook"], 0)


async def test_fetch_of_a_plain_function_in_a_transaction(db: AnyDatabase) -> None:
    async with transaction(db) as tx:
        tx.add(Tag(name="pending"))
        assert await resolve(fetch(tx, TagOut, select(Tag)).json()) == b'[{"name":"pending"}]'
