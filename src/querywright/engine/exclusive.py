"""Let one task or thread at a time use a session, and name both when a second one comes in between."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any

from querywright.errors import ConcurrentUse

__all__ = ["Holder", "describe", "exclusive", "runner"]

_HOLDER = "_querywright_holder"
Holder = asyncio.Task[Any] | threading.Thread


class exclusive:  # noqa: N801 - a context manager, read as a word
    """Use a session for the length of a ``with`` block; the same task may enter again.

    Under asyncio a second task can come in wherever the first one waits for the database: SQLAlchemy notices some of
    these overlaps and drivers notice others, each in words that do not tell who it was.

    Args:
        session: What only one may use.

    Raises:
        ConcurrentUse: Another task or thread is using it.
    """

    __slots__ = ("_entered", "_session")

    def __init__(self, session: object) -> None:
        self._session = session
        self._entered = False

    def __enter__(self) -> None:
        state = self._session.__dict__
        holder, here = state.get(_HOLDER), runner()
        if holder is None:
            state[_HOLDER] = here
            self._entered = True
        elif holder is not here:
            raise ConcurrentUse(describe(holder), describe(here))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._entered:
            del self._session.__dict__[_HOLDER]


def runner() -> Holder:
    """Return the task that runs now, or the thread where there is none."""
    try:
        return asyncio.current_task() or threading.current_thread()
    except RuntimeError:
        return threading.current_thread()


def describe(holder: Holder) -> str:
    """Name a task or thread for an error."""
    if isinstance(holder, threading.Thread):
        return f"thread {holder.name!r}"
    work = getattr(holder.get_coro(), "__qualname__", "")
    return f"task {holder.get_name()!r}" + (f" running {work}" if work else "")
