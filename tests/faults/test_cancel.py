"""A5: cancelled at any await, by asyncio and by anyio, a request leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy
from pydantic import BaseModel
from sqlalchemy import event, func, select, text

from querywright import AsyncDatabase, AsyncSession
from querywright.engine import pool_snapshot
from querywright.testing import EmbeddedPostgres
from tests.faults.clients import Base, Receipt
from tests.faults.phases import PHASES, Progress, install_phases, progress
from tests.faults.report import Figures

DRIVERS = ("postgresql+asyncpg", "postgresql+psycopg async", "sqlite+aiosqlite", "mariadb+aiomysql")
pytestmark = pytest.mark.parametrize("driver", DRIVERS)
# So many requests at once, for fewer connections.
_TOGETHER = 12
# Steps of the event loop for which a phase may go on before it is cancelled, at most.
_STEPS = 6
# How often each of PHASES is chosen: a BEGIN or COMMIT has often ended before the step at which it was to be cancelled.
_WEIGHTS = (11, 30, 9, 38, 12)
# Seconds that somebody else keeps the loop busy at once: psycopg gives way to others after five milliseconds.
_BUSY = 0.006
# Steps between two of these.
_PAUSE = 5


SQLALCHEMY = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:3])


class ReceiptOut(BaseModel):
    key: str


@pytest.fixture
async def db(
    driver: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AsyncDatabase]:
    async with AsyncDatabase(
        _url(driver, request, tmp_path), pool_size=8, max_overflow=0, application_name="cancelled"
    ) as db:
        async with db.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)
        install_phases(db.engine.sync_engine, monkeypatch)
        yield db
        async with db.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)


def _url(driver: str, request: pytest.FixtureRequest, folder: Path) -> str:
    system, _, name = driver.removesuffix(" async").partition("+")
    if system == "sqlite":
        return f"{driver}:///{folder}/cancelled.db"
    if system == "mariadb":
        mariadb = request.getfixturevalue("mariadb")
        return str(mariadb.url(driver, mariadb.new_database()))
    postgres: EmbeddedPostgres = request.getfixturevalue("postgres")
    return postgres.url(name)


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


async def ping(db: AsyncDatabase) -> None:
    await db.ping()


async def run(db: AsyncDatabase) -> None:
    async def work(tx: AsyncSession) -> None:
        tx.add(Receipt(key="two"))

    await db.run(work)


class Cancelling:
    """Cancels work in a phase, and counts in which one each cancellation came."""

    def __init__(self) -> None:
        self.phases: Counter[str] = Counter()

    async def by_asyncio(self, work: Coroutine[Any, Any, None], phase: str, steps: int) -> None:
        current = Progress()
        progress.set(current)
        task = asyncio.ensure_future(work)
        await self._until(task.done, current, phase, steps)
        if not task.done():
            self.phases[current.phase] += 1
        task.cancel()
        if steps % 3 == 0:
            # A second time, while it is being cleaned up.
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()):
            raise error

    async def by_anyio(self, work: Coroutine[Any, Any, None], phase: str, steps: int) -> None:
        current, done = Progress(), False
        progress.set(current)
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                await self._until(lambda: done, current, phase, steps)
                if not done:
                    self.phases[current.phase] += 1
                group.cancel_scope.cancel()

            group.start_soon(watch)
            await work
            done = True

    @staticmethod
    async def _until(done: Callable[[], bool], current: Progress, phase: str, steps: int) -> None:
        """Wait for a phase, and then for so many steps while it lasts."""
        while not done() and current.phase != phase:  # noqa: ASYNC110 - a step of the loop is what is counted
            await asyncio.sleep(0)
        for _ in range(steps):
            if done() or current.phase != phase:
                return
            await asyncio.sleep(0)


def planned(rng: random.Random) -> tuple[str, int, Callable[[AsyncDatabase], Coroutine[Any, Any, None]]]:
    """Choose a phase, how many of its steps pass, and work that has it: MySQL has a BEGIN only to read."""
    [phase] = rng.choices(PHASES, _WEIGHTS)
    return phase, rng.randrange(_STEPS), read if phase == "begin" else rng.choice((write, read, run, ping))


class Undone(Exception):
    """Ends a block that must leave nothing."""


async def undo(db: AsyncDatabase) -> None:
    """Write in a block that fails: in autocommit it would stay, and read only it could not be written."""
    with suppress(Undone):
        async with db.transaction() as tx:
            tx.add(Receipt(key="undone"))
            await tx.flush()
            raise Undone


async def keep_busy() -> None:
    """Take the event loop from the others again and again."""
    while True:
        time.sleep(_BUSY)  # noqa: ASYNC251 - that is what it is for
        for _ in range(_PAUSE):
            await asyncio.sleep(0)


@pytest.mark.parametrize("by", ["asyncio", "anyio"])
async def test_a5_cancelled_at_any_await(
    db: AsyncDatabase,
    figures: Figures,
    sized: Callable[[int, int], int],
    caplog: pytest.LogCaptureFixture,
    by: str,
    driver: str,
) -> None:
    # Half of them by asyncio, half by anyio.
    number = figures.sent = sized(100, 11_000)
    seed = random.randrange(2**32)  # noqa: S311 - a test
    print(f"seed {seed}")  # noqa: T201 - to repeat it
    rng = random.Random(seed)  # noqa: S311 - a test
    plan = iter([planned(rng) for _ in range(number)])
    cancelling, changed = Cancelling(), watch_returns(db, driver)
    cancelled = cancelling.by_asyncio if by == "asyncio" else cancelling.by_anyio

    async def client() -> None:
        for phase, steps, work in plan:
            if phase == "connect":
                await db.dispose()
            await cancelled(work(db), phase, steps)
            await undo(db)

    with caplog.at_level(logging.WARNING):
        busy = asyncio.create_task(keep_busy())
        async with anyio.create_task_group() as group:
            for _ in range(_TOGETHER):
                group.start_soon(client)
        busy.cancel()
        # What was lost without a reference warns now, and warnings are errors.
        gc.collect()
        await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records if not _is_known(record)] == []
    figures.notes.append(f"{by}: " + ", ".join(f"{cancelling.phases[phase]} in {phase}" for phase in PHASES))
    assert not changed, changed[:3]
    assert all(cancelling.phases[phase] >= sized(1, 1000) for phase in PHASES), cancelling.phases
    figures.leaked = pool_snapshot(db.engine.sync_engine).checked_out
    assert figures.leaked == 0
    async with db.transaction(read_only=True) as tx:
        undone = select(func.count()).select_from(Receipt).where(Receipt.key == "undone")
        figures.doubled = await tx.scalar(undone)
    assert figures.doubled == 0
    if driver.startswith("postgresql"):
        await _is_quiet(db)
    for _ in range(10):
        await asyncio.gather(*(write(db) for _ in range(8)))


def watch_returns(db: AsyncDatabase, driver: str) -> list[object]:
    """Look at each connection that is free again; returns what was found of those that are not as they were."""
    changed: list[object] = []
    pool = db.engine.sync_engine.pool
    settings = _SETTINGS[driver]

    def look(connection: Any, *_: Any) -> None:
        if connection is not None and (found := settings(connection)) != (False, False, False):
            changed.append(found)

    event.listen(pool, "checkin", look)
    return changed


def _of_asyncpg(connection: Any) -> tuple[object, ...]:
    driver = connection.driver_connection
    level = connection.isolation_level in {"autocommit", "repeatable_read", "serializable"}
    return level, bool(connection.readonly), bool(driver.is_in_transaction())


def _of_psycopg(connection: Any) -> tuple[object, ...]:
    driver = connection.driver_connection
    # psycopg numbers READ COMMITTED, the default, with 2.
    level = driver.autocommit or driver.isolation_level not in {None, 2}
    return level, bool(driver.read_only), driver.pgconn.transaction_status != 0


def _of_aiosqlite(connection: Any) -> tuple[object, ...]:
    driver = connection.driver_connection
    return driver.isolation_level is not None, False, driver.in_transaction


def _of_aiomysql(connection: Any) -> tuple[object, ...]:
    driver = connection.driver_connection
    return driver.get_autocommit(), bool(driver.server_status & 0x2000), driver.get_transaction_status()


# Whether a connection is in autocommit or at a level, only reads, and is in a transaction.
_SETTINGS = {
    "postgresql+asyncpg": _of_asyncpg,
    "postgresql+psycopg async": _of_psycopg,
    "sqlite+aiosqlite": _of_aiosqlite,
    "mariadb+aiomysql": _of_aiomysql,
}


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
