"""After its block a session is over for everybody who kept it, and holds nothing."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from sqlalchemy import event, func, insert, select, text
from sqlalchemy.exc import IllegalStateChangeError
from sqlalchemy.util import await_only

from querywright import AsyncDatabase, ConcurrentUse, SessionEnded
from querywright.engine import pool_snapshot
from querywright.engine.statements import observation
from querywright.fetching.execute import run
from tests.conftest import ASYNC
from tests.suite.models import Author, NameOut, Out, Tag
from tests.suite.support import AnyDatabase, add, collect, resolve, session, transaction


class BookOut(Out):
    id: int


class DeepOut(Out):
    id: int
    books: list[BookOut]


ALL = select(Author).order_by(Author.id)
USES: dict[str, Callable[[Any], Any]] = {
    "add": lambda tx: tx.add(Tag(name="late")),
    "add_all": lambda tx: tx.add_all([Tag(name="late")]),
    "merge": lambda tx: tx.merge(Tag(id=1, name="late")),
    "execute": lambda tx: tx.execute(text("SELECT 1")),
    "insert": lambda tx: tx.execute(insert(Tag), [{"name": "late"}]),
    "scalars": lambda tx: tx.scalars(select(Tag)),
    "get": lambda tx: tx.get(Tag, 1),
    "fetch": lambda tx: tx.fetch(NameOut, ALL).all(),
    "json": lambda tx: tx.fetch(NameOut, ALL).json(),
    "page": lambda tx: tx.fetch(NameOut, ALL).page(size=2),
    "stream": lambda tx: collect(tx.fetch(NameOut, ALL).stream()),
    "begin": lambda tx: tx.begin(),
    "connection": lambda tx: tx.connection(),
    "on_commit": lambda tx: tx.on_commit(print),
    "commit": lambda tx: tx.commit(),
    "rollback": lambda tx: tx.rollback(),
}


@pytest.mark.parametrize("how", ["committed", "rolled back", "session"])
async def test_a_kept_session_is_refused(db: AnyDatabase, how: str) -> None:
    kept: Any = None
    with suppress(ZeroDivisionError):
        async with session(db) if how == "session" else transaction(db) as kept:
            kept.add(Author(id=1, name="Ada"))
            await resolve(kept.flush())
            1 / (how != "rolled back")
    for use in USES.values():
        with pytest.raises(SessionEnded, match=r"with its block, at .*support\.py:\d+, in"):
            await resolve(use(kept))
    assert pool_snapshot(db.engine).checked_out == 0
    # It holds nothing, and closing it twice is nobody's fault.
    await resolve(kept.close())
    async with transaction(db) as tx:
        tx.add(Tag(name="in time"))
    async with session(db) as opened:
        assert await resolve(opened.scalar(select(func.count()).select_from(Tag))) == 1


@pytest.mark.parametrize("opened", [transaction, session])
async def test_a_stream_ends_with_its_block(db: AnyDatabase, opened: Any) -> None:
    await add(db, *(Author(id=n, name=f"{n}") for n in range(1, 40)))
    async with opened(db) as tx:
        stream = tx.fetch(NameOut, ALL).stream(batch=2)
        first = await anext(stream) if isinstance(db, AsyncDatabase) else next(stream)
        assert first.name == "1"
    with pytest.raises(SessionEnded):
        await collect(stream)
    assert pool_snapshot(db.engine).checked_out == 0


@pytest.mark.drivers(*ASYNC)
async def test_a_task_that_is_still_connecting_gives_its_connection_back(db: AsyncDatabase) -> None:
    """gather() leaves the others running when one fails."""
    connecting, free = asyncio.Event(), asyncio.Event()

    async def slow(tx: Any) -> None:
        await tx.execute(text("SELECT 1"))

    def wait(*_: Any) -> None:
        connecting.set()
        await_only(free.wait())

    async def fail() -> None:
        await connecting.wait()
        raise LookupError

    event.listen(db.engine.sync_engine.pool, "checkout", wait)
    left: Any = None
    with pytest.raises((LookupError, ConcurrentUse, IllegalStateChangeError)):
        async with db.transaction() as tx:
            left = asyncio.ensure_future(slow(tx))
            await asyncio.gather(left, fail())
    free.set()
    with pytest.raises(SessionEnded):
        await left
    gc.collect()
    assert pool_snapshot(db.engine).checked_out == 0
    event.remove(db.engine.sync_engine.pool, "checkout", wait)
    async with db.transaction() as tx:
        tx.add(Tag(name="next"))


@pytest.mark.drivers(*ASYNC)
async def test_a_session_ends_in_a_scope_that_is_cancelled(db: AsyncDatabase) -> None:
    """anyio cancels at every await, also while the session is closed."""
    with anyio.CancelScope() as scope:
        async with db.session() as kept:
            await kept.execute(text("SELECT 1"))
            scope.cancel()
            await asyncio.sleep(0)
    with pytest.raises(SessionEnded):
        await kept.execute(text("SELECT 1"))


async def test_no_fetch_has_its_connection_reset(db: AnyDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it writes around its statements changes no session; a reset would cost a trip, or the connection."""
    await add(db, Author(id=1, name="Ada"))
    changed: list[Any] = []
    for module in (run, observation):
        monkeypatch.setattr(module, "mark_changed", changed.append)
    for of in ("database", "session"):
        for found in (ALL, ALL.distinct()):
            async with session(db) as opened:
                fetched = (db if of == "database" else opened).fetch(DeepOut, found)
                assert len(await resolve(fetched.all())) == 1
                await resolve(fetched.json())
                await resolve(fetched.json(exclude_none=True))
                await resolve(fetched.json_page(size=1))
                await resolve(fetched.count())
                await collect(fetched.stream(batch=1))
    assert changed == []


@pytest.mark.drivers("postgresql+asyncpg", "postgresql+psycopg async")
@pytest.mark.parametrize("by", ["task", "anyio"])
async def test_a_cancelled_statement_ends_at_the_server(db: AsyncDatabase, by: str) -> None:
    """It would keep its locks; under anyio the connection is given up before the server is told."""
    running = select(func.count()).select_from(text("pg_stat_activity WHERE state = 'active' AND query LIKE '%3600)%'"))
    sleeping = text("SELECT pg_sleep(3600)")

    async def seen(number: int) -> bool:
        # Until it is so, or the server ends the other statement by its limit.
        for _ in range(400):
            async with db.transaction(nested="new", read_only=True) as tx:
                if await tx.scalar(running) == number:
                    return True
            await asyncio.sleep(0.05)
        return False

    async def sleep() -> None:
        async with db.transaction(nested="new") as tx:
            await tx.execute(sleeping)

    if by == "task":
        task = asyncio.create_task(sleep())
        assert await seen(2)
        task.cancel()
        await asyncio.wait({task})
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(sleep)
            assert await seen(2)
            group.cancel_scope.cancel()
    assert await seen(1)
