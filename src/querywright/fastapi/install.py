"""Connect an application and a database."""

from __future__ import annotations

from fastapi import FastAPI

from querywright.errors import ConfigurationError
from querywright.fastapi.dependencies import STATE
from querywright.fastapi.errors.problems import install_handlers
from querywright.fastapi.errors.refusals import install_refusals
from querywright.fastapi.errors.uncaught import Uncaught, in_lifespan
from querywright.fastapi.health import health_routes
from querywright.fastapi.idempotency.route import KEYS
from querywright.fastapi.openapi.document import describe
from querywright.fastapi.responses.returned import refuse_unfinished
from querywright.session import AsyncDatabase, Database, IdempotencyKeys

__all__ = ["install"]


def install(
    app: FastAPI,
    db: AsyncDatabase | Database,
    *,
    idempotency: IdempotencyKeys | None = None,
    validation_problems: bool = False,
) -> None:
    """Give an application its database, error handlers and health routes, and have its OpenAPI tell of its errors.

    Args:
        app: The application.
        db: What `Reader` and `Writer` (for a `Database`: `SyncReader` and `SyncWriter`) will lead to.
        idempotency: The table of keys that `IdempotentRoute` needs.
        validation_problems: Whether every 422 has problem details; by default each has FastAPI's own format, or that
            of the application's own handler of ``RequestValidationError``.

    Raises:
        ConfigurationError: It has a database already, or this is none.

    Example:
        >>> from fastapi import FastAPI
        >>> from querywright import AsyncDatabase
        >>> app = FastAPI()
        >>> install(app, AsyncDatabase("sqlite+aiosqlite:///:memory:"))
        >>> app.url_path_for("ready")
        '/health/ready'
    """
    if not isinstance(db, (AsyncDatabase, Database)):
        message = f"An application is given an AsyncDatabase or a Database, not {type(db).__name__}."
        raise ConfigurationError(message, hint="Write install(app, AsyncDatabase(...)).")
    if (installed := getattr(app.state, STATE, None)) is not None:
        message = f"The application has a database already, {installed!r}; it can have one."
        hint = "Call install() once. To use another database in a test, write: with db.replaced_by(url)."
        raise ConfigurationError(message, hint=hint)
    setattr(app.state, STATE, db)
    setattr(app.state, KEYS, idempotency)
    install_handlers(app)
    install_refusals(app, problems=validation_problems)
    app.add_middleware(Uncaught)
    app.router.lifespan_context = in_lifespan(app.router.lifespan_context)
    refuse_unfinished()
    describe(app)
    app.include_router(health_routes(db))
