"""A session is used as it must not be."""

from __future__ import annotations

from querywright.errors.base import QuerywrightError

__all__ = ["ConcurrentUse", "ManagedTransaction", "NestedTransaction", "SessionEnded", "SessionMisuse"]


class SessionMisuse(QuerywrightError):
    """A session or transaction was used as it must not be; nothing was lost by refusing."""


class ManagedTransaction(SessionMisuse):
    """A transaction that its block ends was to be ended by hand.

    Args:
        verb: What was called, or in capitals the command that was sent.
    """

    def __init__(self, verb: str) -> None:
        what = f"{verb}() was called" if verb.islower() else f"{verb} was sent"
        message = f"{what} inside a block of transaction(), which commits at its end."
        super().__init__(message, hint="Leave the block, raise to roll back, or use savepoint() for a part of it.")
        self.verb = verb


class SessionEnded(SessionMisuse):
    """A session was used after the block that had opened it.

    Args:
        where: Where the block ended.
    """

    def __init__(self, where: str) -> None:
        hint = "Open a session of its own for what runs later, such as a background task or a stream."
        super().__init__(f"The session ended with its block, at {where}.", hint=hint)
        self.where = where


class NestedTransaction(SessionMisuse):
    """A transaction was opened inside another one of the same database, in the same task."""


class ConcurrentUse(SessionMisuse):
    """A task or thread came into a session while another one was waiting for the database in it.

    Args:
        first: Who is using the session.
        second: Who was refused.
    """

    def __init__(self, first: str, second: str) -> None:
        message = f"A session is for one task at a time: {first} is using it, {second} came in."
        super().__init__(message, hint="Give each task a session of its own, as with db.transaction().")
        self.first = first
        self.second = second
