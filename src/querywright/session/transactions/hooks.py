"""What is to be called once a transaction has ended, kept by the savepoint it was asked for in.

The order and the treatment of savepoints are those of Django's ``on_commit``
(https://docs.djangoproject.com/en/5.2/topics/db/transactions/#performing-actions-after-commit).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from querywright.errors import ConfigurationError

__all__ = ["Call", "Hooks", "require_sync"]

# A savepoint; None is the whole transaction.
Scope = object | None


@dataclass(frozen=True)
class Call:
    """A function and what it is called with."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass
class _Entry:
    scope: Scope
    call: Call
    on_commit: bool


@dataclass
class Hooks:
    """The calls of one session.

    Attributes:
        due: What is to be called now.
    """

    due: list[Call] = field(default_factory=list)
    _entries: list[_Entry] = field(default_factory=list)
    _unseen: list[_Entry] = field(default_factory=list)

    def add(self, scope: Scope, call: Call, *, on_commit: bool) -> None:
        """Keep a call until its savepoint and all around it have ended."""
        self._entries.append(_Entry(scope, call, on_commit))

    def released(self, scope: Scope, parent: Scope) -> None:
        """A savepoint has ended well: from now on its calls belong to what is around it."""
        for entry in self._entries:
            if entry.scope is scope:
                entry.scope = parent

    def committed(self) -> None:
        """The transaction is durable."""
        self._end(self._entries, committed=True)

    def rolled_back(self, scope: Scope) -> None:
        """A savepoint, or with ``None`` the whole transaction, was rolled back."""
        self._end([e for e in self._entries if scope is None or e.scope is scope], committed=False)

    def take(self) -> list[Call]:
        """Take what is due."""
        due, self.due = self.due, []
        return due

    def commit_unseen(self, *, took_effect: bool) -> None:
        """The transaction has ended without an answer; if nobody knows how, neither kind of call is true yet."""
        if took_effect:
            self.committed()
        else:
            self._unseen = self._entries
        self._entries = []

    def inherit(self, earlier: Hooks, *, took_effect: bool) -> None:
        """Take over from a transaction that has ended without an answer, now that it is known how.

        Args:
            earlier: Its calls. Those for a COMMIT are made once this transaction is committed; if it is not, the next
                one may inherit them again.
            took_effect: Whether it was committed.
        """
        if took_effect:
            self._entries += [_Entry(None, entry.call, on_commit=True) for entry in earlier._unseen if entry.on_commit]
        else:
            self.due += [entry.call for entry in earlier._unseen if not entry.on_commit]
            earlier._unseen = []

    def _end(self, ended: Sequence[_Entry], *, committed: bool) -> None:
        if not ended:
            return
        self.due += [entry.call for entry in ended if entry.on_commit is committed]
        self._entries = [entry for entry in self._entries if not any(entry is each for each in ended)]


def require_sync(function: Callable[..., Any]) -> None:
    """Refuse a coroutine function where nobody can await it.

    Raises:
        ConfigurationError: It is one.
    """
    if inspect.iscoroutinefunction(function):
        name = getattr(function, "__qualname__", repr(function))
        raise ConfigurationError(f"{name} is a coroutine function, and this session is synchronous.")
