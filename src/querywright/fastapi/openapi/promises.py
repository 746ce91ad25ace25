"""Find which problems a path operation can answer with: by its dependencies, and by what its code calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi.dependencies.models import Dependant

from querywright.errors import QuerywrightError
from querywright.fastapi.code.calls import Calls, calls_of
from querywright.fastapi.code.routes import dependants
from querywright.fastapi.dependencies import READERS, WRITERS
from querywright.fastapi.errors.problems import status_of
from querywright.fastapi.responses.etags import if_match, if_none_match, optional_if_match
from querywright.repository import AsyncUnitOfWork, UnitOfWork
from querywright.session import AsyncDatabase, Database

__all__ = ["Promises", "promises"]

_READING = {HTTPStatus.SERVICE_UNAVAILABLE}
_WRITING = {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE}
_MATCHING: dict[Callable[..., Any], set[HTTPStatus]] = {
    if_match: {HTTPStatus.PRECONDITION_FAILED, HTTPStatus.PRECONDITION_REQUIRED},
    optional_if_match: {HTTPStatus.PRECONDITION_FAILED},
}
# Of a database or session: they begin or end a transaction.
_BEGINNING = frozenset({"transaction", "run", "transactional", "begin", "commit"})
# What reads in plain sight, and finds no row without an error.
_VERBS = frozenset(
    {
        "all", "json", "page", "json_page", "first", "one_or_none", "stream", "stream_json", "count", "exists",
        "one", "json_one", "scalar", "scalars", "execute",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Promises:
    """What a path operation may answer beside its own responses.

    Attributes:
        statuses: The statuses of problems.
        narrowed: Whether a client may ask for fewer fields than the response model has.
        raised: The statuses of each HTTPException that it raises itself.
    """

    statuses: frozenset[HTTPStatus]
    narrowed: bool
    raised: frozenset[HTTPStatus] = frozenset()


def promises(dependant: Dependant, method: str) -> Promises:
    """Read what a path operation promises.

    Args:
        dependant: The path operation, with its dependencies.
        method: The method of the request.
    """
    depended = [each.call for each in dependants(dependant) if each.call is not None]
    calls = calls_of(depended)
    found = {status for call in depended for status in _of_dependency(call, method)} | set(_named(calls))
    if HTTPStatus.SERVICE_UNAVAILABLE in found or any(
        isinstance(each, (AsyncDatabase, Database)) for each in calls.values
    ):
        found |= _READING if _BEGINNING.isdisjoint(calls.names) else _WRITING
    unseen = bool(dependant.path_params) and _VERBS.isdisjoint(calls.names)
    if HTTPStatus.SERVICE_UNAVAILABLE in found and (calls.one or unseen):
        found.add(HTTPStatus.NOT_FOUND)
    return Promises(frozenset(found), calls.narrowed, frozenset(calls.raised))


def _of_dependency(call: Callable[..., Any], method: str) -> set[HTTPStatus]:
    if call in WRITERS:
        return _WRITING
    if call in READERS:
        return _READING
    if call is if_none_match:
        return {HTTPStatus.NOT_MODIFIED if method in {"GET", "HEAD"} else HTTPStatus.PRECONDITION_FAILED}
    return _MATCHING.get(call, set())


def _named(calls: Calls) -> Iterator[HTTPStatus]:
    """Give the statuses of the errors that code names, and of the units of work that it begins."""
    for each in filter(inspect.isclass, calls.values):
        if issubclass(each, QuerywrightError) and (status := status_of(each)) is not None:
            yield status
        if issubclass(each, (AsyncUnitOfWork, UnitOfWork)):
            yield from _WRITING
