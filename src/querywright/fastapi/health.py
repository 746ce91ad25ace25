"""Tell an orchestrator whether the process lives and whether its database answers."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from querywright.fastapi.problems import problem
from querywright.fastapi.schemas import MEDIA_TYPE, PROBLEM, SCHEMAS
from querywright.session import AsyncDatabase, Database

__all__ = ["health_routes"]

_READY_SECONDS = 2.0
_SILENT = "The database does not answer."


def health_routes(db: AsyncDatabase | Database) -> APIRouter:
    """Make the routes ``/health/live`` and ``/health/ready``.

    Liveness touches nothing, so a database outage does not restart every process. Readiness makes one round trip,
    for at most two seconds.
    """
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live")
    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @router.get(
        "/ready", responses={503: {"description": _SILENT, "content": {MEDIA_TYPE: {"schema": SCHEMAS[PROBLEM]}}}}
    )
    async def ready() -> Response:
        """The database answers."""
        ping = db.ping() if isinstance(db, AsyncDatabase) else run_in_threadpool(db.ping)
        try:
            await asyncio.wait_for(ping, _READY_SECONDS)
        except (SQLAlchemyError, OSError, asyncio.TimeoutError):
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, _SILENT)
        return JSONResponse({"status": "ok"})

    return router
