"""Recognise the statements that leave something behind for the next user of a connection, or end its transaction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from querywright.engine.databases.lookup import backend_named
from querywright.engine.sqltext import Tokens, statements

__all__ = ["Traces", "changes_session", "traces_of"]

# Longer statements are looked at each time: as a rule they are INSERTs of many rows, and few are alike.
_REMEMBERED_LENGTH = 4000


@dataclass(frozen=True)
class Traces:
    """What statements leave behind.

    Attributes:
        changed: Whether later transactions of the connection may see something of them.
        ended: The command that ends the transaction, or begins one in it; empty if there is none.
        outlasts: Whether it is known, and not only possible, that something outlasts the transaction (PostgreSQL).
    """

    changed: bool
    ended: str = ""
    outlasts: bool = False


_PLAIN = ("insert ", "update ", "delete ", "select ")
_HINTS = (
    *(";", "set_config", "pg_settings", "advisory_lock", "pg_temp", "dblink", "setseed", "execute", "load_extension"),
    *("get_lock", ":=", "/*", "--", "u&"),
)
_INTO = re.compile(r"\binto\s*(?:temp|local|global|[@#])")


def traces_of(dialect: str, sql: str) -> Traces:
    """Return what statements leave behind.

    What a function of the database's own does cannot be seen from outside. What is not known changes the session.

    Args:
        dialect: The name of the database.
        sql: The statement, or several with semicolons between them.
    """
    return _look(dialect, sql) if len(sql) <= _REMEMBERED_LENGTH else _look.__wrapped__(dialect, sql)


def changes_session(dialect: str, sql: str) -> bool:
    """Return whether a statement may change what later transactions of its connection see.

    Example:
        >>> changes_session("postgresql", "SET search_path TO tenant_1")
        True
        >>> changes_session("postgresql", "SET LOCAL search_path TO tenant_1")
        False
    """
    return traces_of(dialect, sql).changed


def _is_plain(sql: str) -> bool:
    """Return whether a statement need not be taken apart, which takes as long as to run it."""
    lower = sql.lower()
    if not lower.startswith(_PLAIN) or any(hint in lower for hint in _HINTS):
        return False
    # Where a text or a name has no end, nobody knows what is in it.
    if lower.count("'") % 2 or lower.count('"') % 2:
        return False
    return "into" not in lower or _INTO.search(lower) is None


@lru_cache(maxsize=1000)
def _look(dialect: str, sql: str) -> Traces:
    if _is_plain(sql):
        return Traces(changed=False)
    rules = backend_named(dialect).rules
    found = None if rules is None else statements(rules.grammar, sql)
    if rules is None or found is None:
        return Traces(changed=True)
    # A statement may be in parentheses.
    plain = [tokens for tokens in map(_without_parentheses, found) if tokens]
    ended = next((tokens[0] for tokens in plain if rules.ends(tokens)), "")
    return Traces(any(map(rules.leaves_something, plain)), ended, any(map(rules.outlasts, plain)))


def _without_parentheses(tokens: Tokens) -> Tokens:
    return tokens[next((at for at, each in enumerate(tokens) if each != "("), len(tokens)) :]
