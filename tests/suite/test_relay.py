"""A relay runs until it is stopped or cancelled, loses nothing then, and holds nothing while it publishes."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import threading
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from querywright import AsyncDatabase, ConfigurationError, Database
from querywright.events import MessagePublished, RelayPaused, subscribed
from querywright.outbox import Message, Relay, RelayOptions
from querywright.testing import EmbeddedPostgres
from tests.suite.outboxes import DRIVERS, POSTGRES, Broker, Clock, checked_out, outbox, send, states
from tests.suite.support import AnyDatabase, resolve, run_sync, session, transaction

pytestmark = pytest.mark.drivers(*DRIVERS)


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
