"""What must not be left in the middle is finished, and the cancellation that came meanwhile is passed on as it was."""

from __future__ import annotations

import asyncio

from sqlalchemy.util import await_only, greenlet_spawn

from querywright.engine.completion import undisturbed


async def test_a_cancellation_that_comes_later_has_its_message() -> None:
    """By it anyio knows those of its own scopes; another one ends the whole task."""
    inside, leave = asyncio.Event(), asyncio.Event()
    done: list[object] = []

    def work() -> None:
        inside.set()
        await_only(leave.wait())
        done.append("work")

    async def caller() -> None:
        await greenlet_spawn(undisturbed, work)
        done.append("caller")
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            done.append(error.args)
            raise

    task = asyncio.create_task(caller())
    await inside.wait()
    task.cancel("why")
    await asyncio.sleep(0)
    leave.set()
    await asyncio.wait({task})
    assert task.cancelled()
    assert done == ["work", "caller", ("why",)]
