"""See what a path operation has answered, at the end of its dependencies: the answer decides on the transaction."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from types import FrameType, TracebackType
from typing import TypeVar

import fastapi.routing
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import Response

__all__ = ["FIRST_ERROR", "InThread", "enter_last_to_leave", "leave_last"]

Entered = TypeVar("Entered")
# FastAPI ends with it what says scope="function": after the path operation, before the response is sent.
_STACK = "fastapi_function_astack"
FIRST_ERROR = 400


class _Refused(Exception):
    """The path operation has answered with an error, without raising one."""


async def enter_last_to_leave(
    connection: HTTPConnection, transaction: AbstractAsyncContextManager[Entered] | InThread[Entered], *, keep: bool
) -> Entered:
    """Enter a transaction that ends once all other dependencies with ``scope="function"`` have.

    It is rolled back if one of them fails, and if a path operation returns a response with a status from 400 on.

    Args:
        connection: The request.
        transaction: What to enter.
        keep: Whether it is committed whatever the status.
    """
    stack: AsyncExitStack = connection.scope[_STACK]
    others = stack.pop_all()
    try:
        return await stack.enter_async_context(transaction if keep else _Answered(transaction))
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
        return await run_in_threadpool(self._transaction.__exit__, kind, error, trace)


class _Answered(AbstractAsyncContextManager[Entered]):
    """Leave a transaction with an error where the answer is one."""

    def __init__(self, transaction: AbstractAsyncContextManager[Entered]) -> None:
        self._transaction = transaction

    async def __aenter__(self) -> Entered:
        return await self._transaction.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        response = None if error is not None else _response()
        if response is None or response.status_code < FIRST_ERROR:
            return await self._transaction.__aexit__(kind, error, trace)
        await self._transaction.__aexit__(_Refused, _Refused(), None)
        return None


def _response() -> Response | None:
    """Return the response that FastAPI has in hand while it ends its dependencies; it passes it to nobody."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - see above
    while frame is not None:
        if frame.f_code.co_filename == fastapi.routing.__file__ and "function_stack" in frame.f_locals:
            response = frame.f_locals.get("response")
            return response if isinstance(response, Response) else None
        frame = frame.f_back
    return None
