"""Answer every request that does not fit, a 422, in one format, whoever has found it: FastAPI, a fetch or a column."""

from __future__ import annotations

import json
from http import HTTPStatus
from inspect import iscoroutinefunction
from typing import Any

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.exception_handlers import request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from querywright.errors import InvalidRequest, QuerywrightError

__all__ = ["answers_problems", "answers_standard", "install_refusals", "refuse"]

# FastAPI's format wants to name a part of the request: where it is not known.
_SOMEWHERE = ("request",)


def install_refusals(app: FastAPI, *, problems: bool) -> None:
    """Answer a request that does not fit.

    Args:
        app: The application; a handler of its own stays, if there are to be no problem details.
        problems: Whether with problem details, and not in FastAPI's own format.
    """
    if problems or app.exception_handlers.get(RequestValidationError) is request_validation_exception_handler:
        handle = _as_problem if problems else _as_standard
        app.add_exception_handler(RequestValidationError, handle)  # type: ignore[arg-type]  # its type forgets websockets


def answers_problems(app: FastAPI) -> bool:
    """Return whether a 422 has problem details."""
    return app.exception_handlers.get(RequestValidationError) is _as_problem


def answers_standard(app: FastAPI) -> bool:
    """Return whether a 422 has FastAPI's own format."""
    return app.exception_handlers.get(RequestValidationError) is _as_standard


async def refuse(connection: HTTPConnection, error: QuerywrightError) -> Response:
    """Answer an error with whatever the application answers to what FastAPI finds wrong with a request."""
    message = str(error) if isinstance(error, InvalidRequest) else error.message
    location = error.location if isinstance(error, InvalidRequest) else ()
    found = {"type": _kind(error), "loc": location or _SOMEWHERE, "msg": message, "input": None}
    handle: Any = connection.app.exception_handlers.get(RequestValidationError, _as_standard)
    refusal = RequestValidationError([found])
    if iscoroutinefunction(handle):
        response: Response = await handle(connection, refusal)
        return response
    return await run_in_threadpool(handle, connection, refusal)


def _kind(error: QuerywrightError) -> str:
    """Name the class of an error as Pydantic names its kinds: ``InvalidCursor`` is ``invalid_cursor``."""
    name = type(error).__name__
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).removeprefix("_")


async def _as_standard(request: Request, error: RequestValidationError) -> Response:
    """Answer as FastAPI does, which repeats what was sent: NaN, half of a surrogate pair and bytes have no JSON."""
    try:
        return await request_validation_exception_handler(request, error)
    except (ValueError, RecursionError):
        told = [{name: each[name] for name in ("type", "loc", "msg")} for each in error.errors()]
        # With escapes, for a name in it may be half of a pair as well.
        return Response(json.dumps({"detail": told}), HTTPStatus.UNPROCESSABLE_ENTITY, media_type="application/json")


async def _as_problem(_request: Request, error: RequestValidationError) -> Response:
    """Leave out what was sent: it may be a secret."""
    errors = [{name: each[name] for name in ("loc", "msg", "type")} for each in error.errors()]
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    detail = "; ".join(_sentence(each["loc"], each["msg"]) for each in errors)
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, "errors": errors}
    return Response(json.dumps(body), status.value, media_type="application/problem+json")


def _sentence(location: tuple[str | int, ...], message: str) -> str:
    return message if location == _SOMEWHERE else f"{'.'.join(map(str, location))}: {message}"
