"""Messages of an outbox live and die with their transaction, and reach their consumers at least once, in order."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import random
import uuid

import pytest
from pydantic import BaseModel
from sqlalchemy import create_engine, text
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from querywright import AsyncDatabase, ConfigurationError, InvalidValue, advisory_lock
from querywright.engine import classify
from querywright.events import MessageDead, MessageFailed, subscribed
from querywright.outbox import Message, Relay, RelayOptions, claiming
from tests.suite.outboxes import DRIVERS, POSTGRES, Broker, Clock, outbox, send, states
from tests.suite.support import AnyDatabase, resolve, run_sync, transaction

pytestmark = pytest.mark.drivers(*DRIVERS)


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
