"""Give up a connection that belongs to another event loop than the one that runs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

__all__ = ["abort_on_its_loop", "gave_up", "is_of_other_loop"]


def is_of_other_loop(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether this is not the loop that runs."""
    return loop is not asyncio.get_running_loop()


def gave_up(connection: Any) -> bool:
    """Return whether a connection is of another loop, and was given up for it.

    An engine of the application's own has the driver's plain connections, which do not tell.
    """
    return hasattr(connection, "is_of_other_loop") and bool(connection.is_of_other_loop())


def abort_on_its_loop(
    loop: asyncio.AbstractEventLoop, transport: Any, writer: asyncio.StreamWriter | None = None
) -> None:
    """Close a transport without a goodbye, which this loop would have to wait for on that one.

    Args:
        loop: The loop of the transport.
        transport: What is closed.
        writer: What must live until then: it warns of a transport that is open.
    """
    try:
        loop.call_soon_threadsafe(_abort, transport, writer)
    except RuntimeError:
        # That loop is closed, and nobody else closes the socket.
        _close_socket(transport)


def _abort(transport: Any, _writer: asyncio.StreamWriter | None) -> None:
    transport.abort()


def _close_socket(transport: Any) -> None:
    """Close the socket of a transport that has lost its event loop; uvloop has done so already."""
    with suppress(AttributeError):
        if hasattr(transport, "_ssl_protocol"):
            transport._closed = True  # noqa: SLF001 - or its __del__ complains
            transport = transport._ssl_protocol._transport  # noqa: SLF001 - TLS has another one below
        transport._sock.close()  # noqa: SLF001 - the loop would do it
        # As above.
        transport._sock = None  # noqa: SLF001
        transport._closing = True  # noqa: SLF001
