"""A cancellation while a connection is being opened loses nothing: no connection, no file, no thread."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from anyio import fail_after
from sqlalchemy import NullPool, create_engine, event, text

from querywright import AsyncDatabase
from querywright.engine import pool_snapshot
from querywright.engine.drivers.pysqlite import SQLiteConnection
from tests.suite.support import AnyDatabase, resolve

CANCELS = 100
ASYNC = ("sqlite+aiosqlite", "postgresql+psycopg async", "postgresql+asyncpg")


@pytest.fixture
async def complaints(caplog: pytest.LogCaptureFixture) -> AsyncIterator[list[str]]:
    """What the event loop, SQLAlchemy and the drivers complain about."""
    found: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: found.append(context["message"]))
    yield found
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    found += [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.WARNING]
    assert not found


async def steps(db: AsyncDatabase) -> int:
    """Count the steps of the event loop that it takes to open a connection."""
    task = asyncio.create_task(ping(db))
    count = 0
    while not task.done():
        await asyncio.sleep(0)
        count += 1
    await db.dispose()
    return count


async def ping(db: AsyncDatabase) -> None:
    async with db.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


async def cancel_while_connecting(db: AsyncDatabase, after: int) -> None:
    task = asyncio.create_task(ping(db))
    for _ in range(after):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def open_connections(url: str, name: str) -> int:
    """Count what is still open: backends of the server, or file descriptors of the process."""
    if url.startswith("sqlite"):
        path = url.partition("///")[2]
        return sum(os.path.realpath(link).startswith(path) for link in Path("/proc/self/fd").iterdir())
    engine = create_engine(url.replace("+asyncpg", "+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = :name"
        return int(connection.scalar(text(query), {"name": name}) or 0)


async def wait_until_closed(url: str, name: str) -> None:
    """Wait for the server's backends to end, which they do after the sockets."""
    # SQLite keeps the files of a closed connection open as long as there is a cursor, here in a traceback.
    gc.collect()
    with fail_after(60):
        while open_connections(url, name):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


@pytest.mark.drivers(*ASYNC)
async def test_a5_cancelled_while_connecting_leaks_nothing(url: str, complaints: list[str]) -> None:
    threads = threading.active_count()
    name = "cancelled"
    choose = random.Random(5)  # noqa: S311 - a plan of cancellations, not a secret
    async with AsyncDatabase(url, application_name=name) as db:
        slowest = await steps(db)
        for _ in range(CANCELS):
            await cancel_while_connecting(db, choose.randrange(slowest))
            if choose.random() < 0.5:
                await db.dispose()
        assert pool_snapshot(db.engine.sync_engine).checked_out == 0
        await ping(db)
    await wait_until_closed(url, name)
    for thread in threading.enumerate()[threads:]:
        thread.join(60)
    assert threading.active_count() == threads


@pytest.mark.drivers(*ASYNC)
async def test_a5_disposed_by_many_at_once_loses_nothing(url: str, complaints: list[str]) -> None:
    """One that replaces what another has just made would lose the connections that are in use there."""
    async with AsyncDatabase(url, application_name="disposed") as db:
        for _ in range(5):
            await asyncio.gather(*(work for _ in range(5) for work in (ping(db), db.dispose())))
        await asyncio.gather(*(ping(db) for _ in range(5)))
    await wait_until_closed(url, "disposed")


@pytest.mark.drivers(*ASYNC, "sqlite+pysqlite", "postgresql+psycopg")
async def test_a_connection_whose_listener_fails_is_closed(db: AnyDatabase, url: str) -> None:
    engine = db.engine.sync_engine if isinstance(db, AsyncDatabase) else db.engine
    seen: list[int] = []

    def fail(_connection: Any, _record: Any) -> None:
        seen.append(1)
        raise ZeroDivisionError

    await resolve(db.dispose())
    await asyncio.sleep(0)
    before = open_connections(url, db.settings.application_name)
    event.listen(engine.pool, "connect", fail)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await resolve(db.ping())
    assert seen == [1, 1, 1]
    gc.collect()
    assert open_connections(url, db.settings.application_name) <= before
    assert pool_snapshot(engine).checked_out == 0
    event.remove(engine.pool, "connect", fail)


def test_a_closed_sqlite_connection_keeps_no_lock_while_a_traceback_holds_its_cursor(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    closed = sqlite3.connect(path, isolation_level=None, factory=SQLiteConnection)
    closed.execute("BEGIN IMMEDIATE")
    cursor = closed.execute("SELECT 1")
    closed.close()
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.ProgrammingError):
        cursor.fetchall()
