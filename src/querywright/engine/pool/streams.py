"""Bound how many connections streams hold: whoever reads slowly holds one for as long as it likes."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, Engine
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from querywright.errors import TooManyStreams

__all__ = ["install_streams", "place_for_stream"]


class _Places:
    """The places of an engine's streams, for threads and tasks of any event loop; given in the order of asking.

    Args:
        most: How many there are.
        seconds: How long to wait for one.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._taken = 0
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Take a place, or wait for one.

        Raises:
            TooManyStreams: None became free in time.
        """
        with self._lock:
            if self._taken < self._most:
                self._taken += 1
                return
            turn: Future[None] = Future()
            self._waiting.append(turn)
        try:
            _wait(turn, self._seconds)
        except BaseException as error:
            if not turn.cancel():
                # It was given at the same moment.
                self.give_back()
            if isinstance(error, (FutureTimeoutError, asyncio.TimeoutError)):
                raise TooManyStreams(most=self._most, seconds=self._seconds) from None
            raise

    def give_back(self) -> None:
        """Hand a place on to whoever waits first."""
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    turn.set_result(None)
                    return
            self._taken -= 1


def _wait(turn: Future[None], seconds: float) -> None:
    if in_greenlet():
        await_only(asyncio.wait_for(asyncio.wrap_future(turn), seconds))
    else:
        turn.result(seconds)


# By the dialect, which an engine shares with those of other execution options, and keeps when its pool is replaced.
_places: WeakKeyDictionary[Dialect, _Places] = WeakKeyDictionary()


def install_streams(engine: Engine, *, most: int, seconds: float) -> None:
    """Let no more than ``most`` streams of an engine read at once."""
    _places[engine.dialect] = _Places(most, seconds)


@contextmanager
def place_for_stream(target: Engine | Connection) -> Iterator[None]:
    """Have a place while a stream reads; one in a transaction of somebody else has its connection already.

    Raises:
        TooManyStreams: None became free in time.
    """
    places = _places.get(target.dialect) if isinstance(target, Engine) else None
    if places is None:
        yield
        return
    places.take()
    try:
        yield
    finally:
        places.give_back()
