"""aiomysql: with every answer bounded, every value checked and TLS insisted on."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, ClassVar

import aiomysql
from pymysql.converters import escape_item
from sqlalchemy import Dialect
from typing_extensions import override

from querywright.engine.drivers.loops import abort_on_its_loop, gave_up, is_of_other_loop
from querywright.engine.drivers.pymysql import (
    ASK_LIMIT,
    ENCODERS,
    MySQL,
    check_offer,
    is_small,
    require_room,
    require_unicode,
)
from querywright.engine.limits import Limits
from querywright.engine.tls import Tls

__all__ = ["ASYNC"]


class _BoundedConnection(aiomysql.Connection):  # type: ignore[misc] # aiomysql has no types
    limits: ClassVar[Limits]
    tls: ClassVar[Tls]
    _writer: asyncio.StreamWriter | None
    _result: Any

    async def _request_authentication(self) -> None:
        check_offer(self, self.tls)
        await super()._request_authentication()

    def escape(self, obj: Any) -> str:
        """Write a value into a statement."""
        if isinstance(obj, (bytes, bytearray)):
            # What aiomysql imports for them is no function any more in PyMySQL 1.2.
            return f"_binary X'{obj.hex()}'"
        if not isinstance(obj, str):
            return str(escape_item(obj, self._charset, ENCODERS))
        require_unicode(obj)
        return str(super().escape(obj))

    async def query(self, sql: str | bytes, unbuffered: bool = False) -> Any:  # noqa: FBT001, FBT002 - as aiomysql has it
        """Send a statement."""
        if not is_small(sql):
            await super().query(ASK_LIMIT)
            require_room(sql, int(self._result.rows[0][0]))
        return await super().query(sql, unbuffered)

    async def _read_bytes(self, num_bytes: int) -> bytes:
        # It has no limit of its own but for the TCP connection.
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
        writer = self._writer
        await super().ensure_closed()
        if writer is not None:
            with suppress(asyncio.TimeoutError, OSError):
                await asyncio.wait_for(writer.wait_closed(), self.limits.connect)

    def is_of_other_loop(self) -> bool:
        """Give it up if it belongs to another event loop than this one, and return whether it does."""
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


def _opening(limits: Limits, tls: Tls) -> Callable[..., Coroutine[Any, Any, Any]]:
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


class _Aiomysql(MySQL):
    @override
    def known_arguments(self) -> set[str]:
        return set(inspect.signature(aiomysql.connect).parameters)

    @override
    def opening(self, dialect: Dialect, limits: Limits, tls: Tls) -> Callable[..., Any]:
        return _opening(limits, tls)

    @override
    def is_closed(self, lent: Any) -> bool:
        return bool(lent.driver_connection.closed) or gave_up(lent.driver_connection)

    @override
    def socket_of(self, lent: Any) -> int | None:
        transport = lent.driver_connection._writer.transport  # noqa: SLF001 - nothing public
        return int(transport.get_extra_info("socket").fileno())


ASYNC = _Aiomysql()
