"""See what a path operation has answered, at the end of its dependencies: the answer decides on the transaction."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from functools import partial
from types import FrameType, TracebackType
from typing import Any, TypeVar

import fastapi.routing
from anyio import CapacityLimiter, to_thread
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

__all__ = ["FIRST_ERROR", "InThread", "enter_last_to_leave", "in_own_thread", "keep_nothing_raised", "leave_last"]

Entered = TypeVar("Entered")
Result = TypeVar("Result")
# FastAPI ends with it what says scope="function": after the path operation, before the response is sent.
_STACK = "fastapi_function_astack"
FIRST_ERROR = 400
_LEAVING = AsyncExitStack.__aexit__.__code__
_KEPT = "querywright_keeps_nothing_raised"


class _Refused(Exception):
    """The path operation has answered with an error, without raising one, or what it raised was swallowed."""


async def enter_last_to_leave(
    connection: HTTPConnection, transaction: AbstractAsyncContextManager[Entered] | InThread[Entered], *, keep: bool
) -> Entered:
    """Enter a transaction that ends once all other dependencies with ``scope="function"`` have.

    It is rolled back if one of them fails, if a path operation returns a response with a status from 400 on, and if it
    raises, whoever swallows that: a dependency, or a route class that answers in its place.

    Args:
        connection: The request.
        transaction: What to enter.
        keep: Whether it is committed whatever the status, returned or raised as an `HTTPException`.
    """
    stack: AsyncExitStack = connection.scope[_STACK]
    others = stack.pop_all()
    try:
        return await stack.enter_async_context(_Answered(connection, transaction, keep=keep))
    finally:
        stack.push_async_exit(others)


def leave_last(connection: HTTPConnection, held: AbstractContextManager[object]) -> None:
    """Leave something after every transaction of a request has ended, before the response is sent.

    Args:
        connection: The request.
        held: What has been entered.
    """
    stack: AsyncExitStack = connection.scope[_STACK]
    others = stack.pop_all()
    stack.push(held)
    stack.push_async_exit(others)


def keep_nothing_raised(connection: HTTPConnection) -> None:
    """Have a transaction that keeps what was written commit only what a path operation has returned."""
    connection.scope[_KEPT] = True


async def in_own_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function that has a connection in a thread that is not of those which path operations share.

    All of them may be waiting for that connection.
    """
    return await to_thread.run_sync(partial(function, *arguments), limiter=CapacityLimiter(1))


class InThread(AbstractAsyncContextManager[Entered]):
    """Enter a synchronous transaction at once, which asks the database nothing, and leave it in a thread.

    What it leaves in the context has to be seen by the path operation, and a thread has a copy of its own.
    """

    def __init__(self, transaction: AbstractContextManager[Entered]) -> None:
        self._transaction = transaction

    async def __aenter__(self) -> Entered:
        return self._transaction.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await in_own_thread(self._transaction.__exit__, kind, error, trace)


class _Answered(AbstractAsyncContextManager[Entered]):
    """Leave a transaction with an error where the answer is one."""

    def __init__(
        self,
        connection: HTTPConnection,
        transaction: AbstractAsyncContextManager[Entered] | InThread[Entered],
        *,
        keep: bool,
    ) -> None:
        self._connection = connection
        self._transaction = transaction
        self._keep = keep
        self._handler: FrameType | None = None

    async def __aenter__(self) -> Entered:
        self._handler = _handler()
        return await self._transaction.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        # It holds all that the path operation was given.
        handler, self._handler = self._handler, None
        if self._keep and isinstance(error, HTTPException) and _KEPT not in self._connection.scope:
            # It is an answer.
            await self._transaction.__aexit__(None, None, None)
            return None
        if error is not None or not self._is_refused(handler):
            return await self._transaction.__aexit__(kind, error, trace)
        await self._transaction.__aexit__(_Refused, _Refused(), None)
        return None

    def _is_refused(self, handler: FrameType | None) -> bool:
        """Look at what nobody is passed: whether somebody has swallowed an error, and FastAPI's response."""
        if handler is not None and handler.f_locals["response"] is None and not self._keep:
            return True
        for frame in _callers():
            if frame.f_code is _LEAVING and frame.f_locals["suppressed_exc"]:
                return True
            if frame.f_code.co_filename == fastapi.routing.__file__ and "function_stack" in frame.f_locals:
                response = frame.f_locals.get("response")
                # A websocket has none.
                return isinstance(response, Response) and response.status_code >= FIRST_ERROR and not self._keep
        return False


def _handler() -> FrameType | None:
    """Find what makes a response of what the path operation returns: FastAPI's function that asks its dependencies.

    A websocket has none.
    """
    for frame in _callers():
        code = frame.f_code
        is_fastapis = code.co_filename == fastapi.routing.__file__
        if is_fastapis and {"response", "solved_result"} <= {*code.co_varnames, *code.co_cellvars}:
            return frame
    return None


def _callers() -> Iterator[FrameType]:
    """Walk through what is being called, from the inside out."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - nothing public leads to them
    while frame is not None:
        yield frame
        frame = frame.f_back
