"""Find at start what each request of a route would fail of: no database, one of the other kind, no table of keys."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from querywright.errors import ConfigurationError
from querywright.fastapi.code.routes import declared, dependants, routes_of
from querywright.fastapi.dependencies import KINDS, installed
from querywright.fastapi.idempotency.route import IdempotentRoute, keys_of

__all__ = ["require_installed"]


def require_installed(app: FastAPI) -> None:
    """Look at every route, also of an application that is mounted, which has a database of its own.

    Raises:
        ConfigurationError: Something that a route needs is not installed.
    """
    for owner, route in routes_of(app):
        try:
            _require(owner, route)
        except ConfigurationError as error:
            raise ConfigurationError(f"{getattr(route, 'path', '/')}: {error.message}", hint=error.hint) from None


def _require(app: FastAPI, route: Any) -> None:
    for each in dependants(route.dependant):
        if each.call in KINDS and each.call not in app.dependency_overrides:
            kind: Any = KINDS[each.call]
            installed(app, kind)
    if isinstance(declared(route), IdempotentRoute):
        keys_of(app)
