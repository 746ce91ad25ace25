"""Tell an orchestrator whether the process lives and whether its database answers."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from querywright.engine import pool_snapshot, report_of
from querywright.fastapi.errors.problems import problem
from querywright.fastapi.errors.schemas import MEDIA_TYPE, PROBLEM, SCHEMAS
from querywright.session import AsyncDatabase, Database

__all__ = ["health_routes"]

_log = logging.getLogger("querywright")
_READY_SECONDS = 2.0
_SILENT = "The database does not answer."


def health_routes(db: AsyncDatabase | Database) -> APIRouter:
    """Make the routes ``/health/live`` and ``/health/ready``.

    Liveness touches nothing, so a database outage does not restart every process. Readiness makes one round trip,
    for at most two seconds and on a connection of its own: a pool that is used up is told of, and is no reason to send
    its requests to others, which have as many.
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
        try:
            await asyncio.wait_for(_probe(db), _READY_SECONDS)
        except (SQLAlchemyError, OSError, asyncio.TimeoutError) as error:
            _log.warning("Not ready: %s", report_of(error))
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, _SILENT, retry=True)
        if _is_saturated(db):
            _log.warning("Every connection of the pool is in use, all %d.", db.settings.most_connections)
            return JSONResponse({"status": "saturated"})
        return JSONResponse({"status": "ok"})

    return router


async def _probe(db: AsyncDatabase | Database) -> None:
    if isinstance(db, AsyncDatabase):
        await db.probe()
    else:
        # The threads of path operations may all be waiting for the pool.
        await to_thread.run_sync(db.probe, limiter=CapacityLimiter(1), abandon_on_cancel=True)


def _is_saturated(db: AsyncDatabase | Database) -> bool:
    engine = db.engine.sync_engine if isinstance(db, AsyncDatabase) else db.engine
    return pool_snapshot(engine).checked_out >= db.settings.most_connections
