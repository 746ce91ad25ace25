"""Keep what databases say of rows out of the errors that leave an application: its server logs them whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from querywright.engine.reports import reported

__all__ = ["Uncaught", "in_lifespan"]


class Uncaught:
    """A middleware around what no handler answers: errors of background tasks and of responses that have begun.

    Args:
        app: What it is around.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application, and raise what it raises, with reports in the place of a database's errors."""
        try:
            await self._app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - it is raised below
            uncaught = error
        else:
            return
        # Outside of the block, which would add the error that it was.
        raise reported(uncaught)


def in_lifespan(lifespan: Lifespan[Any]) -> Lifespan[Any]:
    """Do the same for what starts and stops an application."""

    @asynccontextmanager
    async def run(app: Any) -> AsyncIterator[Any]:
        try:
            async with lifespan(app) as state:
                yield state
        except Exception as error:  # noqa: BLE001 - as above
            uncaught = error
        else:
            return
        raise reported(uncaught)

    return run
