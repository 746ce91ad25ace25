"""Relays in processes of their own: killed in the middle, and at work on the same messages."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from querywright import Database
from querywright.outbox import Message, Relay, RelayOptions, claiming
from tests.suite.outboxes import DRIVERS, Broker, Clock, outbox, read, send, states
from tests.suite.support import AnyDatabase, resolve, run_sync, session, transaction

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.drivers(*DRIVERS)


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
