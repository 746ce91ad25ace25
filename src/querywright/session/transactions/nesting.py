"""Which transaction of a database is open around the code that runs now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar

from querywright.engine.exclusive import Holder, describe, runner
from querywright.errors import ConcurrentUse, ConfigurationError, NestedTransaction, TransactionLost
from querywright.session.transactions.options import TransactionOptions

__all__ = ["Nested", "Open", "entered", "share", "surrounding", "taking_part"]

Nested = Literal["join", "savepoint", "new"]
AnySession = TypeVar("AnySession")


@dataclass
class Open(Generic[AnySession]):
    """An open transaction.

    Attributes:
        db: Its database.
        session: Its session.
        options: How it runs.
        opener: The task or thread that opened it.
        shared: Whether all that inherits the opener's context runs inside it, such as the thread of an endpoint.
        over: Whether it has ended; a generator may leave in another context than it entered in.
        newest: The newest of the blocks that take part in it.
    """

    db: object
    session: AnySession
    options: TransactionOptions
    opener: Holder
    shared: bool = False
    over: bool = False
    newest: _Part | None = None


@dataclass(frozen=True, eq=False)
class _Part:
    """A block that takes part in a transaction, and who runs it."""

    of: Open[Any]
    by: Holder


_open: ContextVar[tuple[Open[Any], ...]] = ContextVar("querywright_transactions", default=())
_parts: ContextVar[tuple[_Part, ...]] = ContextVar("querywright_parts", default=())
if hasattr(os, "register_at_fork"):
    # In a child there is none: all of them are the parent's.
    os.register_at_fork(after_in_child=lambda: (_open.set(()), _parts.set(())))


def surrounding(db: object, nested: Nested | None, options: TransactionOptions) -> Open[Any] | None:
    """Find the transaction that a nested one takes part in; ``None`` if it gets one of its own.

    A task or thread that was started inside a transaction inherits its context. It takes part if it says so; otherwise
    it is on its own.

    Args:
        db: The database.
        nested: What the code asks for.
        options: How it wants to run; whoever takes part must want nothing, or what there is.

    Raises:
        NestedTransaction: A transaction is open around it, and it does not say what to do, or wants another one.
        ConfigurationError: ``nested`` is unknown.
    """
    if nested not in {None, "join", "savepoint", "new"}:
        raise ConfigurationError(f"nested={nested!r} is unknown.", hint="Write 'join', 'savepoint' or 'new'.")
    around = _open.get()
    if not around or nested == "new":
        return None
    outer: Open[Any] | None = next((each for each in reversed(around) if each.db is db and not each.over), None)
    if outer is None or (nested is None and not outer.shared and outer.opener is not runner()):
        return None
    if nested is None:
        message = "A transaction of this database is already open in this task."
        hint = "Pass its session on, or say nested='join', nested='savepoint', or nested='new' for one beside it."
        raise NestedTransaction(message, hint=hint)
    if options not in (TransactionOptions(), outer.options):
        message = "A nested transaction cannot run in another way than the one around it."
        raise NestedTransaction(message, hint="Leave out its options, or say nested='new'.")
    return outer


class entered:  # noqa: N801 - a context manager, read as a word
    """Let the code in the block find this transaction.

    Args:
        db: The database.
        session: The session of the transaction.
        options: How the transaction runs.

    Raises:
        ConcurrentUse: A block that takes part in it is still running at its end.
    """

    __slots__ = ("_opened",)

    def __init__(self, db: object, session: object, options: TransactionOptions) -> None:
        self._opened = Open(db, session, options, runner())

    def __enter__(self) -> None:
        _open.set((*_open.get(), self._opened))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened = self._opened
        opened.over = True
        # Not with a token: what a generator opens in one context it may close in another.
        _open.set(tuple([each for each in _open.get() if each is not opened]))
        if error is None and opened.newest is not None:
            # Half of what it does would be committed, and its failure come too late.
            raise ConcurrentUse(describe(opened.newest.by), describe(runner()))


def share(session: object) -> None:
    """Let all that inherits this context run inside the transaction of a session, in whatever thread."""
    for each in _open.get():
        if each.session is session:
            each.shared = True


@contextmanager
def taking_part(outer: Open[Any]) -> Iterator[None]:
    """Run a block that takes part in a transaction, inside of the newest such block or of none.

    Raises:
        ConcurrentUse: Another one has begun meanwhile and not ended: half of each would be committed or rolled back.
        TransactionLost: The transaction has ended before the block, and with it what the block has written.
    """
    mine = next((each for each in reversed(_parts.get()) if each.of is outer), None)
    if outer.newest is not None and outer.newest is not mine:
        raise ConcurrentUse(describe(outer.newest.by), describe(runner()))
    part = _Part(outer, runner())
    outer.newest = part
    _parts.set((*_parts.get(), part))
    try:
        yield
        if outer.over:
            message = "The transaction that this block took part in had ended before it, and nothing was committed."
            raise TransactionLost(message, hint="Wait for what takes part before the transaction ends.")
    finally:
        outer.newest = mine
        _parts.set(tuple(each for each in _parts.get() if each is not part))
