"""Decide what becomes of a message after an attempt to publish it; pure."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from querywright.backoff import backoff
from querywright.errors import ConfigurationError
from querywright.events import MessageDead, MessageFailed, MessagePublished
from querywright.outbox.messages import DEAD, PENDING, PUBLISHED, Message

__all__ = ["Change", "Claim", "Event", "Outcome", "RelayOptions", "Settlement", "burial", "settlement"]

Event: TypeAlias = "MessagePublished | MessageFailed | MessageDead"
# Seconds: a moment so much later is still one.
_MOST = 10 * 365 * 86_400


@dataclass(frozen=True)
class RelayOptions:
    """How a relay publishes; the defaults give a message up after about an hour of failures.

    Attributes:
        concurrency: How many messages are published at once.
        timeout: Seconds to publish one message.
        lease: Seconds after which the message of a relay that died is published by another; it must leave time
            to write down what happened, so more than ``timeout``.
        poll: Seconds between two looks at an outbox that had nothing to publish.
        max_attempts: How many attempts fail before a message becomes a dead letter; see `Message.attempts`.
        backoff_base: Seconds that the wait after the first failure is below; doubled after each further one.
        backoff_cap: Seconds that no wait exceeds.
        retain: Seconds to keep published messages; 0 deletes them at once.

    Raises:
        ConfigurationError: An option cannot work.

    Example:
        >>> RelayOptions(timeout=2, max_attempts=3).lease
        30.0
    """

    concurrency: int = 16
    timeout: float = 10.0
    lease: float = 30.0
    poll: float = 1.0
    max_attempts: int = 20
    backoff_base: float = 1.0
    backoff_cap: float = 600.0
    retain: float = 0.0

    def __post_init__(self) -> None:
        for name in ("concurrency", "timeout", "lease", "poll", "max_attempts", "backoff_base", "backoff_cap"):
            if not 0 < getattr(self, name) <= _MOST:
                hint = "Make it positive, and no more than ten years."
                raise ConfigurationError(f"RelayOptions.{name} is {getattr(self, name)}.", hint=hint)
        if not 0 <= self.retain <= _MOST:
            hint = "Write 0 to keep nothing; ten years are the most."
            raise ConfigurationError(f"RelayOptions.retain is {self.retain}.", hint=hint)
        if self.lease <= self.timeout:
            message = f"RelayOptions.lease is {self.lease} s, but publishing may take {self.timeout} s."
            raise ConfigurationError(message, hint="Make the lease longer, or the timeout shorter.")


@dataclass(frozen=True)
class Claim:
    """A message that a relay holds.

    Attributes:
        position: Where it stands in the table.
        token: What the claim is known by; another relay that takes the message over writes its own.
        message: What to publish.
    """

    position: int
    token: uuid.UUID
    message: Message


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        claim: What was tried.
        result: ``released`` if the relay stopped before it could know.
        error: The class of the error that made it fail.
    """

    claim: Claim
    result: Literal["published", "failed", "released"]
    error: str = ""


@dataclass(frozen=True)
class Change:
    """What the columns of a message become."""

    state: str
    attempts: int
    due_at: dt.datetime | None = None
    settled_at: dt.datetime | None = None
    error: str | None = None
    claim: uuid.UUID | None = None


@dataclass(frozen=True)
class Settlement:
    """What to do with a message.

    Attributes:
        claim: The message, as long as the claim stands.
        change: What its columns become; ``None`` to delete it.
        event: What to tell of it.
    """

    claim: Claim
    change: Change | None
    event: Event | None


def settlement(outcome: Outcome, *, now: dt.datetime, options: RelayOptions, random: Callable[[], float]) -> Settlement:
    """Decide what becomes of a message."""
    claim, message = outcome.claim, outcome.claim.message
    if outcome.result == "published":
        kept = Change(PUBLISHED, message.attempts, settled_at=now) if options.retain else None
        return Settlement(claim, kept, MessagePublished(message.id, message.topic, message.attempts))
    if outcome.result == "released":
        # An attempt that the relay itself has ended is not the message's fault.
        return Settlement(claim, Change(PENDING, message.attempts - 1), None)
    if message.attempts >= options.max_attempts:
        return burial(claim, outcome.error, now)
    delay = backoff(message.attempts, base=options.backoff_base, cap=options.backoff_cap, random=random)
    due_at = now + dt.timedelta(seconds=delay)
    change = Change(PENDING, message.attempts, due_at=due_at, error=outcome.error)
    return Settlement(claim, change, MessageFailed(message.id, message.topic, message.attempts, outcome.error, delay))


def burial(claim: Claim, error: str, now: dt.datetime) -> Settlement:
    """Give a message up."""
    message = claim.message
    change = Change(DEAD, message.attempts, settled_at=now, error=error)
    return Settlement(claim, change, MessageDead(message.id, message.topic, message.attempts, error))
