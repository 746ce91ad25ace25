"""A closed-loop client: each connection sends its next request when it has read the answer to the last.

It reads no more of an answer than its head and counts the bytes of the body, so that it costs next to nothing.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"


@dataclass
class Load:
    """What a stretch of load gave."""

    seconds: float = 0.0
    client_cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)
    body_bytes: int = 0

    def add(self, other: Load) -> None:
        """Take in another stretch."""
        self.seconds += other.seconds
        self.client_cpu += other.client_cpu
        self.body_bytes += other.body_bytes
        self.latencies += other.latencies


class _Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, paths: Iterator[str], load: Load, deadline: float) -> None:
        self._paths, self._load, self._deadline = paths, load, deadline
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = b""
        self._missing = 0  # bytes of the body that are still to come
        self._started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._started = time.perf_counter()
        if self._started >= self._deadline:
            self._transport.close()
            return
        self._transport.write(f"GET {next(self._paths)} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._take(len(data))
            return
        self._head += data
        end = self._head.find(_END)
        if end < 0:
            return
        length = _LENGTH.search(self._head, 0, end + len(_END))
        if not self._head.startswith(b"HTTP/1.1 200 ") or length is None:
            self._fail(f"an answer that is not expected: {self._head[:200]!r}")
            return
        arrived = len(self._head) - end - len(_END)
        self._head, self._missing = b"", int(length[1])
        self._take(arrived)

    def _take(self, size: int) -> None:
        self._missing -= size
        self._load.body_bytes += size
        if self._missing == 0:
            self._load.latencies.append(time.perf_counter() - self._started)
            self._send()

    def _fail(self, message: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(message))
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done.done():
            return
        if exc or self._missing or self._head:
            self.done.set_exception(exc or RuntimeError("the server closed the connection"))
        else:
            self.done.set_result(None)


async def drive(port: int, paths: Iterator[str], *, connections: int, seconds: float) -> Load:
    """Load the server on 127.0.0.1 for so many seconds; the last answers are waited for."""
    load = Load()
    loop = asyncio.get_running_loop()
    started, cpu = time.perf_counter(), time.process_time()
    made = [
        await loop.create_connection(lambda: _Connection(paths, load, started + seconds), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    load.seconds, load.client_cpu = time.perf_counter() - started, time.process_time() - cpu
    return load
