"""Whatever way a route comes into an application: its dependencies are looked at when it starts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from sqlalchemy.orm import Session
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host, Match, Mount, Route
from starlette.staticfiles import StaticFiles

from querywright import AsyncDatabase, ConfigurationError
from querywright.fastapi import LateCommitWarning, SyncReader, install, lifespan


def late() -> Iterator[Session]:
    """Ends after the response was sent."""
    with Session() as session:
        yield session


LATE = [Depends(late)]


def router(dependencies: Any = ()) -> APIRouter:
    made = APIRouter(dependencies=dependencies)
    made.add_api_route("/a", lambda: None)
    return made


def included(app: FastAPI) -> None:
    app.include_router(router(), prefix="/x", dependencies=LATE)


def twice_included(app: FastAPI) -> None:
    outer = APIRouter(dependencies=LATE)
    outer.include_router(router(), prefix="/x")
    app.include_router(outer)


def of_the_router(app: FastAPI) -> None:
    app.include_router(router(LATE), prefix="/x")


def included_later(app: FastAPI) -> None:
    added = APIRouter()
    app.include_router(added, prefix="/x", dependencies=LATE)
    added.include_router(router())


def mounted(app: FastAPI) -> None:
    inner = FastAPI()
    inner.include_router(router(), dependencies=LATE)
    app.mount("/x", inner)


def mounted_with_middleware(app: FastAPI) -> None:
    inner = FastAPI(dependencies=LATE)
    inner.get("/a")(lambda: None)
    app.mount("/x", GZipMiddleware(inner))


def of_a_host(app: FastAPI) -> None:
    inner = FastAPI(dependencies=LATE)
    inner.get("/a")(lambda: None)
    app.router.routes.append(Host("api.example.com", inner))


WAYS: list[Callable[[FastAPI], None]] = [
    included, twice_included, of_the_router, included_later, mounted, mounted_with_middleware, of_a_host,
]  # fmt: skip


async def start(app: FastAPI) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))


@pytest.fixture
def app() -> FastAPI:
    db = AsyncDatabase("sqlite+aiosqlite:///:memory:")
    made = FastAPI(lifespan=lifespan(db))
    install(made, db)
    return made


@pytest.mark.parametrize("add", WAYS)
async def test_a_late_commit_is_seen(app: FastAPI, add: Callable[[FastAPI], None]) -> None:
    add(app)
    if add is included_later and not _follows(app):
        pytest.skip("this version of FastAPI copies the routes of a router when it is included")
    with pytest.warns(LateCommitWarning, match="late, a dependency of .*/a, ends its session"):
        await start(app)


def _follows(app: FastAPI) -> bool:
    return any(hasattr(each, "original_router") for each in app.routes)


async def test_what_an_included_router_needs_is_asked_for(app: FastAPI) -> None:
    def needed(_db: SyncReader) -> None: ...

    app.include_router(router(), prefix="/x", dependencies=[Depends(needed)])
    with pytest.raises(ConfigurationError, match="/x/a: The application's database is AsyncDatabase"):
        await start(app)


class Strange(BaseRoute):
    def matches(self, scope: Any) -> tuple[Match, Any]:
        return Match.NONE, {}


async def test_a_route_of_an_unknown_kind_is_refused(app: FastAPI) -> None:
    app.router.routes.append(Strange())
    with pytest.raises(ConfigurationError, match="which dependencies a Strange has"):
        await start(app)


async def test_routes_without_dependencies_are_none_of_ours(app: FastAPI) -> None:
    async def plain(_request: Any) -> PlainTextResponse:
        return PlainTextResponse("")

    app.router.routes.append(Route("/plain", plain))
    app.mount("/files", StaticFiles(directory="."))
    app.router.routes.append(Mount("/inner", routes=[Route("/plain", plain)]))
    app.add_api_websocket_route("/socket", plain)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await start(app)
