"""A network that fails on demand, between a client and PostgreSQL.

The proxy runs an event loop in a thread of its own, so it serves synchronous and asynchronous tests alike. Every
method returns when the change is in force.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar, cast

from sqlalchemy.engine import make_url
from typing_extensions import Self

T = TypeVar("T")

# https://www.postgresql.org/docs/current/protocol-message-formats.html
_CANCEL_REQUEST = 80877102
_SSL_REQUEST = 80877103


class Proxy:
    """A TCP proxy on 127.0.0.1, passing everything on until it is told otherwise.

    Attributes:
        port: Where it listens; the same after `refuse`.
        accepted: Connections accepted so far.
        commits: COMMIT messages that clients have sent so far.
        cancels: Cancel requests that clients have sent so far.
        cut: Connections that `cut_commits` has cut so far.
    """

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = 0
        self.accepted = self.commits = self.cancels = self.cut = 0
        self.holding = False
        self.resetting = False
        self.seconds = 0.0
        self.cuts_left = 0
        self.cut_reaches_server = True
        self.links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._listener: socket.socket | None = None

    @property
    def open(self) -> int:
        """How many connections of clients are open."""
        return sum(link.client.transport is not None for link in list(self.links))

    def url(self, url: str) -> str:
        """Return a URL of the server with this proxy's port in it."""
        return make_url(url).set(host="127.0.0.1", port=self.port).render_as_string(hide_password=False)

    def pass_(self) -> None:
        """Pass everything on again, first of all what was held back; connections that were cut stay cut."""
        self._run(self._set())

    def refuse(self) -> None:
        """Cut every connection and refuse new ones, as a machine without a server does."""
        self._run(self._set(listening=False))
        self.drop()

    def reset(self) -> None:
        """Cut every connection, and every new one as soon as it is made."""
        self._run(self._set(resetting=True))
        self.drop()

    def blackhole(self) -> None:
        """Accept connections and bytes, and pass on nothing in either direction, not even the end of a connection."""
        self._run(self._set(holding=True))

    def delay(self, seconds: float) -> None:
        """Pass on what arrives so many seconds later, in each direction."""
        self._run(self._set(seconds=seconds))

    def drop(self) -> None:
        """Cut every open connection with RST, once."""
        self._run(self._drop())

    def cut_commits(self, times: int = 1, *, reaches_server: bool = True) -> None:
        """Cut the connections that send the next COMMITs, so that no client learns what became of them.

        Args:
            times: How many connections.
            reaches_server: Whether the server gets the COMMIT, and is waited for, before the connection is cut.
        """
        self.cut_reaches_server = reaches_server
        self.cuts_left = times

    async def _set(
        self, *, holding: bool = False, resetting: bool = False, listening: bool = True, seconds: float = 0.0
    ) -> None:
        self.holding, self.resetting, self.seconds = holding, resetting, seconds
        if self._listener is not None and not listening:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        elif self._listener is None and listening:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            self._loop.add_reader(self._listener, self._accept, self._listener)
        for link in list(self.links):
            link.obey()

    def _accept(self, listener: socket.socket) -> None:
        # asyncio's own server loses what it has accepted and not yet made when it is closed.
        with suppress(BlockingIOError, ConnectionAbortedError):
            accepted, _ = listener.accept()
            link = _Link(self)
            self.links.add(link)
            link.accepting = self._loop.create_task(self._loop.connect_accepted_socket(lambda: link.client, accepted))

    async def _drop(self) -> None:
        for link in list(self.links):
            link.cut()

    async def _finish(self) -> None:
        """Leave no connection behind: they are made in tasks and ended in calls."""
        if making := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(making)
        await self._drop()
        await asyncio.sleep(0)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._set())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self._run(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Link:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.messages = _Messages()
        self.client = _Side(self)
        self.server = _Side(self)
        self.client.other, self.server.other = self.server, self.client
        self.accepting: asyncio.Task[Any] | None = None
        self.connecting: asyncio.Task[Any] | None = None
        self.cut_at_answer = False

    def obey(self) -> None:
        """Do as the proxy was told: hold everything, or connect to the server and pass everything on."""
        if self.proxy.resetting:
            self.cut()
            return
        if self.connecting is None and not self.proxy.holding:
            self.connecting = self.proxy._loop.create_task(self.connect())
        for side in (self.client, self.server):
            side.obey()

    async def connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.server, "127.0.0.1", self.proxy.server_port)
        except OSError:
            self.cut()

    def lets_through(self, side: _Side, data: bytes) -> bool:
        """Say whether these bytes may pass: not the answer to a COMMIT that nobody may see."""
        if side is self.server:
            return not self.cut_at_answer
        proxy = self.proxy
        for kind in self.messages.feed(data):
            proxy.cancels += kind == "cancel"
            proxy.commits += kind == "commit"
            if kind == "commit" and proxy.cuts_left:
                proxy.cuts_left -= 1
                proxy.cut += 1
                self.cut_at_answer = proxy.cut_reaches_server
                return proxy.cut_reaches_server
        return True

    def cut(self) -> None:
        self.proxy.links.discard(self)
        if self.connecting is not None:
            self.connecting.cancel()
        for side in (self.client, self.server):
            side.cut()


class _Side(asyncio.Protocol):
    """One of the two connections; it keeps what is on its way to the other."""

    other: _Side

    def __init__(self, link: _Link) -> None:
        self.link = link
        self.transport: asyncio.Transport | None = None
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self is self.link.client:
            self.link.proxy.accepted += 1
        if self.link not in self.link.proxy.links:
            self.cut()
        elif self is self.link.client:
            self.link.obey()
        self.obey()
        self.other.deliver()

    def obey(self) -> None:
        """Read, or leave everything to the kernel's buffer."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.link.proxy.holding or self.full:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()
            self.deliver()

    def data_received(self, data: bytes) -> None:
        if self.link.lets_through(self, data):
            self.send_later(data)
        else:
            self.link.cut()

    def eof_received(self) -> bool:
        self.send_later(b"")
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        self.transport = None
        if self.other.transport is not None:
            # Once it has sent what it was given.
            self.other.transport.close()
        else:
            self.link.cut()

    def send_later(self, data: bytes) -> None:
        seconds = self.link.proxy.seconds
        loop = asyncio.get_running_loop()
        self.waiting.append((loop.time() + seconds, data))
        if seconds:
            loop.call_later(seconds, self.deliver)
        else:
            self.deliver()

    def deliver(self) -> None:
        """Hand on what is due, in order; nothing at the end of a connection ends the other one."""
        sink = self.other.transport
        if sink is None or self.link.proxy.holding:
            return
        now = asyncio.get_running_loop().time()
        while self.waiting and (self.waiting[0][0] <= now or not self.link.proxy.seconds) and not sink.is_closing():
            _, data = self.waiting.popleft()
            if data:
                sink.write(data)
            else:
                sink.close()

    def pause_writing(self) -> None:
        self.other.full = True
        self.other.obey()

    def resume_writing(self) -> None:
        self.other.full = False
        self.other.obey()

    def cut(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            no_linger = struct.pack("ii", 1, 0)  # close() then sends RST
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
            self.transport.abort()


class _Messages:
    """Read a client's messages and find its COMMITs."""

    def __init__(self) -> None:
        self._buffer = b""
        self._started = False

    def feed(self, data: bytes) -> Iterator[str]:
        """Name the messages that are complete now: commit, cancel or other."""
        self._buffer += data
        while (size := self._size()) and len(self._buffer) >= size:
            message, self._buffer = self._buffer[:size], self._buffer[size:]
            yield self._kind(message)

    def _size(self) -> int:
        at = 1 if self._started else 0  # the first messages have no letter
        return at + struct.unpack_from("!I", self._buffer, at)[0] if len(self._buffer) >= at + 4 else 0

    def _kind(self, message: bytes) -> str:
        if not self._started:
            code = struct.unpack_from("!I", message, 4)[0]
            self._started = code != _SSL_REQUEST
            return "cancel" if code == _CANCEL_REQUEST else "other"
        # Query holds the statement; Parse its name, mostly empty, and then the statement.
        commits = message[:1] in b"QP" and message[5:].lstrip(b"\0")[:6].upper() == b"COMMIT"
        return "commit" if commits else "other"
