"""Refuse a unit of work that would come back undone: a generator, or a coroutine that nobody awaits."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from querywright.errors import ConfigurationError

__all__ = ["require_awaitable", "require_done", "require_work"]

Result = TypeVar("Result")


def require_work(work: Callable[..., Any], *, asynchronous: bool) -> None:
    """Look at a function before it is called.

    Raises:
        ConfigurationError: It is a generator function, or a coroutine function for a synchronous database.
    """
    if inspect.isgeneratorfunction(work) or inspect.isasyncgenfunction(work):
        raise _undone(work, "a generator function, of which nothing runs until somebody asks for its values")
    if inspect.iscoroutinefunction(work) and not asynchronous:
        raise _undone(work, "a coroutine function, and this database is synchronous")


def require_done(work: Callable[..., Any], result: Result) -> Result:
    """Return what a unit of work has returned.

    Raises:
        ConfigurationError: It is something that would still have to run, in a transaction that is over.
    """
    if inspect.isgenerator(result) or inspect.iscoroutine(result) or inspect.isasyncgen(result):
        if not inspect.isasyncgen(result):
            result.close()
        raise _undone(work, f"a function that returned a {type(result).__name__}, which has not run")
    return result


def require_awaitable(work: Callable[..., Any], result: Awaitable[Result]) -> Awaitable[Result]:
    """Return what a unit of work has returned to be awaited.

    Raises:
        ConfigurationError: It cannot be awaited.
    """
    if not inspect.isawaitable(result):
        raise _undone(work, f"a function that returned a {type(result).__name__}, and this database is asynchronous")
    return result


def _undone(work: Callable[..., Any], what: str) -> ConfigurationError:
    name = getattr(work, "__qualname__", repr(work))
    return ConfigurationError(f"{name} is {what}.", hint="Write a plain function, or async def for an AsyncDatabase.")
