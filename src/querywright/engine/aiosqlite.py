"""aiosqlite's connection, which may be closed twice."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from typing import Any

import aiosqlite

__all__ = ["connect"]


class _Connection(aiosqlite.Connection):
    """A connection that stops its thread once.

    A task that is cancelled while SQLAlchemy closes the connection for it stops the thread; whoever asks it for
    more than that afterwards waits for an answer that never comes.
    """

    def stop(self) -> asyncio.Future[Any] | None:
        """Let the thread close the connection and end, unless it has been told already."""
        return super().stop() if self._running else None

    async def close(self) -> None:
        """Close the connection, unless that is under way."""
        if self._running:
            await super().close()


async def connect(database: str, **options: Any) -> aiosqlite.Connection:
    """Open a connection as `aiosqlite.connect` does."""
    connection = _Connection(partial(sqlite3.connect, database, **options), iter_chunk_size=64)
    # As SQLAlchemy does: a connection that nobody closed must not keep the process from ending.
    connection._thread.daemon = True  # noqa: SLF001
    return await connection
