"""Which transaction of a database is open around the code that runs now."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from querywright.errors import ConfigurationError, NestedTransaction
from querywright.session.options import TransactionOptions

__all__ = ["Nested", "entered", "surrounding"]

Nested = Literal["join", "savepoint", "new"]
AnySession = TypeVar("AnySession")


@dataclass
class _Open(Generic[AnySession]):
    """An open transaction.

    Attributes:
        db: Its database.
        session: Its session.
        options: How it runs.
        runner: The task or thread that opened it; a task started inside inherits the context, not the transaction.
        over: Whether it has ended; a generator may leave in another context than it entered in.
    """

    db: object
    session: AnySession
    options: TransactionOptions
    runner: object
    over: bool = False


_open: ContextVar[tuple[_Open[Any], ...]] = ContextVar("querywright_transactions", default=())


def surrounding(db: object, nested: Nested | None, options: TransactionOptions) -> Any | None:
    """Find the session that a nested transaction takes part in; ``None`` if it gets one of its own.

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
    runner = _runner()
    outer = next((o for o in reversed(around) if o.db is db and o.runner is runner and not o.over), None)
    if outer is None:
        return None
    if nested is None:
        message = "A transaction of this database is already open in this task."
        hint = "Pass its session on, or say nested='join', nested='savepoint', or nested='new' for one beside it."
        raise NestedTransaction(message, hint=hint)
    if options not in (TransactionOptions(), outer.options):
        message = "A nested transaction cannot run in another way than the one around it."
        raise NestedTransaction(message, hint="Leave out its options, or say nested='new'.")
    return outer.session


@contextmanager
def entered(db: object, session: object, options: TransactionOptions) -> Iterator[None]:
    """Let the code in the block find this transaction."""
    opened = _Open(db, session, options, _runner())
    _open.set((*_open.get(), opened))
    try:
        yield
    finally:
        opened.over = True
        # Not with a token: what a generator opens in one context it may close in another.
        _open.set(tuple(each for each in _open.get() if each is not opened))


def _runner() -> object:
    try:
        return asyncio.current_task() or threading.current_thread()
    except RuntimeError:
        return threading.current_thread()
