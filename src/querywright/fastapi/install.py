"""Connect an application and a database."""

from __future__ import annotations

from fastapi import FastAPI

from querywright.fastapi.dependencies import STATE
from querywright.fastapi.health import health_routes
from querywright.fastapi.idempotency import KEYS
from querywright.fastapi.problems import install_handlers
from querywright.fastapi.uncaught import Uncaught, in_lifespan
from querywright.session import AsyncDatabase, Database, IdempotencyKeys

__all__ = ["install"]


def install(app: FastAPI, db: AsyncDatabase | Database, *, idempotency: IdempotencyKeys | None = None) -> None:
    """Give an application its database, error handlers and health routes.

    Args:
        app: The application.
        db: What `Reader` and `Writer` (for a `Database`: `SyncReader` and `SyncWriter`) will lead to.
        idempotency: The table of keys that `IdempotentRoute` needs.

    Example:
        >>> from fastapi import FastAPI
        >>> from querywright import AsyncDatabase
        >>> app = FastAPI()
        >>> install(app, AsyncDatabase("sqlite+aiosqlite:///:memory:"))
        >>> app.url_path_for("ready")
        '/health/ready'
    """
    setattr(app.state, STATE, db)
    setattr(app.state, KEYS, idempotency)
    install_handlers(app)
    app.add_middleware(Uncaught)
    app.router.lifespan_context = in_lifespan(app.router.lifespan_context)
    app.include_router(health_routes(db))
