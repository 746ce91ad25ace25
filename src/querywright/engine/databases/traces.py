"""What is known of the statements of a database: which of them leave something behind, or end a transaction."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from querywright.engine.sqltext import QUOTED, Grammar, Tokens

__all__ = ["Rules", "calls", "makes_temporary", "names", "rules"]

_EVERYWHERE = (
    "select insert update delete with values explain savepoint release begin commit rollback create alter drop analyze"
)
_ENDS = frozenset({"commit", "rollback", "end", "abort", "begin", "start"})


def _never(_tokens: Tokens) -> bool:
    return False


@dataclass(frozen=True)
class Rules:
    """The statements of a database.

    Attributes:
        grammar: How they are written.
        harmless: How those begin that change nothing, unless one of the others says so.
        words: Words that change something wherever they are.
        changes: Whether a statement does for another reason.
        also_ends: Whether a statement ends a transaction that would not on other databases.
        outlasts: Whether it is known, and not only possible, that something of it outlasts its transaction.
    """

    grammar: Grammar
    harmless: frozenset[str]
    words: re.Pattern[str]
    changes: Callable[[Tokens], bool]
    also_ends: Callable[[Tokens], bool] = _never
    outlasts: Callable[[Tokens], bool] = _never

    def leaves_something(self, tokens: Tokens) -> bool:
        """Return whether later transactions of the connection may see something of a statement."""
        known = bool(tokens) and tokens[0] in self.harmless
        return not known or any(map(self.words.fullmatch, names(tokens))) or self.changes(tokens)

    def ends(self, tokens: Tokens) -> bool:
        """Return whether a statement ends the transaction, or begins one in it."""
        first, second = tokens[0], (*tokens, "")[1]
        if first == "rollback":
            return "to" not in tokens[1:3]
        if first == "start":
            return second == "transaction"
        return first in _ENDS or self.also_ends(tokens)


def rules(
    grammar: Grammar, harmless: str, words: str, changes: Callable[[Tokens], bool], **others: Callable[[Tokens], bool]
) -> Rules:
    """Make the rules of a database.

    Args:
        grammar: How its statements are written.
        harmless: The words with which those begin that change nothing, besides what is harmless everywhere.
        words: A pattern of what changes something wherever it is.
        changes: Whether a statement does for another reason.
        others: ``also_ends`` and ``outlasts``.
    """
    return Rules(grammar, frozenset(f"{_EVERYWHERE} {harmless}".split()), re.compile(words), changes, **others)


def names(tokens: Tokens) -> list[str]:
    """Write names without the mark of their quotation marks."""
    return [each.removeprefix(QUOTED) for each in tokens]


def calls(tokens: Tokens, name: str) -> list[Tokens]:
    """Return the arguments of each call of a function."""
    named = names(tokens)
    return [
        _arguments(tokens[at + 2 :])
        for at, each in enumerate(named)
        if each == name and tokens[at + 1 : at + 2] == ["("]
    ]


def _arguments(tokens: Tokens) -> Tokens:
    """Return the tokens up to the parenthesis that closes them."""
    depth = 1
    for at, token in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if not depth:
            return tokens[:at]
    return tokens


_BEFORE_TEMPORARY = frozenset({"create", "replace", "global", "local", "into"})


def makes_temporary(tokens: Tokens) -> bool:
    """Return whether a statement makes a temporary table."""
    return any(one in _BEFORE_TEMPORARY and two in {"temp", "temporary"} for one, two in pairwise(tokens))
