"""A17: who has written sees it, although the replica is seconds behind; without a replica, the primary or a 503."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import func, select, text

from querywright import (
    AsyncDatabase,
    AsyncReplicas,
    ConfigurationError,
    Database,
    DatabaseUnavailable,
    InvalidRequest,
    Replicas,
)
from querywright.testing import EmbeddedPostgres
from tests.faults.clients import Base, Receipt
from tests.faults.report import Figures
from tests.suite.support import AnyDatabase, resolve, transaction

DRIVERS = ("postgresql+asyncpg", "postgresql+psycopg async", "postgresql+psycopg")
_LAG = 5


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    """A primary, and a replica that applies what it gets seconds later."""
    with EmbeddedPostgres(shared_buffers="16MB", synchronous_commit="on") as primary:
        with Database(primary.url("psycopg")) as db:
            Base.metadata.create_all(db.engine)
        with primary.standby(recovery_min_apply_delay=f"{_LAG}s") as replica:
            yield primary, replica


@pytest.fixture
async def routed(driver: str, servers: tuple[EmbeddedPostgres, EmbeddedPostgres]) -> AsyncIterator[Any]:
    name, _, asynchronous = driver.partition("+")[2].partition(" ")
    async with AsyncExitStack() as stack:
        if asynchronous or name == "asyncpg":
            dbs = [await stack.enter_async_context(AsyncDatabase(server.url(name))) for server in servers]
            yield AsyncReplicas(*dbs)
        else:
            yield Replicas(*(stack.enter_context(Database(server.url(name))) for server in servers))


async def count(db: AnyDatabase, key: str) -> int:
    async with transaction(db, read_only=True) as tx:
        return int(await resolve(tx.scalar(select(func.count()).where(Receipt.key == key))))


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a17_who_has_written_sees_it(
    routed: Any, figures: Figures, sized: Callable[[int, int], int], driver: str
) -> None:
    figures.sent, figures.acknowledged, stale = sized(20, 200), 0, 0
    on_replica = behind = 0
    for number in range(figures.sent):
        key = f"{driver} {number}"
        async with transaction(routed.primary) as tx:
            tx.add(Receipt(key=key))
        reader = await resolve(routed.reader(await resolve(routed.position())))
        figures.acknowledged += 1
        on_replica += reader is not routed.primary
        stale += await count(reader, key) != 1
        # What would have happened without a position.
        behind += await count(await resolve(routed.reader()), key) != 1
    figures.lost = stale
    figures.notes.append(f"{stale} stale reads, {behind} without a position, {on_replica} on the replica")
    assert stale == 0
    assert behind > 0
    assert await resolve(routed.reader()) in routed.replicas


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a17_a_replica_that_has_come_far_enough(
    driver: str, routed: Any, servers: tuple[EmbeddedPostgres, EmbeddedPostgres]
) -> None:
    with Database(servers[1].url("psycopg")) as replica, replica.session() as session:
        replayed = session.scalar(text("SELECT pg_last_wal_replay_lsn()::text"))
    assert await resolve(routed.reader(replayed)) in routed.replicas


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a17_replica_down(driver: str, servers: tuple[EmbeddedPostgres, EmbeddedPostgres], routed: Any) -> None:
    strict = type(routed)(routed.primary, *routed.replicas, fallback=False)
    servers[1].shut_down("immediate")
    try:
        assert await resolve(routed.reader()) is routed.primary
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                await resolve(strict.reader())
    finally:
        servers[1].start()
    # It is left alone for a while.
    assert await resolve(routed.reader()) is routed.primary
    fresh = type(routed)(routed.primary, *routed.replicas)
    assert await resolve(fresh.reader()) in fresh.replicas


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("position", ["", "0", "0/0; DROP TABLE receipts", "x/y"])
async def test_a17_positions_come_from_clients(driver: str, routed: Any, position: str) -> None:
    with pytest.raises(InvalidRequest):
        await resolve(routed.reader(position))


def test_a17_only_on_postgresql() -> None:
    with Database("sqlite+pysqlite://") as db, pytest.raises(ConfigurationError):
        Replicas(db, db)
