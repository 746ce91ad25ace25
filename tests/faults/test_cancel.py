"""A5: cancelled at any await, by asyncio and by anyio, a request leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
import pytest
import sqlalchemy
from pydantic import BaseModel
from sqlalchemy import select, text

from querywright import AsyncDatabase, AsyncSession
from querywright.engine import pool_snapshot
from querywright.testing import EmbeddedPostgres
from tests.faults.clients import Base, Receipt
from tests.faults.report import Figures

DRIVERS = ("postgresql+asyncpg", "postgresql+psycopg async", "sqlite+aiosqlite")
pytestmark = pytest.mark.parametrize("driver", DRIVERS)
# So many requests at once, for fewer connections.
_TOGETHER = 12
# Steps of the event loop after which a request is cancelled at the latest; one takes some microseconds.
_STEPS = 400


SQLALCHEMY = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:3])


class ReceiptOut(BaseModel):
    key: str


@pytest.fixture
async def db(driver: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncDatabase]:
    if driver.startswith("sqlite"):
        url = f"{driver}:///{tmp_path}/cancelled.db"
    else:
        postgres: EmbeddedPostgres = request.getfixturevalue("postgres")
        url = postgres.url(driver.partition("+")[2].removesuffix(" async"))
    async with AsyncDatabase(url, pool_size=8, max_overflow=0, application_name="cancelled") as db:
        async with db.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)
        yield db
        async with db.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)


async def write(db: AsyncDatabase) -> None:
    async with db.transaction() as tx:
        tx.add(Receipt(key="one"))
        await tx.flush()
        async with tx.savepoint():
            await tx.execute(select(Receipt).limit(1))


async def read(db: AsyncDatabase) -> None:
    await db.fetch(ReceiptOut, select(Receipt).order_by(Receipt.id).limit(5)).json()
    async with db.transaction(read_only=True, isolation="REPEATABLE READ") as tx:
        await tx.fetch(ReceiptOut, select(Receipt).order_by(Receipt.id).limit(5)).all()


async def run(db: AsyncDatabase) -> None:
    async def work(tx: AsyncSession) -> None:
        tx.add(Receipt(key="two"))

    await db.run(work)


async def cancelled_by_asyncio(work: Awaitable[None], steps: int) -> None:
    task = asyncio.ensure_future(work)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    if steps % 3 == 0:
        # A second time, while it is being cleaned up.
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()):
        raise error


async def cancelled_by_anyio(work: Awaitable[None], steps: int) -> None:
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)
            group.cancel_scope.cancel()

        group.start_soon(watch)
        await work


@pytest.mark.parametrize("cancelled", [cancelled_by_asyncio, cancelled_by_anyio], ids=["asyncio", "anyio"])
async def test_a5_cancelled_at_any_await(
    db: AsyncDatabase,
    figures: Figures,
    sized: Callable[[int, int], int],
    caplog: pytest.LogCaptureFixture,
    cancelled: Callable[[Awaitable[None], int], Awaitable[None]],
    driver: str,
) -> None:
    number = figures.sent = sized(300, 5000)
    seed = random.randrange(2**32)  # noqa: S311 - a test
    print(f"seed {seed}")  # noqa: T201 - to repeat it
    rng = random.Random(seed)  # noqa: S311 - a test
    steps = iter([rng.randrange(_STEPS) for _ in range(number)])

    async def client() -> None:
        for each in steps:
            await cancelled(rng.choice((write, read, run))(db), each)

    with caplog.at_level(logging.WARNING):
        async with anyio.create_task_group() as group:
            for _ in range(_TOGETHER):
                group.start_soon(client)
        # What was lost without a reference warns now, and warnings are errors.
        gc.collect()
        await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records if not _is_known(record)] == []
    figures.leaked = pool_snapshot(db.engine.sync_engine).checked_out
    assert figures.leaked == 0
    if driver.startswith("postgresql"):
        await _is_quiet(db)
    for _ in range(10):
        await asyncio.gather(*(write(db) for _ in range(8)))


def _is_known(record: logging.LogRecord) -> bool:
    """Before 2.0.58, SQLAlchemy reports as an error that a cancelled task ends its connection (sqlalchemy#13772)."""
    return record.getMessage().startswith("Exception terminating connection") and SQLALCHEMY < (2, 0, 58)


async def _is_quiet(db: AsyncDatabase) -> None:
    """Ask the server: nothing but the pool's connections is open, and nothing is in a transaction."""
    query = text(
        "SELECT count(*) FILTER (WHERE state LIKE 'idle in%'), count(*) FROM pg_stat_activity"
        " WHERE application_name = 'cancelled' AND pid <> pg_backend_pid()"
    )
    with anyio.fail_after(60):
        while True:
            async with db.session() as session:
                idle_in_transaction, connections = (await session.execute(query)).one()
            # A connection that was cut is seen by the server a moment later.
            if (idle_in_transaction, connections <= db.settings.pool_size) == (0, True):
                return
