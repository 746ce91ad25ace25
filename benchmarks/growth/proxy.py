"""A network between client and PostgreSQL: it delays each direction, and counts what the client sends.

It runs in a process of its own. Its threads sleep instead of an event loop's timers, which wait whole milliseconds.
"""

from __future__ import annotations

import multiprocessing
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from typing import Any

_CHUNK = 1 << 18
_SSL_REQUEST = 80877103  # https://www.postgresql.org/docs/current/protocol-message-formats.html
# Of each counter: Execute; Query, as drivers send BEGIN and ROLLBACK; Query, Sync and Flush, which demand an answer.
_KINDS = (b"E", b"Q", b"QSH")


@dataclass(frozen=True)
class Counts:
    """What a client has sent: prepared statements to execute, plain commands, and how often it waited for an answer."""

    statements: int
    commands: int
    round_trips: int

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(mine - its for mine, its in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Proxy:
    """A running proxy."""

    port: int
    _counters: Any

    def counts(self) -> Counts:
        return Counts(*self._counters[:])


class _Messages:
    """Count a client's messages by the letter that each begins with."""

    def __init__(self, counters: Any) -> None:
        self._counters = counters
        self._buffer = b""
        self._started = False

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while (size := self._size()) and len(self._buffer) >= size:
            self._count(self._buffer[:size])
            self._buffer = self._buffer[size:]

    def _size(self) -> int:
        at = 1 if self._started else 0  # the first messages have no letter
        return at + struct.unpack_from("!I", self._buffer, at)[0] if len(self._buffer) >= at + 4 else 0

    def _count(self, message: bytes) -> None:
        if not self._started:
            self._started = struct.unpack_from("!I", message, 4)[0] != _SSL_REQUEST
            return
        kind = message[:1]
        with self._counters.get_lock():
            for place, kinds in enumerate(_KINDS):
                self._counters[place] += kind in kinds


def _pump(source: socket.socket, sink: socket.socket, delay: float, watch: Callable[[bytes], None] | None) -> None:
    """Hand on what arrives, each piece so many seconds after its arrival."""
    pieces: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_deliver, args=(pieces, sink), daemon=True).start()
    data = b"-"
    while data:
        try:
            data = source.recv(_CHUNK)
        except OSError:
            data = b""
        if watch is not None:
            watch(data)
        pieces.put((time.monotonic() + delay, data))


def _deliver(pieces: queue.SimpleQueue[tuple[float, bytes]], sink: socket.socket) -> None:
    with suppress(OSError):
        while True:
            due, data = pieces.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                sink.shutdown(socket.SHUT_RDWR)
                return
            sink.sendall(data)


def _serve(listener: socket.socket, server_port: int, delay: float, counters: Any) -> None:
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", server_port))
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        watch = _Messages(counters).feed
        threading.Thread(target=_pump, args=(client, server, delay, watch), daemon=True).start()
        threading.Thread(target=_pump, args=(server, client, delay, None), daemon=True).start()


@contextmanager
def proxy(server_port: int, delay: float) -> Iterator[Proxy]:
    """Run a proxy in front of a server on 127.0.0.1.

    Args:
        server_port: Where the server listens.
        delay: Seconds that each direction takes.
    """
    spawn = multiprocessing.get_context("spawn")
    counters = spawn.Array("q", len(_KINDS))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = spawn.Process(target=_serve, args=(listener, server_port, delay, counters), daemon=True)
        process.start()
        try:
            yield Proxy(listener.getsockname()[1], counters)
        finally:
            process.terminate()
            process.join()
