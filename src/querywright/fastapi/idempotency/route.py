"""Answer a repeated POST as the first time: the response is stored in the transaction that did the work.

The header and its rules: "The Idempotency-Key HTTP Header Field", draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from email.message import Message
from functools import partial, wraps
from typing import Annotated, Any, ClassVar

from fastapi import Depends, Header, Request, Response
from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute
from pydantic import StringConstraints
from sqlalchemy.util import greenlet_spawn

from querywright.errors import ConfigurationError, InvalidRequest, KeyReused
from querywright.fastapi.answers import FIRST_ERROR, in_own_thread, keep_nothing_raised, leave_last
from querywright.fastapi.code.writers import writes
from querywright.fastapi.dependencies import STATE, session_of
from querywright.fastapi.idempotency.replays import REPLAYED_HEADERS, keep, replay
from querywright.fastapi.responses.json import adopt_status
from querywright.session import AsyncSession, IdempotencyKey, IdempotencyKeys, Session
from querywright.session.units.idempotency import LONGEST_KEY, Stored

__all__ = ["KEYS", "IdempotentRoute", "everybody", "keys_of"]

KEYS = "querywright_idempotency"
_HEADER = "Idempotency-Key"
_Key = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_KEY)]
_DECLARED = Header(alias=_HEADER, description="Names the request: a known name is answered as the first time.")
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_NAMES: Any = (str, int, uuid.UUID)


class _Replay(Exception):
    """The request was answered before; with what was kept of the answer."""

    def __init__(self, kept: dict[str, Any]) -> None:
        super().__init__()
        self.kept = kept


@dataclass
class _Call:
    """A request with a key.

    Attributes:
        request: The request.
        value: The key, as its header has it.
        fingerprint: A hash of what the request asks for.
        caller: Who sends it, as the application says.
        key: The key of this caller.
        session: The transaction in which it is answered.
        committed: Whether that is committed whatever the status of the response.
    """

    request: Request
    value: str
    fingerprint: str
    caller: Any = None
    key: IdempotencyKey | None = None
    session: AsyncSession | Session | None = None
    committed: bool = False


_call: ContextVar[_Call | None] = ContextVar("querywright_idempotent_call", default=None)


def everybody() -> str:
    """Be the `IdempotentRoute.caller` of what is open to the public: all callers share their keys.

    Whoever knows a key and the request that was sent with it gets the answer, cookies included.
    """
    # No header, cookie or certificate holds this character, so it is nobody's name.
    return "\0"


class IdempotentRoute(APIRoute):
    """A route that writes, and answers a request with a known ``Idempotency-Key`` as it did before.

    The key is written in the transaction of its `Writer`, with the response: both are durable, or neither is. A key
    belongs to its caller: another one may use the same for something else. The same key of the same caller with another
    path, query or body is a 422. A request with the key of one that is running waits for it, without a connection where
    both are in one process, and for at most the setting ``lock_timeout``; then it is a 409 with ``Retry-After``. A
    request without the header is an ordinary one.

    Derive a class of your own from it, with a `caller`, and use that as ``APIRouter(route_class=...)``, after
    ``install(app, db, idempotency=IdempotencyKeys(...))``.

    Attributes:
        caller: ``Depends()`` of a function that returns who sends the request, such as the key of a user: a string,
            integer or UUID. Not the text of a token, which changes when it is renewed. ``None`` or an empty string
            means that nobody is known: with a key, such a request is a 422. `everybody` is for public routes.
        required: Whether a request without the header is refused.
        replayed: The headers of the first response that a replay has as well.

    Raises:
        ConfigurationError: Nothing says who the caller is, the path operation does not take a `Writer`, or the
            application has no table of keys.

    Example:
        >>> from typing import Annotated
        >>> from fastapi import APIRouter, Depends, Header
        >>> def partner(x_api_key: Annotated[str, Header()]) -> str:
        ...     return x_api_key
        >>> class PartnerRoute(IdempotentRoute):
        ...     caller = Depends(partner)
        >>> router = APIRouter(route_class=PartnerRoute)
    """

    caller: ClassVar[Dependency | None] = None
    required: ClassVar[bool] = False
    replayed: ClassVar[frozenset[str]] = REPLAYED_HEADERS

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if not isinstance(self.caller, Dependency):
            message = f"{type(self).__name__} does not say whose the keys of {path} are."
            hint = f"Write class Route({type(self).__name__}): caller = Depends(...), or Depends(everybody)."
            raise ConfigurationError(message, hint=hint)
        guarded = _guarded(endpoint)
        # Older versions of FastAPI look for the names of annotations where the wrapper is, not in the user's module.
        with suppress(NameError):
            setattr(guarded, "__signature__", inspect.signature(endpoint, eval_str=True))  # noqa: B010 - functions have none
        declared = Depends(_required if self.required else _optional)
        given = [each for each in options.get("dependencies") or () if each != declared]
        options["dependencies"] = [*given, declared, Depends(_noting(self.caller))]
        super().__init__(path, guarded, **options)
        if not writes(self.dependant):
            message = f"{path} does not take a Writer, so there is no transaction to keep its key in."
            raise ConfigurationError(message, hint="Add a parameter of type Writer, or use another route class.")

    def get_route_handler(self) -> Handler:
        """Wrap the handler: find the key before, store the response after."""
        handle, replayed = super().get_route_handler(), frozenset(map(str.lower, self.replayed))

        async def answer(request: Request) -> Response:
            value = _value(request)
            # Where it is required, FastAPI misses it. The body first: whoever parses a form leaves nothing of it.
            call = None if value is None else _Call(request, value, await _fingerprint(request))
            token = _call.set(call)
            try:
                response = await handle(request)
                if call is not None:
                    await _settle(call, response, replayed)
            except _Replay as known:
                return replay(known.kept)
            except KeyReused as error:
                error.location = ("header", _HEADER)
                raise
            finally:
                _call.reset(token)
            return response

        return answer


# Not as ``str | None``: of a union FastAPI's 422 names each member, as a part of the request.
_NOT_SENT: Any = None


# Their parameters are for OpenAPI, and for FastAPI to refuse a request without the header where it is required.
async def _required(_value: Annotated[_Key, _DECLARED]) -> None: ...


async def _optional(_value: Annotated[_Key, _DECLARED] = _NOT_SENT) -> None: ...


def _noting(caller: Dependency) -> Callable[..., Any]:
    """Make a dependency that notes who the caller is."""

    async def note(who: Any = caller) -> None:
        if call := _call.get():
            call.caller = who

    return note


def _guarded(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Let a path operation run only if its key is new; by then every dependency, such as a login, has agreed.

    Older versions of FastAPI make a route again when its router is included, so this may be done twice.
    """
    asynchronous = inspect.iscoroutinefunction(endpoint)

    # Also for a synchronous one: to wait in a thread would take one of the few that there are.
    @wraps(endpoint)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        if (call := _call.get()) and call.session is None:
            await _begin(call)
        return await (endpoint(*args, **kwargs) if asynchronous else in_own_thread(partial(endpoint, *args, **kwargs)))

    return guarded


async def _begin(call: _Call) -> None:
    """Claim the key of a request, once it is its turn."""
    session, call.committed = session_of(call.request)
    call.key = _key(call)
    sync: Session = session.sync_session if isinstance(session, AsyncSession) else session
    turns = getattr(call.request.app.state, STATE).turns
    # If a dependency has used the transaction, it has a connection, and to wait with it could take them all.
    turn = await greenlet_spawn(turns.take, call.key, patient=not sync.begun)
    leave_last(call.request, turn)
    # Of what is raised there would be a key without a response.
    keep_nothing_raised(call.request)
    stored: Stored | None = await _in_session(session, call.key.claim)
    if stored is not None:
        raise _Replay(stored.result)
    call.session = session


async def _settle(call: _Call, response: Response, replayed: frozenset[str]) -> None:
    """Store the response; the transaction is still open, and ends before the response is sent."""
    if call.session is None or call.key is None or (response.status_code >= FIRST_ERROR and not call.committed):
        # What was done is rolled back, with the key: a repetition does it anew.
        return
    adopt_status(response, call.request.scope)
    await _in_session(call.session, call.key.settle, keep(response, replayed))


async def _in_session(session: AsyncSession | Session, work: Callable[..., Any], *arguments: Any) -> Any:
    if isinstance(session, AsyncSession):
        return await session.run_sync(work, *arguments)
    return await in_own_thread(work, session, *arguments)


def _key(call: _Call) -> IdempotencyKey:
    keys = keys_of(call.request.app)
    if call.caller is None or call.caller == "":
        raise InvalidRequest(
            f"The request does not say who sends it, so it cannot have the header {_HEADER}.",
            location=("header", _HEADER),
        )
    if not isinstance(call.caller, _NAMES) or isinstance(call.caller, bool):
        message = (
            f"The caller of an idempotency key is a string, an integer or a UUID, not {type(call.caller).__name__}."
        )
        raise ConfigurationError(message)
    return keys(call.value, fingerprint=call.fingerprint, caller=call.caller)


def keys_of(app: Any) -> IdempotencyKeys:
    """Return the table of keys of an application.

    Raises:
        ConfigurationError: It has none.
    """
    keys = getattr(app.state, KEYS, None)
    if not isinstance(keys, IdempotencyKeys):
        hint = "Call install(app, db, idempotency=IdempotencyKeys(metadata))."
        raise ConfigurationError("The application has no table of idempotency keys.", hint=hint)
    return keys


def _value(request: Request) -> str | None:
    values = request.headers.getlist(_HEADER)
    if len(values) > 1:
        raise InvalidRequest(f"The request has several headers {_HEADER}.", location=("header", _HEADER))
    return next(iter(values), None)


async def _fingerprint(request: Request) -> str:
    """Hash what the request asks for."""
    # Not of request.url, which cannot be made of every Host and every query that a client may send.
    query = request.scope["query_string"].decode("latin-1")
    asked = (request.method, request.scope["path"], query)
    # With their lengths: what ends the query must not be able to begin the body.
    digest = hashlib.sha256("".join(f"{len(part)}:{part}" for part in asked).encode())
    digest.update(_without_boundary(request.headers.get("content-type", ""), await request.body()))
    return digest.hexdigest()


def _without_boundary(content_type: str, body: bytes) -> bytes:
    """Leave out of a form with files what stands between its parts: a client invents it for each request."""
    kind = Message()
    kind["content-type"] = content_type
    boundary = kind.get_boundary() if kind.get_content_maintype() == "multipart" else None
    if not boundary:
        return body
    # Only where it is one: no part has it at the beginning of a line (RFC 2046, section 5.1.1).
    return re.sub(rb"(\A|\r\n)--" + re.escape(boundary.encode(errors="replace")), rb"\1--", body)
