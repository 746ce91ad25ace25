"""Every error Querywright raises: what happened, where, and what to do.

QuerywrightError
├── ConfigurationError          a setting, a URL or an argument that cannot work
│   └── MissingExtra            an optional package is not installed (also an ImportError)
├── ShapeError                  a response model that does not fit its mapped class
├── InvalidRow                  a row that does not fit the response model
├── InvalidRequest              what a client asked for cannot be had
│   ├── InvalidCursor           a cursor that was changed, or belongs to another list
│   ├── KeyReused               an idempotency key that stands for something else
│   ├── InvalidPage             a page size or number out of bounds
│   ├── PreconditionFailed      an entity tag that is no longer the row's
│   ├── PreconditionRequired    a request that has to say which version it means
│   └── UnknownFields           fields that the response model does not have
├── SessionMisuse               a session used as it must not be
│   ├── ManagedTransaction      commit or rollback by hand inside a managed block
│   ├── SessionEnded            a session that was kept after its block
│   ├── NestedTransaction       a transaction inside another, without saying how
│   └── ConcurrentUse           two tasks or threads in one session at once
├── NotFound                    no row (also SQLAlchemy's NoResultFound)
├── MultipleFound               more than one row (also SQLAlchemy's MultipleResultsFound)
├── StaleData                   rows that somebody else changed first (also SQLAlchemy's StaleDataError)
└── DatabaseError               what a database or its driver reported, without its words
    ├── ConstraintViolation
    │   ├── Conflict            unique, foreign key or exclusion constraint
    │   └── InvalidValue        not-null or check constraint, value too long, out of range, none of the type
    ├── TransactionLost         a failed statement was ignored, so nothing could be committed
    ├── CommitOutcomeUnknown    nobody can say whether a COMMIT took effect
    └── DatabaseUnavailable     try again later
        ├── LockNotAvailable    somebody else holds a lock
        │   └── KeyInUse        what an idempotency key stands for is still being done
        ├── PoolTimeout         every pooled connection stayed in use
        ├── TooManyStreams      as many streams are read as may be
        ├── StatementTimeout    the database gave up on a statement
        └── TransactionConflict deadlock or serialization failure; retry the whole transaction
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

from sqlalchemy.exc import MultipleResultsFound, NoResultFound
from sqlalchemy.orm.exc import StaleDataError


class QuerywrightError(Exception):
    """The root of all errors raised by Querywright.

    Args:
        message: What happened and where, in one sentence.
        hint: What to do about it; empty when there is nothing to add.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} {hint}" if hint else message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a process pool carry it: it is made again of what it holds, not by its ``__init__``."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[QuerywrightError], args: tuple[Any, ...], state: dict[str, Any]) -> QuerywrightError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ConfigurationError(QuerywrightError):
    """A setting, environment variable, URL or argument cannot work as it stands."""


class MissingExtra(ConfigurationError, ImportError):
    """An optional package is not installed, or cannot be imported.

    Args:
        package: The package that could not be found.
        extra: The extra of Querywright that it belongs to.
    """

    def __init__(self, package: str, extra: str) -> None:
        message = f"The package {package!r} of the extra {extra!r} is not installed, or cannot be imported."
        wanted = " ".join(f"'{each}'" for each in _requirements(extra) or (package,))
        # Not the extra itself: who has Querywright from a clone cannot have it from an index.
        super().__init__(message, hint=f"Run: pip install {wanted}")
        self.package = package
        self.extra = extra


def _requirements(extra: str) -> list[str]:
    """List what an extra consists of, as the installed package knows it."""
    try:
        known = requires("querywright") or []
    except PackageNotFoundError:
        return []
    parted = (each.partition(";") for each in known)
    return [wanted.strip() for wanted, _, marker in parted if marker.replace('"', "'").strip() == f"extra == '{extra}'"]


class ShapeError(QuerywrightError):
    """A response model does not fit the mapped class it is fetched from.

    Args:
        path: The field, from the root model: ``UserOut.posts[].title``.
        reason: What is wrong with it.
        hint: What to write instead.
    """

    def __init__(self, path: str, reason: str, *, hint: str = "") -> None:
        super().__init__(f"{path}: {reason}", hint=hint)
        self.path = path
        self.reason = reason


class InvalidRow(QuerywrightError):
    """A row does not fit the response model: it lacks a value that the model requires.

    Args:
        path: The model or field that could not be filled.
    """

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path}: a row holds no value, or one that its type does not have, where the model requires one.",
            hint="Make the field optional, or repair the row.",
        )
        self.path = path


class InvalidRequest(QuerywrightError):
    """What a client asked for cannot be had; the message is safe to show.

    Args:
        message: What is wrong with it, in one sentence.
        hint: What to do about it.
        location: Which part of the request, such as ``("header", "If-Match")``; empty where that is not known.
    """

    def __init__(self, message: str, *, hint: str = "", location: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.location = location


class InvalidCursor(InvalidRequest):
    """A cursor was changed on its way, or forged, or belongs to a list in another order."""


class KeyReused(InvalidRequest):
    """An idempotency key cannot be used, or stands for another request."""


class InvalidPage(InvalidRequest):
    """A page size or number is out of bounds."""


class PreconditionFailed(InvalidRequest):
    """What a client read is no longer there as it was read: its entity tag does not match."""


class PreconditionRequired(InvalidRequest):
    """A client has to say which version it means to change."""


class UnknownFields(InvalidRequest):
    """A client asked for fields that the response model does not have.

    Args:
        unknown: What was asked for.
        allowed: What can be asked for.
    """

    def __init__(self, unknown: tuple[str, ...], allowed: tuple[str, ...]) -> None:
        message = f"There is no field {' or '.join(map(repr, unknown))}."
        super().__init__(message, hint=f"There are {', '.join(allowed)}.")
        self.unknown = unknown
        self.allowed = allowed


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


def _is_name(entity: str) -> bool:
    """Return whether a text is the name of a class, and not a sentence."""
    return entity.replace(".", "_").isidentifier() and not entity.endswith(".")


class NotFound(QuerywrightError, NoResultFound):
    """A statement that had to return a row returned none.

    Args:
        entity: The name of the mapped class; or a sentence of your own, which is told as it is.

    Example:
        >>> print(NotFound("Book"))
        No Book matches the statement.
        >>> print(NotFound("There is no such book."))
        There is no such book.
    """

    def __init__(self, entity: str) -> None:
        super().__init__(f"No {entity} matches the statement." if _is_name(entity) else entity)
        self.entity = entity


class MultipleFound(QuerywrightError, MultipleResultsFound):
    """A statement that had to return at most one row returned more.

    Args:
        entity: The name of the mapped class; or a sentence of your own, which is told as it is.
    """

    def __init__(self, entity: str) -> None:
        super().__init__(
            f"More than one {entity} matches the statement." if _is_name(entity) else entity,
            hint="Narrow it with where(), or use first() or all().",
        )
        self.entity = entity


@dataclass(frozen=True)
class StaleRow:
    """One row that is no longer what was read.

    Attributes:
        entity: The name of the mapped class.
        key: Its primary key, a tuple.
        version: The version that was expected; ``None`` where the class has none.
    """

    entity: str
    key: tuple[Any, ...]
    version: Any

    def __str__(self) -> str:
        key = ", ".join(map(str, self.key))
        return f"{self.entity} {key}" if self.version is None else f"{self.entity} {key} (version {self.version})"


class StaleData(QuerywrightError, StaleDataError):
    """A flush would have overwritten or deleted rows that somebody else had changed or deleted since they were read.

    Args:
        rows: Which, as far as they can be told.
    """

    def __init__(self, rows: tuple[StaleRow, ...] = ()) -> None:
        entities = " or ".join(dict.fromkeys(row.entity for row in rows))
        expected = f"Expected {', '.join(map(str, rows))}. " if rows else ""
        super().__init__(
            f"A row{f' of {entities}' if entities else ''} was changed or deleted by somebody else after it was read.",
            hint=f"{expected}Read again in a new transaction and repeat the change.",
        )
        self.rows = rows


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
