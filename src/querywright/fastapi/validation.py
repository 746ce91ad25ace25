"""Answer a request that Pydantic has refused, also where what was sent cannot be sent back."""

from __future__ import annotations

import json
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exception_handlers import request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

__all__ = ["install_validation"]

_TOLD = ("type", "loc", "msg")


def install_validation(app: FastAPI) -> None:
    """Put a handler in the place of FastAPI's own; one of the application stays."""
    if app.exception_handlers.get(RequestValidationError) is request_validation_exception_handler:
        app.add_exception_handler(RequestValidationError, _handle)  # type: ignore[arg-type]  # its type forgets websockets


async def _handle(request: Request, error: RequestValidationError) -> Response:
    """Answer as FastAPI does, which repeats what was sent: NaN, half of a surrogate pair and bytes have no JSON."""
    try:
        return await request_validation_exception_handler(request, error)
    except (ValueError, RecursionError):
        told = [{name: each[name] for name in _TOLD} for each in error.errors()]
        # With escapes, for a name in it may be half of a pair as well.
        body = json.dumps({"detail": told})
        return Response(body, HTTPStatus.UNPROCESSABLE_ENTITY, media_type="application/json")
