"""Turns: one at a time, in the order of asking, given on by whoever gives up, and forgotten in a forked process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import MetaData
from sqlalchemy.util import greenlet_spawn

from querywright import IdempotencyKeys, KeyInUse
from querywright.session.units.turns import Turns

keys = IdempotencyKeys(MetaData())
KEY = keys("k")


@pytest.fixture
def turns() -> Turns:
    return Turns(60)


def test_one_after_the_other(turns: Turns) -> None:
    within, most, lock = 0, 0, threading.Lock()

    def work(_number: int) -> None:
        nonlocal within, most
        with turns.take(KEY):
            with lock:
                within += 1
                most = max(most, within)
            with lock:
                within -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(400)))
    assert (within, most) == (0, 1)
    assert not turns._waiting


def test_other_keys_do_not_wait(turns: Turns) -> None:
    others = [keys("other"), IdempotencyKeys(MetaData(), "more")("k"), None, None]
    with turns.take(KEY):
        for each in others:
            with turns.take(each, patient=False):
                pass
        with pytest.raises(KeyInUse):
            turns.take(keys("k", fingerprint="of another request"), patient=False)
    with turns.take(KEY, patient=False):
        pass


async def test_tasks_come_in_the_order_of_asking(turns: Turns) -> None:
    order: list[int] = []

    async def work(number: int) -> None:
        with await greenlet_spawn(turns.take, KEY):
            order.append(number)
            await asyncio.sleep(0)

    first = turns.take(KEY)
    tasks = [asyncio.ensure_future(work(number)) for number in range(6)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    first.close()
    await asyncio.wait(tasks)
    assert order == [0, 1, 3, 4, 5]
    assert not turns._waiting


async def test_a_turn_that_comes_with_a_cancellation_is_given_on(turns: Turns) -> None:
    async def take() -> None:
        with await greenlet_spawn(turns.take, KEY):
            pytest.fail("it was cancelled")

    first = turns.take(KEY)
    task = asyncio.ensure_future(take())
    await asyncio.sleep(0)
    # Both before the task runs again.
    first.close()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not turns._waiting


async def test_whoever_has_waited_long_enough_leaves_the_queue() -> None:
    turns = Turns(0.01)
    first = turns.take(KEY)
    with pytest.raises(KeyInUse):
        await greenlet_spawn(turns.take, KEY)
    with pytest.raises(KeyInUse):
        await asyncio.to_thread(turns.take, KEY)
    first.close()
    with turns.take(KEY):
        pass
    assert not turns._waiting


FORKING = """
import os, sys
from sqlalchemy import MetaData
from querywright import IdempotencyKeys
from querywright.session.units.turns import Turns

turns, key = Turns(60), IdempotencyKeys(MetaData())("k")
with turns.take(key):
    child = os.fork()
    if not child:
        with turns.take(key, patient=False):
            pass
if not child:
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_waits_for_nobody() -> None:
    ended = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - our own
    assert (ended.returncode, ended.stderr) == (0, "")
