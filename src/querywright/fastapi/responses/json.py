"""Send JSON bytes as they are, and describe them in OpenAPI by the model they were made from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from typing import Any, Generic, TypeVar, get_args

from anyio import CancelScope
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from querywright.errors import ConfigurationError
from querywright.fastapi.answers import in_own_thread
from querywright.fastapi.responses.returned import require_finished
from querywright.fetching import JsonBytes

__all__ = ["Json", "JsonStream", "adopt_status"]

Content = TypeVar("Content")


class _Unsaid(int):
    """The status of a response that names none; FastAPI reads a default out of the signature, and wants a number."""


_OF_ROUTE = _Unsaid(200)


class Json(Response, Generic[Content]):
    """A response whose body is JSON that needs no more work.

    As a return annotation, ``Json[list[UserOut]]`` gives OpenAPI the schema of ``list[UserOut]``.

    Args:
        content: The bytes, from ``fetch(...).json()`` or ``json_one()``; a type checker compares their model.
        status_code: The status of the response; by default the ``status_code=`` of the route, or 200.
        headers: More headers.

    Raises:
        ConfigurationError: The content is something else, such as a coroutine that was not awaited.

    Example:
        >>> from querywright import JsonBytes
        >>> Json(JsonBytes(b'{"id":1}')).media_type
        'application/json'
    """

    media_type = "application/json"

    def __init__(
        self, content: JsonBytes[Content], status_code: int = _OF_ROUTE, headers: Mapping[str, str] | None = None
    ) -> None:
        _require(content, (bytes, memoryview, str), "JSON that is written already")
        super().__init__(content, status_code=status_code, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, with the status of the route if it has none of its own."""
        adopt_status(self, scope)
        await super().__call__(scope, receive, send)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Describe the response by its content."""
        return _content_schema(source, handler)


class JsonStream(StreamingResponse, Generic[Content]):
    """A response whose body is read from the database while it is sent.

    It begins when there is something to send, so that what goes wrong before that is answered with a status of its own:
    a statement that fails, or too many streams.

    As a return annotation, ``JsonStream[list[UserOut]]`` gives OpenAPI the schema of ``list[UserOut]``.

    Args:
        pieces: What ``fetch(...).stream_json()`` gives.
        status_code: The status of the response; by default the ``status_code=`` of the route, or 200.
        headers: More headers.
        media_type: ``application/x-ndjson`` for ``stream_json(lines=True)``.

    Raises:
        ConfigurationError: The pieces are something else, such as all of the bytes.

    Example:
        >>> JsonStream(iter([b"[]"])).media_type
        'application/json'
    """

    def __init__(
        self,
        pieces: AsyncIterator[bytes] | Iterator[bytes],
        status_code: int = _OF_ROUTE,
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/json",
    ) -> None:
        _require(pieces, (AsyncIterator, Iterator), "an iterator, such as stream_json(),")
        given = pieces if isinstance(pieces, AsyncIterator) else _in_threads(pieces)
        super().__init__(given, status_code=status_code, headers=headers, media_type=media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, with the status of the route if it has none of its own."""
        adopt_status(self, scope)
        await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Send the pieces, once there is one, and give the connection back, also when the reader is gone."""
        try:
            waiting = aiter(self.body_iterator)
            first = await anext(waiting, b"")
            self.body_iterator = _joined(first, waiting)
            await super().stream_response(send)
        finally:
            if isinstance(self._pieces, AsyncIterator):
                await self._pieces.aclose()  # type: ignore[attr-defined]
            elif isinstance(self._pieces, Generator):
                # Its thread has come back: a cancellation does not interrupt one.
                with CancelScope(shield=True):
                    await in_own_thread(self._pieces.close)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Describe the response by its content."""
        return _content_schema(source, handler)


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    def following() -> bytes | None:
        # Not StopIteration, which no coroutine may raise.
        return next(pieces, None)

    while (piece := await in_own_thread(following)) is not None:
        yield piece


async def _joined(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for piece in rest:
        yield piece


def adopt_status(response: Response, scope: Scope) -> None:
    """Give a `Json` without a status of its own that of the route; FastAPI leaves ready responses as they are."""
    if isinstance(response.status_code, _Unsaid):
        response.status_code = int(getattr(scope.get("route"), "status_code", None) or response.status_code)


def _require(value: object, kinds: tuple[type, ...], wanted: str) -> None:
    require_finished(value)
    if not isinstance(value, kinds):
        message = f"A response of {wanted} was given {type(value).__name__}."
        raise ConfigurationError(message, hint="Give it what a verb of a fetch returns, or return the value itself.")


def _content_schema(source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    arguments = get_args(source)
    return handler.generate_schema(arguments[0]) if arguments else core_schema.any_schema()
