"""Tell subscribers what happened; silent and free when nobody listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

__all__ = [
    "FetchSplit",
    "HookFailed",
    "MessageDead",
    "MessageFailed",
    "MessagePublished",
    "RelayPaused",
    "StatementExecuted",
    "UnitRetried",
    "emit",
    "has_subscribers",
    "subscribe",
    "subscribed",
]


@dataclass(frozen=True)
class StatementExecuted:
    """One statement went to the database and came back.

    Attributes:
        sql: The statement, with placeholders and without values.
        seconds: The time from sending it to having its result.
    """

    sql: str
    seconds: float


@dataclass(frozen=True)
class FetchSplit:
    """A fetch ran one statement for each level, because its rows were too many or its lists too deep for one.

    Attributes:
        path: The response model.
        rows: How many rows it has at the root.
    """

    path: str
    rows: int


@dataclass(frozen=True)
class HookFailed:
    """A function given to ``on_commit`` or ``on_rollback`` raised; the transaction had ended already.

    Attributes:
        name: The function.
        error: What it raised.
    """

    name: str
    error: BaseException


@dataclass(frozen=True)
class UnitRetried:
    """A unit of work failed and is about to be run again.

    Attributes:
        name: The function.
        attempt: How many times it has been run.
        sqlstate: Why it failed, where the driver gave a code.
        pause: Seconds until it is run again.
    """

    name: str
    attempt: int
    sqlstate: str | None
    pause: float


@dataclass(frozen=True)
class MessagePublished:
    """A message of an outbox was published, and that was written down.

    Attributes:
        id: The message.
        topic: What it is about.
        attempts: How often publishing it was begun.
    """

    id: UUID
    topic: str
    attempts: int


@dataclass(frozen=True)
class MessageFailed:
    """A message of an outbox could not be published, and will be tried again.

    Attributes:
        id: The message.
        topic: What it is about.
        attempts: How often publishing it was begun.
        error: The class of the error, without its text.
        retry_in: Seconds until the next attempt.
    """

    id: UUID
    topic: str
    attempts: int
    error: str
    retry_in: float


@dataclass(frozen=True)
class MessageDead:
    """A message of an outbox was given up.

    Attributes:
        id: The message.
        topic: What it is about.
        attempts: How often publishing it was begun.
        error: The class of the last error, without its text.
    """

    id: UUID
    topic: str
    attempts: int
    error: str


@dataclass(frozen=True)
class RelayPaused:
    """A relay could not reach its database, and waits before it tries again.

    Attributes:
        error: The class of the error, without its text.
        seconds: How long it waits.
    """

    error: str
    seconds: float


Event = TypeVar("Event")
_subscribers: dict[type, tuple[Callable[[Any], object], ...]] = {}


def subscribe(event_type: type[Event], handler: Callable[[Event], object]) -> Callable[[], None]:
    """Call ``handler`` with every event of this type, in the thread or task where it happens.

    Args:
        event_type: The class of the events to receive.
        handler: A plain function; it must return quickly, and what it raises reaches the caller.

    Returns:
        A function that ends the subscription; calling it again does nothing.

    Example:
        >>> seen = []
        >>> unsubscribe = subscribe(StatementExecuted, seen.append)
        >>> emit(StatementExecuted("SELECT 1", 0.001))
        >>> unsubscribe()
        >>> seen
        [StatementExecuted(sql='SELECT 1', seconds=0.001)]
    """
    _subscribers[event_type] = (*_subscribers.get(event_type, ()), handler)

    def unsubscribe() -> None:
        left = list(_subscribers.get(event_type, ()))
        if handler in left:
            left.remove(handler)
        _subscribers[event_type] = tuple(left)

    return unsubscribe


@contextmanager
def subscribed(event_type: type[Event], handler: Callable[[Event], object]) -> Iterator[None]:
    """Subscribe for the length of a ``with`` block.

    Example:
        >>> seen = []
        >>> with subscribed(StatementExecuted, seen.append):
        ...     emit(StatementExecuted("SELECT 1", 0.001))
        >>> len(seen)
        1
    """
    unsubscribe = subscribe(event_type, handler)
    try:
        yield
    finally:
        unsubscribe()


def has_subscribers(event_type: type) -> bool:
    """Return whether building an event of this type is worth the time."""
    return bool(_subscribers.get(event_type))


def emit(event: object) -> None:
    """Hand the event to each subscriber of its type, in the order they subscribed."""
    for handler in _subscribers.get(type(event), ()):
        handler(event)
