"""Find what would commit after the response was sent, before the first request does."""

from __future__ import annotations

import inspect
import typing
import warnings
from functools import partial
from typing import Any

import sqlalchemy.ext.asyncio
import sqlalchemy.orm
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant

from querywright.fastapi.code.calls import calls_of
from querywright.fastapi.code.routes import dependants, routes_of
from querywright.fastapi.dependencies import READERS, WRITERS
from querywright.repository import AsyncUnitOfWork, UnitOfWork
from querywright.session import AsyncDatabase, Database

__all__ = ["LateCommitWarning", "check_writers", "writes"]

_SESSIONS = (sqlalchemy.orm.Session, sqlalchemy.ext.asyncio.AsyncSession, AsyncUnitOfWork, UnitOfWork)
_FACTORIES = (
    sqlalchemy.orm.sessionmaker,
    sqlalchemy.orm.scoped_session,
    sqlalchemy.ext.asyncio.async_sessionmaker,
    sqlalchemy.ext.asyncio.async_scoped_session,
)
# Of a database.
_OPENING = frozenset({"session", "transaction"})


class LateCommitWarning(UserWarning):
    """A dependency gives out a session and ends it after the response was sent."""


def check_writers(app: FastAPI) -> None:
    """Look at the dependencies of every route.

    FastAPI ends a dependency with ``yield`` after the response was sent, unless it says ``scope="function"``.

    Raises:
        ConfigurationError: There is a route of a kind whose dependencies are not known.
    """
    for _, route in routes_of(app):
        for dependant in dependants(route.dependant):
            _check(dependant, getattr(route, "path", "/"))


def writes(dependant: Dependant) -> bool:
    """Return whether a path operation takes a `Writer`, itself or through a dependency."""
    return any(each.call in WRITERS for each in dependants(dependant))


def _check(dependant: Dependant, path: str) -> None:
    if dependant.scope != "function" and _gives_session(dependant):
        name = getattr(dependant.call, "__qualname__", repr(dependant.call))
        message = f"{name}, a dependency of {path}, ends its session after the response was sent."
        warnings.warn(
            f"{message} If it commits, say Depends({name}, scope='function').", LateCommitWarning, stacklevel=2
        )


def _gives_session(dependant: Dependant) -> bool:
    """Return whether a dependency is a generator that yields a session: by its annotation, or else by its code."""
    generator = _generator(dependant.call)
    if generator is None:
        return False
    try:
        given = typing.get_args(typing.get_type_hints(generator).get("return"))
    except (NameError, TypeError):
        given = ()
    if not given or given[0] is Any:
        return _opens_session(generator, reads=any(each.call in READERS for each in dependant.dependencies))
    return any(inspect.isclass(each) and issubclass(each, _SESSIONS) for each in given)


def _generator(call: Any) -> Any:
    """Return the function with ``yield`` that runs where something is called; ``None`` if it is another one."""
    for each in (call, inspect.getattr_static(type(call), "__call__", None)):
        if inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each):
            return inspect.unwrap(each.func if isinstance(each, partial) else each)
    return None


def _opens_session(generator: Any, *, reads: bool) -> bool:
    """Return whether code makes a session, or asks a database for one that it names or is given."""
    calls = calls_of([generator])
    if any(
        isinstance(each, _FACTORIES) or (inspect.isclass(each) and issubclass(each, _SESSIONS)) for each in calls.values
    ):
        return True
    has_database = reads or any(isinstance(each, (AsyncDatabase, Database)) for each in calls.values)
    return has_database and not _OPENING.isdisjoint(calls.names)
