"""Pools that lose no connection: one that is being opened is set up to the end, or closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import AsyncAdaptedQueuePool, Pool, QueuePool
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.pool.base import _ConnectionRecord
from sqlalchemy.util import await_only, greenlet_spawn
from typing_extensions import Self, override

__all__ = ["AsyncPool", "Openings", "SyncPool"]

Opened = TypeVar("Opened")


class Openings:
    """Open each connection in a task of its own, which a cancellation of the caller does not reach.

    asyncpg and aiosqlite lose a half-open connection, and aiosqlite its thread with it, when they are cancelled in
    the middle (aiosqlite#259). So the task goes on, within the limit for connecting, and closes what it has opened.
    """

    def __init__(self) -> None:
        self._abandoned: set[asyncio.Task[Any]] = set()

    async def open(
        self, opening: Coroutine[Any, Any, Opened], close: Callable[[Opened], Coroutine[Any, Any, Any]]
    ) -> Opened:
        """Open something.

        Args:
            opening: What opens it.
            close: Closes it, if nobody waits for it any more.
        """
        task = asyncio.ensure_future(opening)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            closing = asyncio.ensure_future(_close_when_open(task, close))
            self._abandoned.add(closing)
            closing.add_done_callback(self._abandoned.discard)
            raise
        return task.result()

    def finish(self) -> None:
        """Wait for what was abandoned, if this is a place to wait in."""
        with suppress(RuntimeError, MissingGreenlet):
            loop = asyncio.get_running_loop()
            if mine := {task for task in self._abandoned if task.get_loop() is loop}:
                await_only(asyncio.wait(mine))


async def _close_when_open(task: asyncio.Task[Opened], close: Callable[[Opened], Coroutine[Any, Any, Any]]) -> None:
    with suppress(Exception):
        await close(await task)


class SyncPool(QueuePool):
    """SQLAlchemy's, which forgets a connection if a listener of "connect" fails."""

    @override
    def _create_connection(self) -> ConnectionPoolEntry:
        return _opened(self)


class AsyncPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's, which forgets a connection if a listener of "connect" fails or is cancelled."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.openings = Openings()

    @override
    def recreate(self) -> Self:
        pool: Any = super().recreate()
        pool.openings = self.openings
        return pool  # type: ignore[no-any-return]

    @override
    def _create_connection(self) -> ConnectionPoolEntry:
        return await_only(self.openings.open(greenlet_spawn(_opened, self), _close))


def _opened(pool: Pool) -> ConnectionPoolEntry:
    record = _ConnectionRecord(pool, connect=False)
    try:
        record.get_connection()
    except BaseException:
        record.close()
        raise
    return record


async def _close(record: ConnectionPoolEntry) -> None:
    await greenlet_spawn(record.close)
