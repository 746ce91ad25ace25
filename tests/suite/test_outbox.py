"""Messages of an outbox live and die with their transaction, and reach their consumers at least once, in order."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import math
import random
import signal
import subprocess
import sys
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import MetaData, create_engine, func, select, text
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.orm import Session

from querywright import AsyncDatabase, ConfigurationError, Database, InvalidValue, advisory_lock
from querywright.engine import classify, pool_snapshot
from querywright.events import MessageDead, MessageFailed, MessagePublished, RelayPaused, subscribed
from querywright.outbox import Message, Outbox, Relay, RelayOptions, claiming
from querywright.testing import EmbeddedPostgres
from tests.suite.support import AnyDatabase, resolve, run_sync, session, transaction
from tests.tables import needs

ROOT = Path(__file__).parents[2]
DRIVERS = (
    "sqlite+pysqlite", "sqlite+aiosqlite", "postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg"
)  # fmt: skip
POSTGRES = DRIVERS[2:]
pytestmark = pytest.mark.drivers(*DRIVERS)

outbox = Outbox(MetaData())


class Clock:
    """A clock for relays that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)

    def __call__(self, _session: Session) -> dt.datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


class Broker:
    """Takes messages, or refuses them."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.refuses: Callable[[Message], bool] = lambda _: False

    async def publish(self, message: Message) -> None:
        await asyncio.sleep(0)
        if self.refuses(message):
            raise ConnectionError("password=hunter2")
        self.got.append(message)

    @property
    def payloads(self) -> list[Any]:
        return [message.payload for message in self.got]

    def by_key(self) -> dict[str | None, list[Any]]:
        grouped = defaultdict(list)
        for message in self.got:
            grouped[message.key].append(message.payload)
        return dict(grouped)


@pytest.fixture
@needs(outbox.table.metadata)
async def box(db: AnyDatabase) -> AnyDatabase:
    """A database with an outbox."""
    return db


@pytest.fixture
def broker() -> Broker:
    return Broker()


async def send(db: AnyDatabase, *payloads: Any, key: str | None = None) -> list[uuid.UUID]:
    async with transaction(db, nested="new") as tx:
        return [await resolve(outbox.add(tx, "topic", payload, key=key)) for payload in payloads]


async def states(db: AnyDatabase) -> list[str]:
    return await read(db, select(outbox.table.c.state).order_by(outbox.table.c.position))


async def read(db: AnyDatabase, statement: Any) -> list[Any]:
    async with session(db) as opened:
        return list(await resolve(opened.scalars(statement)))


def checked_out(db: AnyDatabase) -> int:
    return pool_snapshot(db.engine if isinstance(db, Database) else db.engine.sync_engine).checked_out


# ---- adding


async def test_a_message_shares_the_fate_of_its_transaction(box: AnyDatabase, broker: Broker) -> None:
    with pytest.raises(RuntimeError):
        async with transaction(box) as tx:
            await resolve(outbox.add(tx, "topic", "lost", key="k"))
            raise RuntimeError
    async with transaction(box) as tx:
        await resolve(outbox.add(tx, "topic", "kept", key="k"))
        nested = await resolve(tx.begin_nested())
        await resolve(outbox.add(tx, "topic", "lost with the savepoint", key="k"))
        await resolve(nested.rollback())
    assert await Relay(outbox, box, broker.publish).drain() == 1
    assert broker.payloads == ["kept"]
    assert await states(box) == []


async def test_what_a_message_carries(box: AnyDatabase, broker: Broker) -> None:
    class Order(BaseModel):
        id: uuid.UUID
        at: dt.date

    order = Order(id=uuid.UUID(int=1), at=dt.date(2026, 1, 2))
    async with transaction(box) as tx:
        added = await resolve(outbox.add(tx, "orders", {"z": order, "a": math.nan}, key="é", headers={"trace": "1"}))
        await resolve(outbox.add(tx, "orders", None))
    await Relay(outbox, box, broker.publish).drain()
    first, second = broker.got
    assert (first.id, first.topic, first.key, first.attempts) == (added, "orders", "é", 1)
    assert first.payload == {"z": {"id": str(order.id), "at": "2026-01-02"}, "a": None}
    assert list(first.payload) == ["z", "a"]
    assert first.headers == {"trace": "1"}
    assert first.created_at.utcoffset() == dt.timedelta(0)
    assert added.version == 7
    assert (second.key, second.payload, second.headers) == (None, None, {})
    assert "2026-01-02" not in repr(first)
    assert "trace" not in repr(first)


async def test_a_bare_payload_comes_as_it_was(box: AnyDatabase, broker: Broker) -> None:
    """SQLite makes a float of a bare number in a column of JSON."""
    payloads = [10**20, 12345678901234567890, 1.0, 5, "5", True]
    await send(box, *payloads)
    await Relay(outbox, box, broker.publish).drain()
    assert [(type(each), each) for each in broker.payloads] == [(type(each), each) for each in payloads]


async def test_a_key_that_is_no_text_is_an_invalid_value(box: AnyDatabase) -> None:
    with pytest.raises(StatementError) as caught:
        await send(box, 1, key="\ud800")
    assert isinstance(classify(caught.value), InvalidValue)
    async with transaction(box) as tx:
        await resolve(advisory_lock(tx, "\ud800"))


async def test_a_payload_that_is_no_json_is_refused(box: AnyDatabase) -> None:
    async with transaction(box) as tx:
        with pytest.raises(ValueError, match="serialize"):
            await resolve(outbox.add(tx, "topic", object()))


@pytest.mark.drivers("sqlite+pysqlite")
def test_a_database_without_an_outbox_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no outbox on mariadb"):
        outbox.add(Session(create_engine("mariadb+pymysql://localhost/x")), "topic", 1, key="k")


@pytest.mark.drivers(*POSTGRES[1:])
async def test_transactions_of_a_key_follow_each_other(box: AsyncDatabase, broker: Broker) -> None:
    """The position is drawn before the commit: unordered, the second could be seen, and published, first."""
    async with box.transaction() as tx:
        await outbox.add(tx, "topic", "first", key="a")
        second = asyncio.create_task(send(box, "second", key="a"))
        await send(box, "other", key="b")
        async with box.transaction(nested="new") as watcher:
            waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            while not await watcher.scalar(waiting):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
        await Relay(outbox, box, broker.publish).drain()
        assert broker.payloads == ["other"]
    await second
    await Relay(outbox, box, broker.publish).drain()
    assert broker.payloads == ["other", "first", "second"]


@pytest.mark.drivers(*POSTGRES[1:])
async def test_a_message_that_commits_late_is_not_lost(box: AsyncDatabase, broker: Broker) -> None:
    relay = Relay(outbox, box, broker.publish)
    async with box.transaction() as tx:
        await outbox.add(tx, "topic", "lower position")
        await send(box, "higher position")
        assert await relay.drain() == 1
    assert await relay.drain() == 1
    assert broker.payloads == ["higher position", "lower position"]


# ---- order and sharing


async def test_many_relays_keep_the_order_of_each_key(box: AnyDatabase, url: str) -> None:
    """Six relays on two databases, and a third of all attempts fails."""
    for number in range(12):
        for key in "abcde":
            await send(box, number, key=key)
        await send(box, number)
    chance = random.Random(1)  # noqa: S311 - no secret
    clock = Clock()
    broker = Broker()
    broker.refuses = lambda _: chance.random() < 1 / 3
    other = type(box)(url)
    try:
        relays = [
            Relay(outbox, db, broker.publish, RelayOptions(concurrency=3, max_attempts=100), clock=clock)
            for db in (box, other) * 3
        ]
        while await states(box):
            await asyncio.gather(*(relay.drain() for relay in relays))
            clock.move(1000)
    finally:
        await resolve(other.dispose())
    got = broker.by_key()
    assert sorted(got.pop(None)) == list(range(12))
    assert got == {key: list(range(12)) for key in "abcde"}


async def test_a_stuck_key_holds_up_nobody_else(box: AnyDatabase, broker: Broker) -> None:
    await send(box, "stuck", "behind", key="a")
    await send(box, "free 1", "free 2", key="b")
    await send(box, "free 3")
    go_on = asyncio.Event()

    async def publish(message: Message) -> None:
        if message.payload == "stuck":
            await go_on.wait()
        await broker.publish(message)
        if len(broker.got) == 3:
            go_on.set()

    assert await Relay(outbox, box, publish, RelayOptions(concurrency=2)).drain() == 5
    assert sorted(broker.payloads[:3]) == ["free 1", "free 2", "free 3"]
    assert broker.payloads[3:] == ["stuck", "behind"]


async def test_a_busy_key_holds_up_nobody_else(
    box: AnyDatabase, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though more of its messages are waiting than one claim looks at."""
    monkeypatch.setattr(claiming, "LOOKED_AT", 3)
    await send(box, *range(10), key="a")
    await send(box, "free", key="b")
    go_on = asyncio.Event()

    async def publish(message: Message) -> None:
        if message.key == "a":
            await go_on.wait()
        await broker.publish(message)
        go_on.set()

    assert await Relay(outbox, box, publish, RelayOptions(concurrency=2)).drain() == 11
    assert broker.payloads == ["free", *range(10)]


async def test_a_failing_key_holds_up_nobody_else(box: AnyDatabase, broker: Broker) -> None:
    await send(box, "failing", "behind", key="a")
    await send(box, "free", key="b")
    clock = Clock()
    broker.refuses = lambda message: message.payload == "failing" and message.attempts < 3
    relay = Relay(outbox, box, broker.publish, clock=clock)
    await relay.drain()
    assert broker.payloads == ["free"]
    for _ in range(2):
        clock.move(600)
        await relay.drain()
    assert broker.payloads == ["free", "failing", "behind"]


# ---- failing


async def test_backoff_doubles_up_to_its_cap(box: AnyDatabase, broker: Broker) -> None:
    await send(box, "late")
    clock = Clock()
    broker.refuses = lambda message: message.attempts < 5
    options = RelayOptions(backoff_base=8, backoff_cap=20)
    relay = Relay(outbox, box, broker.publish, options, clock=clock, random=lambda: 0.5)
    waits = []
    with subscribed(MessageFailed, lambda event: waits.append((event.attempts, event.retry_in, event.error))):
        await relay.drain()
        for seconds in (4, 8, 10, 10):
            clock.move(seconds - 0.001)
            assert await relay.drain() == 0
            clock.move(0.001)
            await relay.drain()
    assert waits == [(n, wait, "ConnectionError") for n, wait in enumerate((4, 8, 10, 10), start=1)]
    assert [message.attempts for message in broker.got] == [5]


async def test_a_dead_letter_lets_its_key_go_on_and_can_be_revived(box: AnyDatabase, broker: Broker) -> None:
    dead, _ = await send(box, "dead", "next", key="k")
    clock = Clock()
    refusals = iter((True, True))
    broker.refuses = lambda _: next(refusals, False)
    relay = Relay(outbox, box, broker.publish, RelayOptions(max_attempts=2), clock=clock)
    buried = []
    with subscribed(MessageDead, buried.append):
        await relay.drain()
        clock.move(1)
        await relay.drain()
    assert buried == [MessageDead(dead, "topic", 2, "ConnectionError")]
    assert broker.payloads == ["next"]

    async with transaction(box) as tx:
        (letter,) = await resolve(outbox.dead(tx, topic="topic"))
        assert (letter.message.id, letter.message.payload, letter.error) == (dead, "dead", "ConnectionError")
        assert letter.died_at == clock.now
        assert await resolve(outbox.dead(tx, topic="another")) == []
    await send(box, "last", key="k")
    async with transaction(box) as tx:
        assert await resolve(outbox.revive(tx, dead, uuid.uuid4())) == 1
        assert await resolve(outbox.revive(tx, dead)) == 0
    await relay.drain()
    assert broker.payloads == ["next", "dead", "last"]
    assert broker.got[1].attempts == 1


async def test_a_publish_that_hangs_is_ended(box: AnyDatabase) -> None:
    await send(box, 1)
    ended = []

    async def publish(_message: Message) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    failed: list[MessageFailed] = []
    with subscribed(MessageFailed, failed.append):
        assert await Relay(outbox, box, publish, RelayOptions(timeout=0.01), clock=Clock()).drain() == 0
    assert ended == [True]
    assert failed[0].error == "TimeoutError"


async def test_a_cancellation_from_inside_of_publish_is_a_failure(box: AnyDatabase) -> None:
    await send(box, 1)

    async def publish(_message: Message) -> None:
        raise asyncio.CancelledError

    failed: list[MessageFailed] = []
    with subscribed(MessageFailed, failed.append):
        await Relay(outbox, box, publish, clock=Clock()).drain()
    assert [event.error for event in failed] == ["CancelledError"]


async def test_a_message_that_kills_its_relays_dies_too(box: AnyDatabase, broker: Broker) -> None:
    await send(box, "deadly", "next", key="k")
    clock = Clock()
    options = RelayOptions(max_attempts=2)
    for _ in range(2):
        await _die_while_publishing(box, clock, options)
        clock.move(options.lease)
    buried: list[MessageDead] = []
    with subscribed(MessageDead, buried.append):
        await Relay(outbox, box, broker.publish, options, clock=clock).drain()
    assert [event.error for event in buried] == [claiming.LEASE_EXPIRED]
    assert broker.payloads == ["next"]


async def _die_while_publishing(db: AnyDatabase, clock: Clock, options: RelayOptions) -> None:
    """Claim as a relay does, and never settle."""
    async with transaction(db) as tx:
        claimed = await run_sync(tx, lambda sync: claiming.claim(sync, outbox.table, 1, now=clock.now, options=options))
    assert len(claimed.claims) == 1


async def test_who_lost_the_lease_settles_nothing(box: AnyDatabase, broker: Broker) -> None:
    """A relay that stood still for longer than its lease must not undo what another did meanwhile."""
    await send(box, "slow", "next", key="k")
    clock = Clock()
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(message: Message) -> None:
        started.set()
        await go_on.wait()
        raise ConnectionError(message.id)

    failed: list[MessageFailed] = []
    with subscribed(MessageFailed, failed.append):
        standing = asyncio.create_task(Relay(outbox, box, slow, clock=clock).drain())
        await started.wait()
        clock.move(RelayOptions().lease - 1)
        assert await Relay(outbox, box, broker.publish, clock=clock).drain() == 0
        clock.move(1)
        assert await Relay(outbox, box, broker.publish, clock=clock).drain() == 2
        go_on.set()
        assert await standing == 0
    assert broker.payloads == ["slow", "next"]
    assert failed == []
    assert await states(box) == []


async def test_who_lost_the_lease_cannot_end_that_of_another(box: AnyDatabase, broker: Broker) -> None:
    await send(box, 1)
    clock = Clock()
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_message: Message) -> None:
        started.set()
        await go_on.wait()
        raise ConnectionError

    standing = asyncio.create_task(Relay(outbox, box, slow, clock=clock, random=lambda: 0).drain())
    await started.wait()
    clock.move(RelayOptions().lease)
    await _die_while_publishing(box, clock, RelayOptions())
    go_on.set()
    await standing
    assert await Relay(outbox, box, broker.publish, clock=clock).drain() == 0
    clock.move(RelayOptions().lease)
    assert await Relay(outbox, box, broker.publish, clock=clock).drain() == 1


# ---- running, stopping


async def test_runs_until_stopped_and_finishes_what_it_holds(box: AnyDatabase, broker: Broker) -> None:
    await send(box, "in flight", "behind", key="k")
    started, go_on, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def publish(message: Message) -> None:
        started.set()
        await go_on.wait()
        await broker.publish(message)

    running = asyncio.create_task(Relay(outbox, box, publish).run(stop))
    await started.wait()
    stop.set()
    go_on.set()
    await running
    assert broker.payloads == ["in flight"]
    assert await states(box) == ["pending"]
    assert checked_out(box) == 0
    await Relay(outbox, box, publish).run(stop)
    assert await Relay(outbox, box, publish).drain() == 1


async def test_cancelled_it_gives_back_what_it_holds(box: AnyDatabase, broker: Broker) -> None:
    await send(box, *range(3))
    clock = Clock()
    started = asyncio.Event()

    async def hang(message: Message) -> None:
        if message.payload == 2:
            started.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(Relay(outbox, box, hang, clock=clock).run())
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert checked_out(box) == 0
    assert await Relay(outbox, box, broker.publish, clock=clock).drain() == 3
    assert [message.attempts for message in broker.got] == [1, 1, 1]


async def test_cancelled_while_it_claims_it_publishes_nothing(box: AnyDatabase, broker: Broker) -> None:
    await send(box, 1)
    clock = Clock()
    loop = asyncio.get_running_loop()

    def cancelling(opened: Session) -> dt.datetime:
        loop.call_soon_threadsafe(running.cancel)
        return clock(opened)

    async def hang(_message: Message) -> None:
        await asyncio.Event().wait()

    running = asyncio.create_task(Relay(outbox, box, hang, clock=cancelling).run())
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await Relay(outbox, box, broker.publish, clock=clock).drain() == 1


async def test_cancelled_anywhere_it_loses_and_holds_nothing(box: AnyDatabase) -> None:
    """Whatever the moment of the cancellation, another relay publishes all the rest without waiting for a lease."""
    chance = random.Random(2)  # noqa: S311 - no secret
    clock = Clock()
    got: set[Any] = set()

    async def publish(message: Message) -> None:
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        got.add(message.payload)

    for number in range(40):
        await send(box, number, key=str(number % 2))
        running = asyncio.create_task(Relay(outbox, box, publish, clock=clock).run())
        await asyncio.sleep(chance.random() * 0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert checked_out(box) == 0
    await Relay(outbox, box, publish, clock=clock).drain()
    assert got == set(range(40))
    assert await states(box) == []


async def test_wake_ends_the_wait_between_two_looks(box: AnyDatabase, broker: Broker) -> None:
    relay = Relay(outbox, box, broker.publish, RelayOptions(poll=3600))
    relay.wake()
    stop, published = asyncio.Event(), asyncio.Event()
    with subscribed(MessagePublished, lambda _: published.set()):
        running = asyncio.create_task(relay.run(stop))
        for number in range(3):
            async with transaction(box) as tx:
                await resolve(outbox.add(tx, "topic", number))
                tx.on_commit(relay.wake)
            await asyncio.wait_for(published.wait(), 30)
            published.clear()
        await send(box, 3)
        await asyncio.to_thread(relay.wake)
        await asyncio.wait_for(published.wait(), 30)
        stop.set()
        await running
    assert broker.payloads == [0, 1, 2, 3]


async def test_plain_functions_publish_in_threads_at_once(box: AnyDatabase) -> None:
    await send(box, *range(12))
    together = threading.Barrier(12, timeout=30)
    assert await Relay(outbox, box, lambda _: together.wait()).drain() == 12


async def test_published_messages_are_kept_for_a_while(box: AnyDatabase, broker: Broker) -> None:
    clock = Clock()
    options = RelayOptions(retain=100)
    first, _ = await send(box, "first", "second", key="k")
    await Relay(outbox, box, broker.publish, options, clock=clock).drain()
    assert await states(box) == ["published", "published"]
    async with transaction(box) as tx:
        assert await resolve(outbox.revive(tx, first)) == 0
    clock.move(99)
    await send(box, "third", key="k")
    await Relay(outbox, box, broker.publish, options, clock=clock).drain()
    assert await states(box) == ["published"] * 3
    clock.move(1)
    await Relay(outbox, box, broker.publish, options, clock=clock).drain()
    assert await states(box) == ["published"]
    assert broker.payloads == ["first", "second", "third"]


async def test_an_error_that_will_not_pass_ends_the_relay(db: AnyDatabase, broker: Broker) -> None:
    with pytest.raises(DBAPIError, match="querywright_outbox"):
        await Relay(outbox, db, broker.publish).run()
    assert checked_out(db) == 0


async def test_an_error_of_a_subscriber_ends_the_relay_and_holds_nothing(box: AnyDatabase, broker: Broker) -> None:
    await send(box, 1, 2, key="k")
    clock = Clock()
    failing = subscribed(MessagePublished, lambda _: 1 / 0)
    with failing, pytest.raises(ZeroDivisionError):
        await Relay(outbox, box, broker.publish, clock=clock).run()
    assert await states(box) in ([], ["pending"])
    await Relay(outbox, box, broker.publish, clock=clock).drain()
    assert set(broker.payloads) == {1, 2}


@pytest.mark.parametrize("driver", ["psycopg", "psycopg async", "asyncpg"])
@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_survives_a_restart_of_the_database(driver: str, mode: str, broker: Broker) -> None:
    with EmbeddedPostgres() as server:
        url = server.url(driver.removesuffix(" async"))
        db = Database(url) if driver == "psycopg" else AsyncDatabase(url)
        # The server is not durable by default, and this test looks behind a crash.
        async with transaction(db) as tx:
            await resolve(tx.execute(text("ALTER DATABASE postgres SET synchronous_commit = on")))
        await resolve(db.dispose())
        async with transaction(db) as tx:
            await run_sync(tx, lambda sync: outbox.table.metadata.create_all(sync.connection()))
        relay = Relay(outbox, db, broker.publish, RelayOptions(poll=0.01), random=lambda: 0.01)
        stop, published, paused = asyncio.Event(), asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        with (
            subscribed(MessagePublished, lambda _: published.set()),
            subscribed(RelayPaused, lambda _: loop.call_soon_threadsafe(paused.set)),
        ):
            running = asyncio.create_task(relay.run(stop))
            await send(db, "before")
            await asyncio.wait_for(published.wait(), 30)
            await asyncio.to_thread(server._run, "pg_ctl", "-m", mode, "-w", "stop")
            await asyncio.wait_for(paused.wait(), 30)
            published.clear()
            await asyncio.to_thread(server.start)
            await send(db, "after")
            await asyncio.wait_for(published.wait(), 60)
            stop.set()
            await running
        assert broker.payloads == ["before", "after"]
        await resolve(db.dispose())


# ---- processes


@contextlib.contextmanager
def relay_process(kind: str, db: AnyDatabase, log: Path, *, ahead: float = 0) -> Iterator[subprocess.Popen[str]]:
    url = db.engine.url.render_as_string(hide_password=False)
    mode = "sync" if isinstance(db, Database) else "async"
    command = [sys.executable, "-m", "tests.suite.outbox_process", kind, url, str(log), mode, str(ahead)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own code
        try:
            yield process
        finally:
            process.kill()


async def test_a9_outbox_survives_kill(box: AnyDatabase, broker: Broker, tmp_path: Path) -> None:
    """A relay is killed while it publishes: its message comes again, and before the next of its key."""
    await send(box, "first", "second", key="k")
    log = tmp_path / "published"
    with relay_process("hang", box, log) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "publishing\n"
        process.kill()
        process.wait()
    await send(box, "free", key="other")
    assert await Relay(outbox, box, broker.publish).drain() == 1
    assert broker.payloads == ["free"]

    lease = dt.timedelta(seconds=RelayOptions().lease)
    later = Relay(outbox, box, broker.publish, clock=lambda _: dt.datetime.now(dt.timezone.utc) + lease)
    assert await later.drain() == 2
    assert broker.payloads == ["free", "first", "second"]
    assert [message.attempts for message in broker.got] == [1, 2, 1]
    (line,) = log.read_text().splitlines()
    assert line == f"{broker.got[1].id} k first", "the consumer sees the same id twice"
    assert await states(box) == []


async def killed_by_the_deadly_one(box: AnyDatabase, log: Path, ahead: float) -> bool:
    """Run a relay until there is nothing left to publish, or until it is killed."""
    with relay_process("die", box, log, ahead=ahead) as process:
        _, _ = await asyncio.to_thread(process.communicate)
        assert process.returncode in {0, -signal.SIGKILL}
        return process.returncode != 0


async def test_a_message_that_kills_its_relays_takes_no_other_with_it(box: AnyDatabase, tmp_path: Path) -> None:
    """Each relay is started when the lease of the last has ended, so that it meets the deadly message again."""
    await send(box, 0, 1)
    await send(box, "deadly", "next", key="k")
    innocent = [*range(9), "next"]
    await send(box, *range(2, 9))
    log, kills = tmp_path / "published", 0
    while await killed_by_the_deadly_one(box, log, RelayOptions().lease * 1.1 * kills):
        kills += 1
        assert kills <= 5
        left = await read(box, select(outbox.table.c.attempts).where(outbox.table.c.key.is_(None)))
        assert set(left) <= {0}, "the others are not charged with it"
    assert kills == 5
    published = [line.split()[2] for line in log.read_text().splitlines()]
    assert set(published) == set(map(str, innocent))
    # In the company of the deadly one, and then alone.
    assert max(published.count(str(each)) for each in innocent) <= 2
    async with session(box) as opened:
        (letter,) = await resolve(outbox.dead(opened))
    assert (letter.message.payload, letter.error) == ("deadly", claiming.LEASE_EXPIRED)
    assert len(await states(box)) == 1


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+asyncpg")
async def test_suspected_messages_and_others_take_turns(box: AnyDatabase) -> None:
    """Of those whose relay has died each is published alone, and what comes later does not wait for all of them."""
    await send(box, *range(4))
    clock, options = Clock(), RelayOptions(concurrency=4)
    async with transaction(box) as tx:
        await run_sync(tx, lambda sync: claiming.claim(sync, outbox.table, 4, now=clock.now, options=options))
    clock.move(options.lease)
    await send(box, *range(4, 12))
    at_once: list[set[int]] = []
    in_flight: set[int] = set()

    async def publish(message: Message) -> None:
        in_flight.add(message.payload)
        await asyncio.sleep(0)
        at_once.append(set(in_flight))
        await asyncio.sleep(0)
        in_flight.discard(message.payload)

    assert await Relay(outbox, box, publish, options, clock=clock).drain() == 12
    for number in range(4):
        assert [each for each in at_once if number in each] == [{number}]
    first = [min(each) for each in at_once]
    assert first.index(4) < first.index(0) < first.index(8), "in turns"


async def test_two_processes_publish_nothing_twice(box: AnyDatabase, tmp_path: Path) -> None:
    for number in range(15):
        for key in "abcdefgh":
            await send(box, number, key=key)
        await send(box, number)
    log = tmp_path / "published"
    with relay_process("share", box, log) as one, relay_process("share", box, log) as two:
        for process in (one, two):
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
        done = await asyncio.gather(*(asyncio.to_thread(process.communicate, "go\n") for process in (one, two)))
        assert [process.returncode for process in (one, two)] == [0, 0], done
    published = [line.split() for line in log.read_text().splitlines()]
    assert len({message for message, _, _ in published}) == len(published) == 135
    for key in "abcdefgh":
        assert [int(number) for _, k, number in published if k == key] == list(range(15))


@pytest.mark.drivers("sqlite+pysqlite")
def test_options_that_cannot_work_are_refused() -> None:
    endless, none = float("inf"), float("nan")
    for wrong in (
        {"timeout": 0},
        {"max_attempts": 0},
        {"lease": 5, "timeout": 5},
        {"retain": -1},
        {"retain": endless},
        {"lease": endless},
        {"lease": 1e12},
        {"timeout": none},
    ):
        with pytest.raises(ConfigurationError, match="RelayOptions"):
            RelayOptions(**wrong)


@pytest.mark.drivers(*POSTGRES)
async def test_a_relay_holds_no_transaction_while_it_publishes(box: AnyDatabase) -> None:
    await send(box, 1)

    async def publish(_message: Message) -> None:
        assert checked_out(box) == 0

    assert await Relay(outbox, box, publish).drain() == 1
    async with session(box) as opened:
        assert await resolve(opened.scalar(select(func.count()).select_from(outbox.table))) == 0
