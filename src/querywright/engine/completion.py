"""Finish what must not be left in the middle, and only then pass on a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["to_the_end"]

Result = TypeVar("Result")


async def to_the_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Await some work in a task of its own, so that a cancellation of the caller does not reach it.

    Returns:
        What the work returned.

    Raises:
        asyncio.CancelledError: The caller was cancelled meanwhile; raised once the work is done.
    """
    task = asyncio.ensure_future(work)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            # anyio cancels again at every await, until its scope is left.
            cancellation = error
        except BaseException:  # noqa: BLE001, S110 - task.result() raises it below
            pass
    if cancellation is not None and not task.cancelled() and task.exception() is None:
        raise cancellation
    return task.result()
