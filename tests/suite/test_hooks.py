"""A9: hooks are called once the transaction has ended, as Django's are; its list of cases, on every database."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import pytest
from sqlalchemy import event, func, select

from querywright import AsyncDatabase, ConfigurationError, Database
from querywright.engine import pool_snapshot
from querywright.events import HookFailed, subscribed
from tests.conftest import ASYNC
from tests.suite.models import Tag
from tests.suite.support import AnyDatabase, add, block, resolve, session, transaction

COUNT = select(func.count()).select_from(Tag)


class Boom(Exception):
    pass


def boom() -> None:
    raise Boom


async def test_a9_called_after_the_commit_and_in_order(db: AnyDatabase) -> None:
    called: list[int] = []
    async with transaction(db) as tx:
        for number in range(3):
            tx.on_commit(called.append, number)
        tx.on_rollback(called.append, -1)
        tx.add(Tag(name="one"))
        assert called == []
    assert called == [0, 1, 2]


async def test_a9_dropped_on_rollback(db: AnyDatabase) -> None:
    called: list[str] = []
    with pytest.raises(Boom):
        async with transaction(db) as tx:
            tx.on_commit(called.append, "commit")
            tx.on_rollback(called.append, "rollback")
            raise Boom
    assert called == ["rollback"]


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg", "mariadb+pymysql")
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
async def test_nothing_is_called_where_a_commit_was_interrupted(
    db: Database, monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    """It may be durable: what undoes its effects elsewhere must not run."""
    called: list[str] = []
    commit = db.engine.dialect.do_commit

    def interrupted(connection: Any) -> None:
        commit(connection)
        raise interruption

    with pytest.raises(interruption), db.transaction() as tx:
        tx.add(Tag(name="durable"))
        tx.on_commit(called.append, "commit")
        tx.on_rollback(called.append, "rollback")
        monkeypatch.setattr(db.engine.dialect, "do_commit", interrupted)
    monkeypatch.undo()
    assert called == []
    assert db.run(lambda tx: tx.scalar(COUNT)) == 1
    assert pool_snapshot(db.engine).checked_out == 0


async def test_a9_a_commit_that_fails_is_a_rollback(db: AnyDatabase) -> None:
    await add(db, Tag(name="taken"))
    called: list[str] = []
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        async with transaction(db) as tx:
            tx.on_commit(called.append, "commit")
            tx.on_rollback(called.append, "rollback")
            tx.add(Tag(name="taken"))
    assert called == ["rollback"]


async def test_a9_savepoints(db: AnyDatabase) -> None:
    """Dropped with the savepoint they were asked for in, kept for those beside and around it."""
    called: list[str] = []
    async with transaction(db) as tx:
        tx.on_commit(called.append, "outer")
        async with transaction(db, nested="savepoint"):
            tx.on_commit(called.append, "released")
            async with transaction(db, nested="savepoint"):
                tx.on_commit(called.append, "released inside")
        with pytest.raises(Boom):
            async with transaction(db, nested="savepoint"):
                tx.on_commit(called.append, "undone")
                tx.on_rollback(called.append, "undoing")
                async with transaction(db, nested="savepoint"):
                    tx.on_commit(called.append, "released in what was undone")
                raise Boom
        assert called == ["undoing"]
        tx.on_commit(called.append, "last")
    assert called == ["undoing", "outer", "released", "released inside", "last"]


async def test_a9_a_rolled_back_transaction_takes_released_savepoints_with_it(db: AnyDatabase) -> None:
    called: list[str] = []
    with pytest.raises(Boom):
        async with transaction(db) as tx:
            async with transaction(db, nested="savepoint"):
                tx.on_commit(called.append, "released")
            raise Boom
    assert called == []


async def test_a9_a_failing_hook_is_reported_and_keeps_no_other_from_being_called(
    db: AnyDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[str] = []
    failed: list[HookFailed] = []
    with subscribed(HookFailed, failed.append), caplog.at_level(logging.ERROR, "querywright"):
        async with transaction(db) as tx:
            tx.on_commit(boom)
            tx.on_commit(called.append, "second")
            tx.add(Tag(name="one"))
    assert called == ["second"]
    assert [type(event.error) for event in failed] == [Boom]
    assert "boom" in caplog.text


async def test_a9_queries_and_transactions_in_a_hook(db: AnyDatabase) -> None:
    """The connection is free by then, and what was committed is there."""
    seen: list[int] = []
    engine = db.engine if isinstance(db, Database) else db.engine.sync_engine

    if isinstance(db, AsyncDatabase):

        async def hook(name: str) -> None:
            assert pool_snapshot(engine).checked_out == 0
            async with db.transaction() as tx:
                tx.add(Tag(name=name))
                await tx.flush()
                seen.append(await tx.scalar(COUNT) or 0)

        async with db.transaction() as tx:
            tx.add(Tag(name="one"))
            tx.on_commit(hook, "two")
    else:

        def sync_hook(name: str) -> None:
            assert pool_snapshot(engine).checked_out == 0
            with db.transaction() as tx:
                tx.add(Tag(name=name))
                tx.flush()
                seen.append(tx.scalar(COUNT) or 0)

        with db.transaction() as sync_tx:
            sync_tx.add(Tag(name="one"))
            sync_tx.on_commit(sync_hook, "two")
    assert seen == [2]


async def test_a9_sessions_ended_by_hand(db: AnyDatabase) -> None:
    """Hooks are forgotten once they were called, and belong to one transaction of a session."""
    called: list[str] = []
    async with session(db) as opened:
        opened.on_commit(called.append, "first")
        opened.add(Tag(name="one"))
        await resolve(opened.commit())
        assert called == ["first"]
        await resolve(opened.scalar(COUNT))
        opened.on_commit(called.append, "dropped")
        await resolve(opened.rollback())
        await resolve(opened.scalar(COUNT))
        await resolve(opened.commit())
        opened.on_rollback(called.append, "closed")
        await resolve(opened.scalar(COUNT))
    assert called == ["first", "closed"]


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg")
async def test_a9_a_coroutine_function_in_a_synchronous_session(db: Database) -> None:
    async def hook() -> None:
        pass

    with db.transaction() as tx, pytest.raises(ConfigurationError, match="coroutine function"):
        tx.on_commit(hook)


@pytest.mark.drivers("sqlite+aiosqlite", "postgresql+asyncpg")
async def test_a9_hooks_may_be_of_both_kinds(db: AsyncDatabase) -> None:
    called: list[Any] = []

    async def hook(value: str) -> None:
        called.append(value)

    async with db.transaction() as tx:
        tx.on_commit(hook, "awaited")
        tx.on_commit(called.append, "called")
    assert called == ["awaited", "called"]


@pytest.mark.drivers("sqlite+pysqlite")
def test_a_function_that_hangs_is_left_to_itself(
    url: str, suite_tables: None, caplog: pytest.LogCaptureFixture
) -> None:
    failed: list[HookFailed] = []
    called: list[object] = []
    free = threading.Event()
    hung, last = threading.Event(), threading.Event()

    def hang() -> None:
        hung.set()
        free.wait()
        called.append("late")

    with Database(url, hook_timeout=0.05) as db, subscribed(HookFailed, failed.append):
        with db.transaction() as tx:
            for hook in (partial(called.append, 1), hang, hang, partial(called.append, 2), last.set):
                tx.on_commit(hook)
        assert hung.is_set()
        # On a busy machine those that take no time may take too long as well; they are called all the same.
        assert last.wait(60)
        assert [number for number in called if number != "late"] == [1, 2]
        assert [type(each.error) for each in failed if "hang" in each.name] == [TimeoutError] * 2
        assert "TimeoutError" in caplog.text
        free.set()


@pytest.mark.drivers("sqlite+pysqlite")
def test_hooks_see_the_context_of_their_transaction(url: str, suite_tables: None) -> None:
    tenant: ContextVar[int] = ContextVar("tenant")
    seen: list[int] = []
    with Database(url) as db:
        tenant.set(7)
        with db.transaction() as tx:
            tx.on_commit(lambda: seen.append(tenant.get()))
    assert seen == [7]


async def hang() -> None:
    await asyncio.Event().wait()


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_a_coroutine_that_hangs_is_cancelled(url: str, suite_tables: None) -> None:
    failed: list[HookFailed] = []
    called: list[int] = []
    async with AsyncDatabase(url, hook_timeout=0.05) as db:
        with subscribed(HookFailed, failed.append):
            async with db.transaction() as tx:
                for hook in (partial(called.append, 1), hang, hang, partial(called.append, 2)):
                    tx.on_commit(hook)
    assert called == [1, 2]
    assert [type(each.error) for each in failed] == [TimeoutError] * 2


@pytest.mark.drivers("sqlite+aiosqlite")
@pytest.mark.parametrize("scope", ["task", "anyio"])
async def test_a_cancellation_ends_what_hangs_and_loses_no_other(url: str, suite_tables: None, scope: str) -> None:
    called: list[int] = []
    hanging = asyncio.Event()

    async def hang_at_last() -> None:
        hanging.set()
        await asyncio.Event().wait()

    async def note(number: int) -> None:
        await asyncio.sleep(0)
        called.append(number)

    async with AsyncDatabase(url, hook_timeout=3600) as db:

        async def unit() -> None:
            async with db.transaction() as tx:
                tx.add(Tag(name="kept"))
                for hook in (partial(note, 1), hang_at_last, partial(note, 2), partial(note, 3)):
                    tx.on_commit(hook)

        if scope == "task":
            task = asyncio.create_task(unit())
            await hanging.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(unit)
                await hanging.wait()
                group.cancel_scope.cancel()
        assert called == [1, 2, 3]
        async with db.session() as opened:
            assert await opened.scalar(COUNT) == 1


async def test_a_block_of_begin_calls_its_hooks_at_its_end(db: AnyDatabase) -> None:
    called: list[str] = []
    async with session(db) as opened:
        with pytest.raises(Boom):
            async with block(opened.begin()):
                opened.on_rollback(called.append, "rollback")
                raise Boom
        assert called == ["rollback"]
        async with block(opened.begin()):
            opened.on_commit(called.append, "commit")
            opened.add(Tag(name="one"))
        assert called == ["rollback", "commit"]
    assert called == ["rollback", "commit"]


@pytest.mark.drivers(*ASYNC)
@pytest.mark.parametrize("block", [False, True], ids=["commit", "begin"])
@pytest.mark.parametrize("moment", ["sent", "answered"])
async def test_a_cancelled_commit_by_hand_is_committed(db: AsyncDatabase, moment: str, *, block: bool) -> None:
    """Who is cancelled during the COMMIT is told so after it, and its hooks know that it was committed."""
    called: list[str] = []

    async def unit() -> None:
        async with db.session() as opened:
            async with opened.begin() if block else nullcontext():
                opened.on_commit(called.append, "commit")
                opened.on_rollback(called.append, "rollback")
                opened.add(Tag(name="one"))
                await opened.flush()
                event.listen(db.engine.sync_engine, "commit", cancel)
            if not block:
                await opened.commit()
            await asyncio.sleep(0)
            called.append("went on")

    def cancel(_: Any) -> None:
        loop = asyncio.get_running_loop()
        if moment == "sent":
            task.cancel()
        else:
            loop.call_soon(loop.call_soon, task.cancel)

    task = asyncio.create_task(unit())
    with pytest.raises(asyncio.CancelledError):
        await task
    event.remove(db.engine.sync_engine, "commit", cancel)
    assert called == ["commit"]
    async with db.session() as opened:
        assert await opened.scalar(COUNT) == 1
    assert pool_snapshot(db.engine.sync_engine).checked_out == 0


async def test_a_hook_that_is_cancelled_by_itself_loses_no_other(
    db: AnyDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[int] = []

    def give_up() -> None:
        raise asyncio.CancelledError

    async with transaction(db) as tx:
        for hook in (give_up, partial(called.append, 1)):
            tx.on_commit(hook)
        tx.add(Tag(name="one"))
    assert called == [1]
    assert "give_up of a transaction failed" in caplog.text
