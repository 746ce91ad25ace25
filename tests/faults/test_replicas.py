"""A17: who has written sees it, although the replica is seconds behind; without a replica, the primary or a 503."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.util import await_only

from querywright import (
    AsyncDatabase,
    AsyncReplicas,
    ConfigurationError,
    Database,
    DatabaseUnavailable,
    InvalidRequest,
    Replicas,
)
from querywright.session.replicas.standing import Position, position_of, replayed_by
from querywright.testing import EmbeddedPostgres
from tests.faults.clients import Base, Receipt
from tests.faults.proxy import Proxy
from tests.faults.report import Figures
from tests.suite.support import AnyDatabase, resolve, transaction

DRIVERS = ("postgresql+asyncpg", "postgresql+psycopg async", "postgresql+psycopg")
_LAG = 5
# A busy machine is no silent replica.
PATIENCE = 60.0


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
            yield AsyncReplicas(*dbs, patience=PATIENCE)
        else:
            yield Replicas(*(stack.enter_context(Database(server.url(name))) for server in servers), patience=PATIENCE)


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


@pytest.mark.parametrize("driver", ["postgresql+asyncpg"])
async def test_a17_who_commits_without_waiting_for_the_disk_sees_it(
    routed: Any, servers: tuple[EmbeddedPostgres, EmbeddedPostgres]
) -> None:
    """With synchronous_commit=off the answer to a COMMIT comes before what is flushed, and sent, includes it."""
    with Database(servers[0].url("psycopg")) as primary, Database(servers[1].url("psycopg")) as replica:
        before = position_of(primary.engine)
        while not (found := replayed_by(replica.engine)) or not found.includes(before):  # noqa: ASYNC110 - a server does
            await asyncio.sleep(0.05)
    async with routed.primary.transaction() as tx:
        await tx.execute(text("SET LOCAL synchronous_commit = off"))
        tx.add(Receipt(key="asynchronous"))
    assert await routed.reader(await routed.position()) is routed.primary


def test_a17_a_position_at_the_header_of_a_page_is_the_end_of_the_page_before(
    servers: tuple[EmbeddedPostgres, EmbeddedPostgres],
) -> None:
    """A replica comes so far, and no further until the next record."""
    with Database(servers[0].url("psycopg")) as primary:
        for _ in range(20):
            with primary.transaction() as tx:
                tx.execute(text("SELECT pg_logical_emit_message(true, 'fill', repeat('x', 1000))"))
            assert position_of(primary.engine).offset % 8192 not in {24, 40}


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a17_a_replica_that_has_come_far_enough(
    driver: str, routed: Any, servers: tuple[EmbeddedPostgres, EmbeddedPostgres]
) -> None:
    with Database(servers[1].url("psycopg")) as replica:
        replayed = replayed_by(replica.engine)
    assert await resolve(routed.reader(str(replayed))) in routed.replicas


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a17_replica_down(driver: str, servers: tuple[EmbeddedPostgres, EmbeddedPostgres], routed: Any) -> None:
    strict = type(routed)(routed.primary, *routed.replicas, fallback=False, patience=PATIENCE)
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
    fresh = type(routed)(routed.primary, *routed.replicas, patience=PATIENCE)
    assert await resolve(fresh.reader()) in fresh.replicas


MALFORMED = [
    "",
    "0",
    "0/0",
    "0/3000148",
    "0/0; DROP TABLE receipts",
    "x/y",
    "0" * 24,
    "1" * 23,
    "1" * 25,
    "g" * 24,
    "é" * 24,
]


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a17_positions_come_from_clients(driver: str, routed: Any) -> None:
    """One that no primary can have given out is refused; others would send every read to the primary."""
    strict = type(routed)(routed.primary, *routed.replicas, fallback=False, patience=PATIENCE)
    now = Position.read(await resolve(routed.position()))
    invented = [
        Position(now.timeline, now.offset + 2**40),
        Position(now.timeline + 1, 0),
        Position(2**32 - 1, 2**64 - 1),
    ]
    for routing in (routed, strict):
        for position in [*MALFORMED, *map(str, invented)]:
            with pytest.raises(InvalidRequest):
                await resolve(routing.reader(position))
    assert await resolve(routed.reader(str(Position(now.timeline, 0)))) in routed.replicas


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a17_a_silent_replica_is_waited_for_once(
    driver: str, servers: tuple[EmbeddedPostgres, EmbeddedPostgres], routed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "querywright")
    now = 0.0
    waits: list[bool] = []

    class Counting(type(routed)):  # type: ignore[misc]
        def _ends_in_time(self, asking: Any, seconds: float) -> bool:
            waits.append(super()._ends_in_time(asking, seconds))
            return waits[-1]

    with Proxy(servers[1].port) as proxy:
        replica = type(routed.primary)(proxy.url(routed.replicas[0].settings.url.get_secret_value()), connect_timeout=2)
        routing = Counting(routed.primary, replica, patience=0.2, clock=lambda: now)
        proxy.blackhole()
        for _ in range(5):
            assert await resolve(routing.reader()) is routed.primary
            # Whoever comes after its rest does not wait for it either.
            now += 10
        assert waits == [False]
        proxy.pass_()
        reader = routed.primary
        while reader is not replica:
            now += 10
            await asyncio.sleep(0.05)
            reader = await resolve(routing.reader())
        assert caplog.text.count("is left alone") == caplog.text.count("answers again") == 1
        await resolve(replica.dispose())


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a17_all_wait_for_a_silent_replica_together(
    driver: str, servers: tuple[EmbeddedPostgres, EmbeddedPostgres], routed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    waits: list[float] = []
    waiting, over = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    class Counting(type(routed)):  # type: ignore[misc]
        def _ends_in_time(self, asking: Any, seconds: float) -> bool:
            waits.append(seconds)
            loop.call_soon_threadsafe(waiting.set)
            if asynchronous:
                await_only(asyncio.to_thread(over.wait))
            else:
                over.wait()
            return asking.done()  # type: ignore[no-any-return]

    async def read() -> None:
        reader = await (routing.reader() if asynchronous else asyncio.to_thread(routing.reader))
        assert reader is routed.primary

    asynchronous = isinstance(routed.primary, AsyncDatabase)
    with Proxy(servers[1].port) as proxy:
        replica = type(routed.primary)(proxy.url(routed.replicas[0].settings.url.get_secret_value()), connect_timeout=2)
        routing = Counting(routed.primary, replica, patience=0.4, clock=lambda: now)
        proxy.blackhole()
        readers = []
        for moment in (0.0, 0.25, 0.375):
            now = moment
            readers.append(asyncio.create_task(read()))
            await waiting.wait()
            waiting.clear()
        over.set()
        await asyncio.gather(*readers)
        assert waits == pytest.approx([0.4, 0.15, 0.025])
        assert caplog.text.count("is left alone") == 1
        await resolve(replica.dispose())


@pytest.fixture(scope="module")
def promoted() -> Iterator[tuple[EmbeddedPostgres, ...]]:
    """A primary that was a standby, a replica that has followed it, and one of the old primary that is further on."""
    options: Any = {"shared_buffers": "16MB", "synchronous_commit": "on", "wal_keep_size": "512MB"}
    # No standby of a standby without.
    with EmbeddedPostgres(**options, full_page_writes="on") as old:
        with Database(old.url("psycopg")) as db:
            Base.metadata.create_all(db.engine)
        with old.standby() as new, new.standby() as follower, old.standby() as left:
            new.shut_down("fast")
            with Database(old.url("psycopg")) as db, Database(left.url("psycopg")) as behind:
                with db.transaction() as tx:
                    tx.execute(text("CREATE TABLE ballast AS SELECT generate_series(1, 100000) n"))
                written = position_of(db.engine)
                while not (found := replayed_by(behind.engine)) or not found.includes(written):
                    time.sleep(0.05)
            old.shut_down("immediate")
            new.start()
            new.promote()
            yield new, follower, left


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a17_a_replica_that_was_left_on_the_old_timeline(
    driver: str, promoted: tuple[EmbeddedPostgres, ...], figures: Figures
) -> None:
    """It is ahead in bytes, and has nothing of what the new primary has acknowledged."""
    name, _, asynchronous = driver.partition("+")[2].partition(" ")
    kind: Any = AsyncDatabase if asynchronous or name == "asyncpg" else Database
    primary, follower, left = (kind(server.url(name)) for server in promoted)
    routing: Any = AsyncReplicas if kind is AsyncDatabase else Replicas
    try:
        async with transaction(primary) as tx:
            tx.add(Receipt(key=f"promoted {driver}"))
        behind = routing(primary, left, patience=PATIENCE)
        position = await resolve(behind.position())
        assert Position.read(position).timeline == 2
        assert await resolve(behind.reader(position)) is primary
        assert await count(left, f"promoted {driver}") == 0
        # It still serves those who have written nothing.
        assert await resolve(behind.reader()) is left
        follows = routing(primary, follower, patience=PATIENCE)
        reader = primary
        while reader is primary:
            reader = await resolve(follows.reader(position))
        assert await count(reader, f"promoted {driver}") == 1
        # What was given out before is still somewhere on the way here.
        assert await resolve(follows.reader(str(Position(1, 8)))) is primary
        figures.notes.append("no read from the old timeline")
    finally:
        for db in (primary, follower, left):
            await resolve(db.dispose())


def test_a17_only_on_postgresql() -> None:
    with Database("sqlite+pysqlite://") as db, pytest.raises(ConfigurationError):
        Replicas(db, db)
