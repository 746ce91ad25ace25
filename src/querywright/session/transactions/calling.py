"""Call the hooks of a transaction that has ended: each for a limited time, and none lost because of another."""

from __future__ import annotations

import asyncio
import inspect
import logging
import queue
import threading
from collections.abc import Awaitable, Sequence
from contextvars import copy_context

from querywright.engine.reports import lines_of, report_of
from querywright.events import HookFailed, emit
from querywright.session.transactions.hooks import Call

__all__ = ["call_all", "call_all_async"]

_log = logging.getLogger("querywright")
# How many seconds a hook has left once whoever waits for it was cancelled, or once it was cancelled itself.
_GRACE = 1.0


def call_all(calls: Sequence[Call], limit: float) -> None:
    """Call each in turn, in another thread: nobody can interrupt a function that waits for a network.

    Args:
        calls: What to call. One that fails is reported, and one that takes too long is left to itself.
        limit: Seconds for each.
    """
    rest = list(calls)
    while rest:
        caller = _Caller(rest)
        caller.start()
        while rest and caller.has_ended_one(limit):
            rest.pop(0)
        if rest:
            _report(rest.pop(0), TimeoutError(f"It took longer than {limit} seconds."))


class _Caller(threading.Thread):
    """Make calls one after the other, until it is left."""

    def __init__(self, calls: Sequence[Call]) -> None:
        super().__init__(daemon=True, name="querywright-hooks")
        self._calls = list(calls)
        self._context = copy_context()
        self._ended: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._left = False

    def run(self) -> None:
        for call in self._calls:
            with self._lock:
                if self._left:
                    return
            try:
                self._context.run(call.function, *call.arguments)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the transaction has ended well without it
                _report(call, error)
            self._ended.put(call)

    def has_ended_one(self, limit: float) -> bool:
        """Wait until the next call has ended; if it does not in time, leave the thread, which makes no other."""
        try:
            self._ended.get(timeout=limit)
        except queue.Empty:
            with self._lock:
                self._left = self._ended.empty()
            return not self._left and self.has_ended_one(limit)
        return True


async def call_all_async(calls: Sequence[Call], limit: float) -> None:
    """Call each in turn, and await what is to be awaited.

    Args:
        calls: What to call. One that fails is reported, and one that takes too long is cancelled.
        limit: Seconds for each that is awaited.

    Raises:
        asyncio.CancelledError: The caller was cancelled meanwhile; raised once all have been called.
    """
    cancellation: asyncio.CancelledError | None = None
    for call in calls:
        try:
            result = call.function(*call.arguments)
            if inspect.isawaitable(result):
                seconds = limit if cancellation is None else min(limit, _GRACE)
                cancellation = await _awaited(call, result, seconds) or cancellation
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - as above; what is raised here is its own
            _report(call, error)
    if cancellation is not None:
        raise cancellation


async def _awaited(call: Call, result: Awaitable[object], seconds: float) -> asyncio.CancelledError | None:
    """Await a result for a limited time, and less once the caller is cancelled; return that cancellation."""
    task = asyncio.ensure_future(_as_coroutine(result))
    cancellation = await _until_done(task, seconds)
    in_time = task.done()
    if not in_time:
        task.cancel()
        cancellation = await _until_done(task, _GRACE) or cancellation
    if not in_time or task.cancelled():
        _report(call, TimeoutError("It was cancelled: it took too long, or whoever waited for it was cancelled."))
    elif (error := task.exception()) is not None:
        _report(call, error)
    return cancellation


async def _as_coroutine(result: Awaitable[object]) -> object:
    return await result


async def _until_done(task: asyncio.Task[object], seconds: float) -> asyncio.CancelledError | None:
    clock = asyncio.get_running_loop().time
    end, cancellation = clock() + seconds, None
    while not task.done() and (left := end - clock()) > 0:
        try:
            await asyncio.wait({task}, timeout=left)
        except asyncio.CancelledError as error:
            # anyio cancels again at every await, until its scope is left.
            end = min(end, clock() + _GRACE) if cancellation is None else end
            cancellation = error
    return cancellation


def _report(call: Call, error: BaseException) -> None:
    name = getattr(call.function, "__qualname__", type(call.function).__qualname__)
    _log.error("The hook %s of a transaction failed: %s%s", name, report_of(error), lines_of(error))
    emit(HookFailed(name, error))
