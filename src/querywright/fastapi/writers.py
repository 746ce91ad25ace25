"""Find what would commit after the response was sent, before the first request does."""

from __future__ import annotations

import inspect
import typing
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy.ext.asyncio
import sqlalchemy.orm
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant

from querywright.fastapi.dependencies import WRITERS

__all__ = ["LateCommitWarning", "check_writers", "dependants", "writes"]

_SESSIONS = (sqlalchemy.orm.Session, sqlalchemy.ext.asyncio.AsyncSession)


class LateCommitWarning(UserWarning):
    """A dependency gives out a session and ends it after the response was sent."""


def check_writers(app: FastAPI) -> None:
    """Look at the dependencies of every route.

    FastAPI ends a dependency with ``yield`` after the response was sent, unless it says ``scope="function"``.
    """
    for route in _routes(app.routes):
        for dependant in dependants(route.dependant):
            _check(dependant, route.path)


def writes(dependant: Dependant) -> bool:
    """Say whether a path operation takes a `Writer`, itself or through a dependency."""
    return any(each.call in WRITERS for each in dependants(dependant))


def _check(dependant: Dependant, path: str) -> None:
    if dependant.scope != "function" and _gives_session(dependant.call):
        name = getattr(dependant.call, "__qualname__", repr(dependant.call))
        message = f"{name}, a dependency of {path}, ends its session after the response was sent."
        warnings.warn(
            f"{message} If it commits, say Depends({name}, scope='function').", LateCommitWarning, stacklevel=2
        )


def _gives_session(call: Any) -> bool:
    """Say whether a function is a generator that is annotated to yield a session."""
    if not (inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call)):
        return False
    try:
        given = typing.get_type_hints(call).get("return")
    except (NameError, TypeError):
        return False
    return any(inspect.isclass(each) and issubclass(each, _SESSIONS) for each in typing.get_args(given))


def _routes(routes: Iterable[Any]) -> Iterator[Any]:
    for route in routes:
        if hasattr(route, "dependant"):
            yield route
        # A router that was included, in newer versions of FastAPI, or an application that was mounted.
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        if not hasattr(route, "dependant"):
            yield from _routes(getattr(inner, "routes", ()))


def dependants(dependant: Dependant) -> Iterator[Dependant]:
    """List a path operation and its dependencies, with theirs."""
    yield dependant
    for below in dependant.dependencies:
        yield from dependants(below)
