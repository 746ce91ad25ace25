"""What a database or its driver reported, without its words."""

from __future__ import annotations

from querywright.errors.base import QuerywrightError

__all__ = [
    "CommitOutcomeUnknown", "Conflict", "ConstraintViolation", "DatabaseError", "DatabaseUnavailable",
    "InvalidValue", "KeyInUse", "LockNotAvailable", "PoolTimeout", "StatementTimeout", "TooManyStreams",
    "TransactionConflict", "TransactionLost",
]  # fmt: skip


class DatabaseError(QuerywrightError):
    """The database or its driver reported an error; its own text is only in ``__cause__``.

    Args:
        message: What happened, safe to show to a client.
        sqlstate: The SQLSTATE code, where the driver gave one.
    """

    def __init__(self, message: str, *, sqlstate: str | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


class ConstraintViolation(DatabaseError):
    """A row broke a constraint."""


class Conflict(ConstraintViolation):
    """A row contradicts another: a unique, foreign key or exclusion constraint."""


class InvalidValue(ConstraintViolation):
    """A value the column cannot hold: not-null, check, too long, out of range, or none of its type.

    Args:
        message: What happened, safe to show to a client.
        sqlstate: The SQLSTATE code, where the driver gave one.
        column: The name of the column, where the database tells it; for a handler of your own, as clients are not told.
    """

    def __init__(self, message: str, *, sqlstate: str | None = None, hint: str = "", column: str | None = None) -> None:
        super().__init__(message, sqlstate=sqlstate, hint=hint)
        self.column = column


class TransactionLost(DatabaseError):
    """A block ended as if it had succeeded, but an error caught inside it had rolled its transaction back."""


class CommitOutcomeUnknown(DatabaseError):
    """The connection was lost during a COMMIT, and nobody could say whether it took effect."""

    def __init__(self) -> None:
        message = "The connection was lost during the COMMIT: it may or may not have taken effect."
        super().__init__(message, hint="Look before you try again, or run it with an idempotency key.")


class DatabaseUnavailable(DatabaseError):
    """The database cannot serve now; the same request may succeed later."""


class LockNotAvailable(DatabaseUnavailable):
    """Somebody else holds the lock, and it was not to be waited for (any longer)."""


class KeyInUse(LockNotAvailable):
    """What an idempotency key stands for is still being done, and was not to be waited for (any longer)."""

    def __init__(self) -> None:
        message = "What this idempotency key stands for is still being done."
        super().__init__(message, sqlstate="55P03", hint="Ask again with the same key.")


class PoolTimeout(DatabaseUnavailable):
    """No pooled connection became free in time.

    Args:
        size: Connections the pool keeps open.
        overflow: Connections open above ``size``.
        seconds: How long it waited.

    Attributes:
        checked_out: Connections in use when it gave up: all of them.
    """

    def __init__(self, *, size: int, overflow: int, seconds: float) -> None:
        self.size = size
        self.overflow = overflow
        self.checked_out = size + overflow
        self.seconds = seconds
        super().__init__(
            "Every database connection is in use.",
            hint=f"Waited {seconds:g} s while {self.checked_out} of {self.checked_out} were checked out"
            f" (pool_size={size} and {overflow} more); look for transactions that stay open while they wait for"
            " something else, before you raise pool_size.",
        )


class TooManyStreams(DatabaseUnavailable):
    """No stream came to its end in time to let another one begin.

    Args:
        most: How many may be read at once.
        seconds: How long it waited.
    """

    def __init__(self, *, most: int, seconds: float) -> None:
        self.most = most
        self.seconds = seconds
        super().__init__(
            "As many streams are being read as the service allows.",
            hint=f"Waited {seconds:g} s while {most} of {most} were open (max_streams={most}); each holds a connection"
            " until its reader has had all of it. Raise max_streams together with pool_size, or send pages.",
        )


class StatementTimeout(DatabaseUnavailable):
    """The database cancelled a statement that ran into a timeout."""


class TransactionConflict(DatabaseUnavailable):
    """A deadlock or serialization failure: the whole transaction may be run again."""
