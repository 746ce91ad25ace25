"""Decide whether a failed unit of work may be run again, and when: by SQLSTATE, with full jitter.

Which codes are safe: PostgreSQL manual, 13.5 and appendix A.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum

from sqlalchemy.exc import DBAPIError

from querywright.backoff import backoff
from querywright.engine.databases.errors import is_connection_loss, never_connected, sqlstate_of, waited_to_write
from querywright.errors import CommitOutcomeUnknown, DatabaseError

__all__ = ["Attempts", "Cause", "RetryBudget", "RetryPolicy", "cause_of", "leaves"]


class Cause(Enum):
    """Why a unit of work may be run again."""

    # The database rolled it back in favour of another.
    CONFLICT = "conflict"
    # The connection was lost before COMMIT was sent, or the server had none to give.
    CONNECTION = "connection"
    # There was no server to connect to.
    ABSENT = "absent"
    # The tables have changed since the driver prepared the statement.
    OUTDATED = "outdated"
    # The server has become a standby.
    DEMOTED = "demoted"
    # The COMMIT got no answer, and the unit carries a key that keeps it from being done twice.
    UNKNOWN = "unknown"


_CAUSES = {
    "40001": Cause.CONFLICT,
    "40P01": Cause.CONFLICT,
    # "cached plan must not change result type", and prepared statements behind a pooler. Each attempt puts one
    # connection right, and the next may get another one: once is not enough.
    "0A000": Cause.OUTDATED,
    "26000": Cause.OUTDATED,
    "42P05": Cause.OUTDATED,
    # A write on a server that was demoted, or in a transaction that must not write.
    "25006": Cause.DEMOTED,
}
# The server is starting, or has no connection left; nothing was sent.
_NOT_NOW = frozenset({"57P03", "53300"})
_FAILED = "25P02"  # in_failed_sql_transaction
# What the user or the operator has decided, and what signs of trouble a new attempt would meet again.
_NEVER = frozenset({"57014", "57P05", "25P03", "25P04", _FAILED, "40003", "08007"})


def cause_of(error: BaseException, also: Collection[str] = (), *, keyed: bool = False) -> Cause | None:
    """Return why a unit of work that failed with this error may be run again; ``None`` if it may not.

    Of several errors at once, as a task group raises them, each has to allow it; but one that only says that the
    transaction had failed already.

    Args:
        error: What it failed with.
        also: SQLSTATEs to run it again for besides those that are always safe, such as ``55P03`` and ``23505``.
        keyed: Whether an idempotency key keeps it from being done twice.
    """
    several = [each for each in leaves(error) if not _is_symptom(each)]
    causes = [_cause_of_one(each, also, keyed=keyed) for each in several]
    return None if not causes or None in causes else causes[0]


def leaves(error: BaseException) -> list[BaseException]:
    """List the errors of a group, and of the groups in it; one that is no group is alone."""
    inner: tuple[BaseException, ...] | None = getattr(error, "exceptions", None)
    # Not by its class, which Python has from 3.11 on.
    return [error] if not isinstance(inner, tuple) else [leaf for each in inner for leaf in leaves(each)]


def _is_symptom(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and sqlstate_of(error.orig) == _FAILED


def _cause_of_one(error: BaseException, also: Collection[str], *, keyed: bool) -> Cause | None:
    if isinstance(error, CommitOutcomeUnknown):
        return Cause.UNKNOWN if keyed else None
    if isinstance(error, DatabaseError):
        state, lost = error.sqlstate, False
    elif isinstance(error, DBAPIError):
        state, lost = sqlstate_of(error.orig), is_connection_loss(error)
    else:
        return None
    if state in _NEVER:
        return None
    if state in also or state in _CAUSES or waited_to_write(error):
        return _CAUSES.get(state or "", Cause.CONFLICT)
    if isinstance(error, DBAPIError) and never_connected(error):
        return Cause.ABSENT
    return Cause.CONNECTION if lost or state in _NOT_NOW else None


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a unit of work is run.

    Attributes:
        attempts: How many times at most.
        deadline: Seconds from the start of the first attempt after which no other one begins.
        also: More SQLSTATEs that it is run again for.
        keyed: Whether an idempotency key keeps it from being done twice.
        idle: Seconds after which the server ends a transaction that does nothing; 0 for never.
    """

    attempts: int = 10
    deadline: float = 10.0
    also: Collection[str] = ()
    keyed: bool = False
    idle: float = 0.0


# Seconds: the base and the cap of the pauses.
_PAUSES = {
    Cause.CONFLICT: (0.015, 1.0),
    Cause.CONNECTION: (0.05, 2.0),
    Cause.ABSENT: (0.05, 2.0),
    Cause.OUTDATED: (0.05, 0.05),
    Cause.DEMOTED: (0.05, 0.05),
    Cause.UNKNOWN: (0.05, 2.0),
}


class RetryBudget:
    """Keep retries from multiplying the load on a database that is down: a token bucket for one process.

    Only lost connections are counted: a conflict is the work of a database that is well, and one that is not there
    has no load.

    Args:
        ratio: How many retries each unit of work earns.
        most: How many can be saved up.
    """

    def __init__(self, ratio: float = 0.2, most: float = 100.0) -> None:
        self._ratio = ratio
        self._most = most
        self._tokens = most

    def deposit(self) -> None:
        """A unit of work begins."""
        self._tokens = min(self._most, self._tokens + self._ratio)

    def withdraw(self) -> bool:
        """Take a retry, if there is one left."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass
class Attempts:
    """The attempts at one unit of work.

    Attributes:
        policy: How often and how long it is run.
        budget: What all units of work share.
        clock: The time in seconds.
        uniform: A random number between two.
        made: How many have failed so far.
    """

    policy: RetryPolicy
    budget: RetryBudget
    clock: Callable[[], float] = time.monotonic
    uniform: Callable[[float, float], float] = random.uniform
    made: int = 0
    _started: float = field(init=False)
    _begun: float = field(init=False)
    _causes: set[Cause] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._started = self._begun = self.clock()
        self.budget.deposit()

    def pause_after(self, error: BaseException) -> float | None:
        """Return how many seconds to wait before the next attempt; ``None`` if this was the last."""
        self.made += 1
        cause = cause_of(error, self.policy.also, keyed=self.policy.keyed)
        if cause is None or self.made >= self.policy.attempts:
            return None
        if cause is Cause.DEMOTED and cause in self._causes:
            return None
        if cause is Cause.CONNECTION and self._may_have_idled():
            return None
        self._causes.add(cause)
        base, cap = _PAUSES[cause]
        pause = backoff(self.made, base=base, cap=cap, random=lambda: self.uniform(0, 1))
        if self.clock() - self._started + pause > self.policy.deadline:
            return None
        if cause is Cause.CONNECTION and not self.budget.withdraw():
            return None
        self._begun = self.clock() + pause
        return pause

    def _may_have_idled(self) -> bool:
        """Return whether the server may have ended the transaction by its limit: asyncpg and psycopg2 do not say so."""
        return 0 < self.policy.idle <= self.clock() - self._begun
