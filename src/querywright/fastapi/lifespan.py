"""Check the application when it starts, and close the database when it stops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from querywright.fastapi.code.writers import check_writers
from querywright.fastapi.starting import require_installed
from querywright.fetching.checks import require_fitting
from querywright.session import AsyncDatabase, Database

__all__ = ["Lifespan", "lifespan"]

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def lifespan(db: AsyncDatabase | Database) -> Lifespan:
    """Make a lifespan that closes the database's connections when the application stops.

    Nothing is opened at start: an application whose database is down still starts, answers 503, and recovers. A session
    of one's own that ends after the response was sent is warned of. What each request would fail of ends the start: a
    `Reader`, a `Writer` or keys that are not installed by a `ConfigurationError`; a query that `prepare` has declared
    and that does not fit its class, or cannot be written in the database's SQL, by a `ShapeError`.

    Args:
        db: The database that the application uses.

    Example:
        >>> from fastapi import FastAPI
        >>> from querywright import AsyncDatabase
        >>> db = AsyncDatabase("sqlite+aiosqlite:///:memory:")
        >>> app = FastAPI(lifespan=lifespan(db))
    """

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        require_installed(app)
        check_writers(app)
        require_fitting(db.engine.dialect)
        try:
            yield
        finally:
            if isinstance(db, AsyncDatabase):
                await db.dispose()
            else:
                await run_in_threadpool(db.dispose)

    return run
