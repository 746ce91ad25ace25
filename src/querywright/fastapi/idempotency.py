"""Answer a repeated POST as the first time: the response is stored in the transaction that did the work.

The header and its rules: "The Idempotency-Key HTTP Header Field", draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from pydantic import StringConstraints
from pydantic.json_schema import SkipJsonSchema

from querywright.errors import ConfigurationError, KeyReused
from querywright.fastapi.answers import FIRST_ERROR
from querywright.fastapi.dependencies import session_of
from querywright.fastapi.json import adopt_status
from querywright.fastapi.writers import writes
from querywright.session import AsyncSession, IdempotencyKey, IdempotencyKeys, Session
from querywright.session.idempotency import LONGEST_KEY, Stored

__all__ = ["KEYS", "IdempotentRoute"]

KEYS = "querywright_idempotency"
_HEADER = "Idempotency-Key"
_REPLAYED = "Idempotency-Replayed"
_Key = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_KEY)]
_DECLARED = Header(alias=_HEADER, description="Names the request: a known name is answered as the first time.")
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _Replay(Exception):
    """The request was answered before."""


@dataclass
class _Call:
    """A request with a key.

    Attributes:
        request: The request.
        key: The key, with a fingerprint of the request.
        session: The transaction in which it is answered.
        keep: Whether it is committed whatever the status of the response.
        stored: The answer of the first time.
    """

    request: Request
    key: IdempotencyKey
    session: AsyncSession | Session | None = None
    keep: bool = False
    stored: Stored | None = None


_call: ContextVar[_Call | None] = ContextVar("querywright_idempotent_call", default=None)


class IdempotentRoute(APIRoute):
    """A route that writes, and answers a request with a known ``Idempotency-Key`` as it did before.

    The key is written in the transaction of its `Writer`, with the response: both are durable, or neither is. A request
    with the key of one that is running waits for it. The same key with another path, query, body or ``Authorization``
    is a 422. A request without the header is an ordinary one.

    Use it as ``APIRouter(route_class=IdempotentRoute)``, after ``install(app, db, idempotency=IdempotencyKeys(...))``.

    Attributes:
        required: Whether a request without the header is refused.

    Raises:
        ConfigurationError: The path operation does not take a `Writer`, or the application has no table of keys.
    """

    required = False

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        declared = Depends(_required if self.required else _optional)
        options["dependencies"] = [*(each for each in options.get("dependencies") or () if each != declared), declared]
        guarded = _guarded(endpoint)
        # Older versions of FastAPI look for the names of annotations where the wrapper is, not in the user's module.
        with suppress(NameError):
            setattr(guarded, "__signature__", inspect.signature(endpoint, eval_str=True))  # noqa: B010 - functions have none
        super().__init__(path, guarded, **options)
        if not writes(self.dependant):
            message = f"{path} does not take a Writer, so there is no transaction to keep its key in."
            raise ConfigurationError(message, hint="Add a parameter of type Writer, or use another route class.")

    def get_route_handler(self) -> Handler:
        """Wrap the handler: find the key before, store the response after."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            if _HEADER not in request.headers:
                # Where it is required, FastAPI misses it.
                return await handle(request)
            try:
                return await _answer(request, handle)
            except KeyReused as error:
                error.location = ("header", _HEADER)
                raise

        return answer


async def _answer(request: Request, handle: Handler) -> Response:
    call = _Call(request, _keys(request)(request.headers[_HEADER], fingerprint=await _fingerprint(request)))
    token = _call.set(call)
    try:
        response = await handle(request)
        await _settle(call, response)
    except _Replay:
        return _replay(call)
    finally:
        _call.reset(token)
    return response


# Their parameters are for OpenAPI, and for FastAPI to refuse a request without the header where it is required.
async def _required(_value: Annotated[_Key, _DECLARED]) -> None: ...


async def _optional(_value: Annotated[_Key | SkipJsonSchema[None], _DECLARED] = None) -> None: ...


def _guarded(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Let a path operation run only if its key is new; by then every dependency, such as a login, has agreed.

    Older versions of FastAPI make a route again when its router is included, so this may be done twice.
    """
    if inspect.iscoroutinefunction(endpoint):

        @wraps(endpoint)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            if (call := _call.get()) and call.session is None:
                session, call.keep = session_of(call.request)
                _claimed(call, session, await session.run_sync(call.key.claim))
            return await endpoint(*args, **kwargs)

        return asynchronous

    @wraps(endpoint)
    def synchronous(*args: Any, **kwargs: Any) -> Any:
        if (call := _call.get()) and call.session is None:
            session, call.keep = session_of(call.request)
            _claimed(call, session, call.key.claim(session))
        return endpoint(*args, **kwargs)

    return synchronous


def _claimed(call: _Call, session: AsyncSession | Session, stored: Stored | None) -> None:
    call.session, call.stored = session, stored
    if stored is not None:
        raise _Replay


async def _settle(call: _Call, response: Response) -> None:
    """Store the response; the transaction is still open, and ends before the response is sent."""
    if call.session is None or (response.status_code >= FIRST_ERROR and not call.keep):
        # What was done is rolled back, with the key: a repetition does it anew.
        return
    adopt_status(response, call.request.scope)
    body = getattr(response, "body", None)
    if not isinstance(body, bytes):
        raise ConfigurationError("A streamed response cannot be stored with an idempotency key.")
    result = {
        "status": response.status_code,
        "media_type": response.headers.get("content-type"),
        "body": base64.b64encode(body).decode(),
    }
    if isinstance(call.session, AsyncSession):
        await call.session.run_sync(call.key.settle, result)
    else:
        await run_in_threadpool(call.key.settle, call.session, result)


def _replay(call: _Call) -> Response:
    assert call.stored is not None  # noqa: S101 - as _claimed() has found it
    stored = call.stored.result
    headers = {_REPLAYED: "true"}
    if stored["media_type"]:
        headers["content-type"] = stored["media_type"]
    return Response(base64.b64decode(stored["body"]), stored["status"], headers)


def _keys(request: Request) -> IdempotencyKeys:
    keys = getattr(request.app.state, KEYS, None)
    if isinstance(keys, IdempotencyKeys):
        return keys
    hint = "Call install(app, db, idempotency=IdempotencyKeys(metadata))."
    raise ConfigurationError("The application has no table of idempotency keys.", hint=hint)


async def _fingerprint(request: Request) -> str:
    """Hash what the request asks for, and who asks: nobody may read the answer to somebody else."""
    asked = (request.method, request.url.path, request.url.query, request.headers.get("authorization", ""))
    digest = hashlib.sha256("\0".join(asked).encode())
    digest.update(await request.body())
    return digest.hexdigest()
