"""aiomysql's connection, with every answer bounded and TLS insisted on: it has no limit but for the TCP connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import aiomysql

from querywright.engine.limits import Limits
from querywright.engine.loops import abort_on_its_loop, is_of_other_loop
from querywright.engine.pymysql import check_offer
from querywright.engine.tls import Tls

__all__ = ["opening"]


class _BoundedConnection(aiomysql.Connection):  # type: ignore[misc] # aiomysql has no types
    limits: ClassVar[Limits]
    tls: ClassVar[Tls]
    _writer: asyncio.StreamWriter | None

    async def _request_authentication(self) -> None:
        check_offer(self, self.tls)
        await super()._request_authentication()

    async def _read_bytes(self, num_bytes: int) -> bytes:
        if self.limits.statement is None:
            return await super()._read_bytes(num_bytes)  # type: ignore[no-any-return]
        # When its socket is gone, aiomysql reports a lost connection.
        giving_up = self._loop.call_later(self.limits.statement, self._abort)
        try:
            return await super()._read_bytes(num_bytes)  # type: ignore[no-any-return]
        finally:
            giving_up.cancel()

    def is_of_other_loop(self) -> bool:
        """Say whether it belongs to another event loop than this one, and give it up if so."""
        if not is_of_other_loop(self._loop):
            return False
        writer = self._writer
        if writer is not None:
            self._writer = None
            abort_on_its_loop(self._loop, writer.transport, writer)
        return True

    def _abort(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()


def opening(limits: Limits, tls: Tls) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Make what opens an engine's connections, with the arguments of `aiomysql.connect`."""
    bounded = type("BoundedConnection", (_BoundedConnection,), {"limits": limits, "tls": tls})

    async def open_connection(*arguments: Any, **options: Any) -> Any:
        connection = bounded(*arguments, **options)
        try:
            await asyncio.wait_for(connection._connect(), limits.connect)  # noqa: SLF001 - as aiomysql.connect() does
        except BaseException:
            connection.close()
            raise
        return connection

    return open_connection
