"""What goes on behind a caller that was cancelled: to close what it has left half-open."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.util import await_only

__all__ = ["in_background", "wait_for_background"]

# An event loop holds its tasks by weak references only.
_tasks: set[asyncio.Task[None]] = set()


def in_background(work: Coroutine[Any, Any, None]) -> None:
    """Run some work that ends by itself, within the limit for connecting, and reports nothing."""
    task = asyncio.ensure_future(_quietly(work))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def wait_for_background() -> None:
    """Wait until all of this event loop's is done, if this is a place to wait in."""
    with suppress(RuntimeError, MissingGreenlet):
        loop = asyncio.get_running_loop()
        if mine := {task for task in _tasks if task.get_loop() is loop}:
            await_only(asyncio.wait(mine))


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    with suppress(Exception):
        await work
