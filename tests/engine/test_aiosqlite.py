"""The thread of a connection of aiosqlite."""

from __future__ import annotations

import asyncio
import threading

import pytest

from querywright.engine.drivers.aiosqlite import open_connection


def test_a_thread_outlives_its_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was asked for by somebody who is gone, it answers to nobody."""
    errors: list[object] = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    leave = threading.Event()

    async def main() -> threading.Thread:
        connection = await open_connection(":memory:")
        waiting = asyncio.ensure_future(connection._execute(leave.wait))  # type: ignore[no-untyped-call]
        await asyncio.sleep(0)
        waiting.cancel()
        connection.stop()
        return connection._thread

    thread = asyncio.run(main())
    leave.set()
    thread.join()
    assert errors == []
