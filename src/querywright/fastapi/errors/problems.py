"""Turn errors into RFC 9457 problem details that tell a client what it may know, and nothing else."""

from __future__ import annotations

import json
import logging
import sys
from http import HTTPStatus

from fastapi import FastAPI, WebSocket
from sqlalchemy.exc import NoResultFound, StatementError
from sqlalchemy.exc import TimeoutError as SATimeoutError
from sqlalchemy.orm.exc import StaleDataError
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.status import WS_1008_POLICY_VIOLATION, WS_1011_INTERNAL_ERROR

from querywright.engine import classify
from querywright.engine.reports import lines_of, report_of
from querywright.errors import (
    CommitOutcomeUnknown,
    Conflict,
    ConstraintViolation,
    DatabaseUnavailable,
    InvalidRequest,
    InvalidValue,
    KeyInUse,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    QuerywrightError,
    StaleData,
)
from querywright.fastapi.errors.refusals import refuse
from querywright.session.units.retry import leaves

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

__all__ = ["install_handlers", "problem", "status_of"]

_log = logging.getLogger("querywright")
_STATUS: tuple[tuple[type[QuerywrightError], HTTPStatus], ...] = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (KeyInUse, HTTPStatus.CONFLICT),
    (StaleData, HTTPStatus.CONFLICT),
    (PreconditionFailed, HTTPStatus.PRECONDITION_FAILED),
    (PreconditionRequired, HTTPStatus.PRECONDITION_REQUIRED),
    (InvalidRequest, HTTPStatus.UNPROCESSABLE_ENTITY),
    (InvalidValue, HTTPStatus.UNPROCESSABLE_ENTITY),
    (DatabaseUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (CommitOutcomeUnknown, HTTPStatus.SERVICE_UNAVAILABLE),
)
_RETRY_AFTER_SECONDS = "1"
_OURS = (QuerywrightError, StatementError, SATimeoutError, NoResultFound, StaleDataError)


def problem(status: HTTPStatus, detail: str = "", *, retry: bool = False) -> Response:
    """Make a response of the media type ``application/problem+json`` (RFC 9457).

    Args:
        status: The status.
        detail: What happened, for the client.
        retry: Whether it invites to try again.
    """
    body = {"type": "about:blank", "title": status.phrase, "status": status.value}
    if detail:
        body["detail"] = detail
    headers = {"Retry-After": _RETRY_AFTER_SECONDS} if retry else None
    return Response(json.dumps(body), status.value, headers, media_type="application/problem+json")


def install_handlers(app: FastAPI) -> None:
    """Answer the errors of Querywright and of databases with problem details."""
    for kind in _OURS:
        app.add_exception_handler(kind, _handle)  # type: ignore[arg-type]  # its type forgets websockets
    app.add_exception_handler(ExceptionGroup, _handle_group)  # type: ignore[arg-type]  # as above


def status_of(kind: type) -> HTTPStatus | None:
    """Return the status that an error of this class is answered with; ``None`` for 500 and what is not ours."""
    return next((status for known, status in _STATUS if issubclass(kind, known)), None)


async def _handle_group(connection: HTTPConnection, error: Exception) -> Response | None:
    """Answer what a task group raises as its first error, if all of them are such as are answered."""
    several = leaves(error)
    ours = [each for each in several if isinstance(each, _OURS)]
    if len(ours) < len(several):
        raise error
    return await _answer(connection, ours[0], error)


async def _handle(connection: HTTPConnection, error: Exception) -> Response | None:
    return await _answer(connection, error, error)


async def _answer(connection: HTTPConnection, error: Exception, raised: Exception) -> Response | None:
    known = _known(error)
    status = status_of(type(known)) or HTTPStatus.INTERNAL_SERVER_ERROR
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s: %s%s", _asked(connection), report_of(raised), lines_of(raised))
    elif isinstance(known, ConstraintViolation) and known is not error:
        # A client has broken a rule of the database: it is told in general which, and the log says by name.
        _log.warning("%s: %s", _asked(connection), report_of(raised))
    if isinstance(connection, WebSocket):
        # An open socket takes no response; RFC 6455, section 7.4.1: policy violation or internal error.
        server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        await connection.close(WS_1011_INTERNAL_ERROR if server_error else WS_1008_POLICY_VIOLATION)
        return None
    if status is HTTPStatus.INTERNAL_SERVER_ERROR or known is None:
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR)
    if status is HTTPStatus.UNPROCESSABLE_ENTITY:
        return await refuse(connection, known)
    detail = str(known) if isinstance(known, InvalidRequest) else known.message
    # Who does not know whether it was done (CommitOutcomeUnknown) must not be told to do it again.
    return problem(status, detail, retry=isinstance(known, DatabaseUnavailable))


def _known(error: Exception) -> QuerywrightError | None:
    if isinstance(error, StaleDataError) and not isinstance(error, StaleData):
        return StaleData()
    if isinstance(error, NoResultFound) and not isinstance(error, NotFound):
        # Of get_one() or one(): SQLAlchemy does not say of what.
        return NotFound("row")
    return error if isinstance(error, QuerywrightError) else classify(error)


def _asked(connection: HTTPConnection) -> str:
    """Name the route; the path of a request may hold a secret."""
    path = getattr(connection.scope.get("route"), "path", "a route")
    return f"{connection.scope.get('method', 'WEBSOCKET')} {path}"
