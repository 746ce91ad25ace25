"""Let one unit of work at a time have an idempotency key, in this process: those that wait hold no connection."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Hashable
from concurrent.futures import Future, wait
from contextlib import ExitStack
from weakref import WeakSet

from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from querywright.errors import KeyInUse
from querywright.session.units.idempotency import IdempotencyKey

__all__ = ["Turns"]

_every: WeakSet[Turns] = WeakSet()


class Turns:
    """Give each key to one after the other, in the order of asking.

    A transaction that waits in the database for the row of another keeps its connection: without this, the repetitions
    of one slow unit of work would soon have all of them.

    Args:
        seconds: How long a turn is waited for; ``None`` means without end.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self.forget()
        _every.add(self)

    def forget(self) -> None:
        """Forget who has a turn: in a forked process nobody has, and another thread may have held the lock."""
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, deque[Future[None]]] = {}

    def take(self, key: IdempotencyKey | None, *, patient: bool = True) -> ExitStack:
        """Wait for the turn of a key; to be called in a greenlet where there is an event loop.

        Args:
            key: The key; without one there is nothing to wait for.
            patient: Whether to wait at all.

        Returns:
            What is to be left when the transaction has ended.

        Raises:
            KeyInUse: The turn did not come in time.
        """
        held = ExitStack()
        if key is not None:
            name = (key.table, key.value)
            turn = self._ask(name)
            try:
                _wait(turn, self._seconds if patient else 0)
            except BaseException:
                # It may have come together with the cancellation.
                if not self._withdraw(name, turn):
                    self._leave(name)
                raise
            if self._withdraw(name, turn):
                raise KeyInUse
            held.callback(self._leave, name)
        return held

    def _ask(self, name: Hashable) -> Future[None]:
        turn: Future[None] = Future()
        with self._lock:
            if name in self._waiting:
                self._waiting[name].append(turn)
            else:
                self._waiting[name] = deque()
                turn.set_result(None)
        return turn

    def _withdraw(self, name: Hashable, turn: Future[None]) -> bool:
        """Give up waiting; ``False`` if the turn has come."""
        with self._lock:
            if turn.done():
                return False
            self._waiting[name].remove(turn)
            return True

    def _leave(self, name: Hashable) -> None:
        with self._lock:
            # A process that was forked meanwhile has none to leave.
            if waiting := self._waiting.get(name):
                waiting.popleft().set_result(None)
            else:
                self._waiting.pop(name, None)


def _wait(turn: Future[None], seconds: float | None) -> None:
    if turn.done():
        return
    if in_greenlet():
        await_only(asyncio.wait([asyncio.wrap_future(turn)], timeout=seconds))
    else:
        wait([turn], timeout=seconds)


def _forget_all() -> None:
    for turns in list(_every):
        turns.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
