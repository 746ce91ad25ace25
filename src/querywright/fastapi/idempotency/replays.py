"""What is kept of a response so that it can be given again: the status, the body, and headers of a list."""

from __future__ import annotations

import base64
from collections.abc import Collection
from typing import Any

from starlette.responses import Response

from querywright.errors import ConfigurationError

__all__ = ["REPLAYED_HEADERS", "keep", "replay"]

# What says something of the answer. The rest belongs to one message or connection (Date, Server, trace identifiers), or
# to a middleware, which sees the replay as well.
REPLAYED_HEADERS = frozenset(
    {
        "cache-control", "content-disposition", "content-encoding", "content-language", "content-location",
        "content-type", "etag", "expires", "last-modified", "link", "location", "retry-after", "set-cookie", "vary",
        "www-authenticate",
    }
)  # fmt: skip
_REPLAYED = (b"idempotency-replayed", b"true")


def keep(response: Response, headers: Collection[str]) -> dict[str, Any]:
    """Turn a response into what JSON can hold.

    Args:
        response: The response.
        headers: The names of those to keep, in lower case; one that was sent several times is kept as often.

    Raises:
        ConfigurationError: It is streamed.
    """
    body = getattr(response, "body", None)
    if not isinstance(body, (bytes, memoryview)):
        raise ConfigurationError("A streamed response cannot be stored with an idempotency key.")
    # The encoding of ASGI servers: each byte is a character.
    named = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
    return {
        "status": response.status_code,
        "headers": [[name, value] for name, value in named if name.lower() in headers],
        "body": base64.b64encode(body).decode(),
    }


def replay(kept: dict[str, Any]) -> Response:
    """Make the response again that was kept; it says that it is a replay."""
    response = Response(base64.b64decode(kept["body"]), kept["status"])
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept["headers"]]
    response.raw_headers += [*headers, _REPLAYED]
    return response
