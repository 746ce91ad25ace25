"""The routes of an application as requests meet them: with what an included router adds, and those of mounted ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import fastapi.routing
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from starlette.routing import Host, Mount, Route, WebSocketRoute

from querywright.errors import ConfigurationError

__all__ = ["declared", "dependants", "in_context", "routes_of"]


def in_context(routes: Sequence[Any]) -> Iterable[Any]:
    """List routes with the prefixes and dependencies of the routers that they are included by."""
    # Newer versions of FastAPI do not copy the routes of a router that is included.
    contexts = getattr(fastapi.routing, "iter_route_contexts", None)
    return routes if contexts is None else contexts(routes)


def declared(route: Any) -> Any:
    """Return the route that was declared, without what an included router adds."""
    return getattr(route, "original_route", route)


def routes_of(app: FastAPI) -> Iterator[tuple[FastAPI, Any]]:
    """List the path operations and websockets of an application and of those mounted in it, each with its own.

    Raises:
        ConfigurationError: There is a route of a kind whose dependencies are not known.
    """
    yield from _routes(app, app.routes)


def _routes(app: FastAPI, routes: Sequence[Any]) -> Iterator[tuple[FastAPI, Any]]:
    for route in in_context(routes):
        if isinstance(getattr(route, "dependant", None), Dependant):
            yield app, route
        elif isinstance(declared(route), (Mount, Host)):
            inner = _mounted(route)
            yield from _routes(inner if isinstance(inner, FastAPI) else app, getattr(inner, "routes", ()))
        elif not isinstance(declared(route), (Route, WebSocketRoute)):
            kind = type(declared(route)).__qualname__
            message = f"Nobody can tell which dependencies a {kind} has, and so not when they commit."
            hint = "Give it an attribute dependant (fastapi.dependencies.models.Dependant), or derive it from Route."
            raise ConfigurationError(message, hint=hint)


def _mounted(route: Any) -> Any:
    """Return what is mounted, without the middleware around it."""
    inner = route.app
    while not hasattr(inner, "routes") and hasattr(inner, "app"):
        inner = inner.app
    return inner


def dependants(dependant: Dependant) -> Iterator[Dependant]:
    """List a path operation and its dependencies, with theirs."""
    yield dependant
    for below in dependant.dependencies:
        yield from dependants(below)
