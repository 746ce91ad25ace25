"""aiosqlite's connection, which can be told to stop more than once."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from typing import Any

import aiosqlite

__all__ = ["open_connection"]

_ROWS_AT_ONCE = 64


class _Connection(aiosqlite.Connection):
    """A connection whose thread is stopped once, however often that is asked for.

    SQLAlchemy stops one that is being closed when its task is cancelled a second time. The first stop ends the thread,
    and whoever waits for the second one would wait for ever.
    """

    _stopping: asyncio.Future[Any] | None = None
    _told = False

    def stop(self) -> asyncio.Future[Any] | None:
        """Close the connection and end its thread, behind what is waiting already."""
        if not self._told:
            self._told = True
            self._stopping = super().stop()
        return self._stopping


async def open_connection(*arguments: Any, **options: Any) -> aiosqlite.Connection:
    """Open a connection in a thread of its own, with the arguments of `sqlite3.connect`."""
    connection = _Connection(partial(sqlite3.connect, *arguments, **options), _ROWS_AT_ONCE)
    # As SQLAlchemy does: a connection that nobody closed must not keep the process from ending.
    connection._thread.daemon = True  # noqa: SLF001
    return await connection
