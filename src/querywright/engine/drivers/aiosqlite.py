"""aiosqlite: its connection can be told to stop more than once, and its thread may outlive its event loop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

import aiosqlite
from sqlalchemy import Dialect
from typing_extensions import override

from querywright.engine.drivers.driver import Rows
from querywright.engine.drivers.pysqlite import SQLite
from querywright.engine.limits import Limits
from querywright.engine.tls import Tls

__all__ = ["ASYNC", "open_connection"]

_ROWS_AT_ONCE = 64


class _Reply:
    """What its thread takes for a future: one whose event loop may be closed by the time that there is an answer.

    Nobody waits for it then, as for the end of a connection that was given up; the thread would end in an error.
    """

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self._future = future

    def get_loop(self) -> _Reply:
        return self

    def call_soon_threadsafe(self, settle: Callable[[Any, Any], None], _self: _Reply, answer: Any) -> None:
        try:  # noqa: SIM105 - it would take longer than aiosqlite's own part of it
            self._future.get_loop().call_soon_threadsafe(settle, self._future, answer)
        except RuntimeError:
            pass


class _Requests:
    """The way to the thread of a connection."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def put_nowait(self, request: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, work = request
        self._queue.put_nowait((future and _Reply(future), work))


class _Connection(aiosqlite.Connection):
    """A connection whose thread is stopped once, however often that is asked for.

    SQLAlchemy stops one that is being closed when its task is cancelled a second time. The first stop ends the thread,
    and whoever waits for the second one would wait for ever.
    """

    _stopping: asyncio.Future[Any] | None = None
    _told = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._tx: Any = _Requests(self._tx)

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


class _Aiosqlite(SQLite):
    @override
    def opening(self, dialect: Dialect, limits: Limits, tls: Tls) -> Callable[..., Any]:
        return open_connection

    @override
    def fetch(self, lent: Any, sql: str, parameters: Any) -> Rows:
        rows: Rows = lent.run_async(lambda driver: driver.execute_fetchall(sql, parameters))
        return rows


ASYNC = _Aiosqlite()
