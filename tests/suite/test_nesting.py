"""A nested transaction joins the one that its context holds, in whatever task or thread it runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

import pytest
from sqlalchemy import select

from querywright import AsyncDatabase, ConcurrentUse, Database, TransactionLost
from querywright.engine import pool_snapshot
from tests.conftest import ASYNC, SYNC
from tests.suite.models import Tag
from tests.suite.support import AnyDatabase, resolve, session


async def names(db: AnyDatabase) -> list[str]:
    async with session(db) as opened:
        return sorted((await resolve(opened.scalars(select(Tag.name)))).all())


async def in_task(work: Awaitable[None]) -> None:
    await asyncio.ensure_future(work)


async def in_wait_for(work: Awaitable[None]) -> None:
    await asyncio.wait_for(work, 60)


async def in_gather(work: Awaitable[None]) -> None:
    await asyncio.gather(work)


async def in_itself(work: Awaitable[None]) -> None:
    await work


@pytest.mark.drivers(*ASYNC)
@pytest.mark.parametrize("nested", ["join", "savepoint"])
@pytest.mark.parametrize("run", [in_itself, in_task, in_wait_for, in_gather])
async def test_tasks_take_part(db: AsyncDatabase, run: Callable[[Awaitable[None]], Any], nested: Any) -> None:
    async def note(name: str) -> None:
        async with db.transaction(nested=nested) as tx:
            tx.add(Tag(name=name))
            # Another one inside of it.
            async with db.transaction(nested="join") as same:
                assert same is tx

    with pytest.raises(ZeroDivisionError):
        async with db.transaction():
            await run(note("lost"))
            _ = 1 / 0
    async with db.transaction():
        await run(note("one"))
        await run(note("two"))
    # What has ended is joined by nobody.
    await run(note("after"))
    assert await names(db) == ["after", "one", "two"]


@pytest.mark.drivers(*ASYNC)
async def test_two_tasks_that_join_at_once_are_told(db: AsyncDatabase) -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def stay() -> None:
        async with db.transaction(nested="join"):
            inside.set()
            await leave.wait()

    async def come() -> None:
        await inside.wait()
        try:
            async with db.transaction(nested="join") as tx:
                tx.add(Tag(name="never"))
        finally:
            leave.set()

    async with db.transaction() as tx:
        tx.add(Tag(name="kept"))
        staying, coming = await asyncio.gather(stay(), come(), return_exceptions=True)
        assert staying is None
        assert isinstance(coming, ConcurrentUse)
        assert "stay" in coming.first
        assert "come" in coming.second
        async with db.transaction(nested="join") as again:
            again.add(Tag(name="again"))
    assert await names(db) == ["again", "kept"]


@pytest.mark.drivers(*ASYNC)
@pytest.mark.parametrize("nested", ["join", "savepoint"])
async def test_nothing_is_committed_while_a_part_of_it_is_still_running(db: AsyncDatabase, nested: Any) -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def part() -> None:
        async with db.transaction(nested=nested) as tx:
            tx.add(Tag(name="half"))
            inside.set()
            await leave.wait()
            raise LookupError

    left: Any = None
    with pytest.raises(ConcurrentUse) as caught:
        async with db.transaction() as tx:
            tx.add(Tag(name="outer"))
            left = asyncio.create_task(part())
            await inside.wait()
    assert "part" in caught.value.first
    leave.set()
    await asyncio.wait([left])
    assert left.exception() is not None
    assert await names(db) == []


# SQLite has one writer at a time.
@pytest.mark.drivers("postgresql+asyncpg", "postgresql+psycopg async", "mariadb+aiomysql")
async def test_a_task_that_does_not_ask_is_on_its_own(db: AsyncDatabase) -> None:
    async def alone() -> None:
        async with db.transaction() as tx:
            tx.add(Tag(name="alone"))

    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as tx:
            tx.add(Tag(name="lost"))
            await tx.flush()
            await asyncio.gather(alone())
            _ = 1 / 0
    assert await names(db) == ["alone"]


@pytest.mark.drivers(*SYNC)
@pytest.mark.parametrize("nested", ["join", "savepoint"])
async def test_threads_take_part_in_what_their_context_holds(db: Database, nested: Any) -> None:
    failed: list[BaseException] = []

    def note(name: str) -> None:
        with db.transaction(nested=nested) as tx:
            tx.add(Tag(name=name))
            tx.flush()

    def in_thread(name: str) -> None:
        def run() -> None:
            try:
                context.run(note, name)
            except BaseException as error:  # noqa: BLE001 - shown below
                failed.append(error)

        context = copy_context()
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    with pytest.raises(ZeroDivisionError), db.transaction():
        in_thread("lost")
        _ = 1 / 0
    with db.transaction():
        in_thread("one")
        in_thread("two")
    in_thread("after")
    assert failed == []
    with db.session() as opened:
        assert sorted(opened.scalars(select(Tag.name))) == ["after", "one", "two"]


@pytest.mark.drivers(*ASYNC)
@pytest.mark.parametrize("nested", ["join", "savepoint"])
@pytest.mark.parametrize("flushed", [True, False])
async def test_who_takes_part_longer_than_there_is_a_transaction_is_told(
    db: AsyncDatabase, nested: Any, *, flushed: bool
) -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def part() -> None:
        async with db.transaction(nested=nested) as tx:
            tx.add(Tag(name="lost"))
            if flushed:
                await tx.flush()
            inside.set()
            await leave.wait()

    with pytest.raises(LookupError):
        async with db.transaction():
            task = asyncio.create_task(part())
            await inside.wait()
            raise LookupError
    leave.set()
    with pytest.raises(TransactionLost, match="had ended before it"):
        await task
    assert await names(db) == []
    assert pool_snapshot(db.engine.sync_engine).checked_out == 0


@pytest.mark.drivers(*SYNC)
async def test_threads_that_take_part_longer_are_told(db: Database) -> None:
    inside, leave, told = threading.Event(), threading.Event(), []

    def part() -> None:
        try:
            with db.transaction(nested="join") as tx:
                tx.add(Tag(name="lost"))
                inside.set()
                leave.wait(60)
        except TransactionLost as error:
            told.append(error)

    thread: threading.Thread | None = None
    with pytest.raises(LookupError), db.transaction():
        thread = threading.Thread(target=copy_context().run, args=(part,))
        thread.start()
        inside.wait(60)
        raise LookupError
    leave.set()
    assert thread is not None
    thread.join()
    assert len(told) == 1
