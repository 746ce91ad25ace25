"""Finish what must not be left in the middle, and only then pass on a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from sqlalchemy.util import await_only, greenlet_spawn

__all__ = ["to_the_end", "undisturbed", "until_done"]

Result = TypeVar("Result")


async def to_the_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Await some work in a task of its own, so that a cancellation of the caller does not reach it.

    Returns:
        What the work returned.

    Raises:
        asyncio.CancelledError: The caller was cancelled meanwhile; raised once the work is done. What that has failed
            with is the cause: who is cancelled must not try again.
    """
    task = asyncio.ensure_future(work)
    cancellation = await until_done(task)
    if cancellation is not None and not task.cancelled():
        raise cancellation from task.exception()
    return task.result()


def undisturbed(work: Callable[[], None]) -> None:
    """Call, in a greenlet of SQLAlchemy's, what waits for a driver; the caller is cancelled at its next await."""
    await_only(_undisturbed(work))


async def _undisturbed(work: Callable[[], None]) -> None:
    task = asyncio.ensure_future(greenlet_spawn(work))
    cancellation = await until_done(task)
    if cancellation is not None:
        _cancel_later(cancellation)
    task.result()


async def until_done(task: asyncio.Task[Any]) -> asyncio.CancelledError | None:
    """Wait for a task, and return the cancellation of the caller that came meanwhile, if one did."""
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            # anyio cancels again at every await, until its scope is left.
            cancellation = error
        except BaseException:  # noqa: BLE001, S110 - whoever asks for the result hears of it
            pass
    return cancellation


def _cancel_later(cancellation: asyncio.CancelledError) -> None:
    """Cancel this task once more in place of a cancellation that it has not obeyed.

    Args:
        cancellation: That one: by its message anyio knows those of its own scopes.
    """
    task = asyncio.current_task()
    if task is not None:
        if hasattr(task, "uncancel"):
            # Whoever cancelled it takes back as many as it has counted (Python 3.11).
            task.uncancel()
        task.cancel(*cancellation.args[:1])
