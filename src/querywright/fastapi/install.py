"""Connect an application and a database."""

from __future__ import annotations

from fastapi import FastAPI

from querywright.fastapi.dependencies import STATE
from querywright.fastapi.health import health_routes
from querywright.fastapi.problems import install_handlers
from querywright.session import AsyncDatabase, Database

__all__ = ["install"]


def install(app: FastAPI, db: AsyncDatabase | Database) -> None:
    """Give an application its database, error handlers and health routes.

    Args:
        app: The application.
        db: What `Reader` and `Writer` (for a `Database`: `SyncReader` and `SyncWriter`) will lead to.

    Example:
        >>> from fastapi import FastAPI
        >>> from querywright import AsyncDatabase
        >>> app = FastAPI()
        >>> install(app, AsyncDatabase("sqlite+aiosqlite:///:memory:"))
        >>> app.url_path_for("ready")
        '/health/ready'
    """
    setattr(app.state, STATE, db)
    install_handlers(app)
    app.include_router(health_routes(db))
