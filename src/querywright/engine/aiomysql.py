"""aiomysql's connection, with every answer bounded and TLS insisted on: it has no limit but for the TCP connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, ClassVar

import aiomysql

from querywright.engine.limits import Limits
from querywright.engine.pymysql import check_offer
from querywright.engine.tls import Tls

__all__ = ["opening"]


class _BoundedConnection(aiomysql.Connection):  # type: ignore[misc] # aiomysql has no types
    limits: ClassVar[Limits]
    tls: ClassVar[Tls]

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

    async def ensure_closed(self) -> None:
        """Say goodbye, and wait until the socket is closed, which TLS does only after an answer."""
        writer: asyncio.StreamWriter | None = self._writer
        await super().ensure_closed()
        if writer is not None:
            with suppress(asyncio.TimeoutError, OSError):
                await asyncio.wait_for(writer.wait_closed(), self.limits.connect)

    def _abort(self) -> None:
        writer: asyncio.StreamWriter | None = self._writer
        if writer is not None:
            writer.transport.abort()


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
