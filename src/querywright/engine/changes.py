"""Recognise the statements that leave something behind for the next user of a connection, or end its transaction."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from querywright.engine.sqltext import QUOTED, statements

__all__ = ["Traces", "changes_session", "traces_of"]

# Longer statements are looked at each time: as a rule they are INSERTs of many rows, and few are alike.
_REMEMBERED_LENGTH = 4000
Tokens = list[str]


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


@dataclass(frozen=True)
class _Rules:
    """What is known of the statements of a database.

    Attributes:
        harmless: How those begin that change nothing, unless one of the others says so.
        words: Words that change something wherever they are.
        changes: Whether a statement does for another reason.
    """

    harmless: frozenset[str]
    words: re.Pattern[str]
    changes: Callable[[Tokens], bool]


_EVERYWHERE = (
    "select insert update delete with values explain savepoint release begin commit rollback create alter drop analyze"
)


def _rules(harmless: str, words: str, changes: Callable[[Tokens], bool]) -> _Rules:
    return _Rules(frozenset(f"{_EVERYWHERE} {harmless}".split()), re.compile(words), changes)


def _changes_postgresql(tokens: Tokens) -> bool:
    first, second = tokens[0], (*tokens, "")[1]
    if first in {"set", "prepare"}:
        return second not in ({"local", "transaction", "constraints"} if first == "set" else {"transaction"})
    if first == "declare" and "hold" in tokens:
        return True
    # UPDATE of this view is SET.
    if "update" in tokens and "pg_settings" in _names(tokens):
        return True
    return _makes_temporary(tokens) or any(map(_is_for_the_session, _calls(tokens, "set_config")))


def _is_for_the_session(arguments: Tokens) -> bool:
    """Return whether set_config() sets for the session; a third argument that is true makes it SET LOCAL."""
    return arguments[-2:] != [",", "true"]


def _changes_sqlite(tokens: Tokens) -> bool:
    if tokens[0] == "pragma":
        # Those that only tell something change nothing; query_only(1) is our own, and is taken back by us.
        name, *value = tokens[3:] if tokens[2:3] == ["."] else tokens[1:]
        ours = name == "query_only" and value[:1] == ["("]
        return bool(value) and not ours and _TELLING.search(name) is None
    in_temp = ("temp", ".") in zip(_names(tokens), tokens[1:], strict=False)
    return _makes_temporary(tokens) or (tokens[0] == "create" and in_temp)


def _changes_mysql(tokens: Tokens) -> bool:
    if tokens[:2] == ["set", "statement"] and "for" in tokens:
        # MariaDB sets it for what follows only.
        return _changes(_MYSQL, tokens[tokens.index("for") + 1 :])
    if tokens[0] == "set":
        return tokens[1:2] != ["transaction"]
    pairs = list(pairwise(tokens))
    return (":", "=") in pairs or ("into", "@") in pairs or _makes_temporary(tokens)


_BEFORE_TEMPORARY = frozenset({"create", "replace", "global", "local", "into"})
_TELLING = re.compile(r"(?:info|list|check|checkpoint|optimize|vacuum)$")
_MYSQL = _rules(
    "replace table show start truncate rename optimize check checksum grant revoke describe desc kill flush set",
    "get_lock",
    _changes_mysql,
)
_RULES = {
    "postgresql": _rules(
        "merge table show notify truncate comment grant revoke copy vacuum reindex cluster refresh checkpoint fetch"
        " move close lock start end abort security reassign import declare set prepare",
        r"pg_temp\w*|pg_(?:try_)?advisory_lock\w*|dblink\w*|setseed|execute",
        _changes_postgresql,
    ),
    "sqlite": _rules("replace reindex vacuum end pragma", "load_extension", _changes_sqlite),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
}
_OUTLASTING = frozenset({"listen", "load"})
_OUTLASTING_CALLS = re.compile(r"pg_(?:try_)?advisory_lock\w*|setseed")
_PLAIN = ("insert ", "update ", "delete ", "select ")
_HINTS = (
    *(";", "set_config", "pg_settings", "advisory_lock", "pg_temp", "dblink", "setseed", "execute", "load_extension"),
    *("get_lock", ":=", "/*", "--", "u&"),
)
_INTO = re.compile(r"\binto\s*(?:temp|local|global|[@#])")
_ENDS = frozenset({"commit", "rollback", "end", "abort", "begin", "start"})


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
    found = statements(dialect, sql)
    if found is None:
        return Traces(changed=True)
    rules = _RULES[dialect]
    # A statement may be in parentheses.
    plain = [tokens for tokens in map(_without_parentheses, found) if tokens]
    ended = next((tokens[0] for tokens in plain if _ends(dialect, tokens)), "")
    outlasts = dialect == "postgresql" and any(map(_outlasts, plain))
    return Traces(any(_changes(rules, tokens) for tokens in plain), ended, outlasts)


def _without_parentheses(tokens: Tokens) -> Tokens:
    return tokens[next((at for at, each in enumerate(tokens) if each != "("), len(tokens)) :]


def _changes(rules: _Rules, tokens: Tokens) -> bool:
    known = bool(tokens) and tokens[0] in rules.harmless
    return not known or any(map(rules.words.fullmatch, _names(tokens))) or rules.changes(tokens)


def _outlasts(tokens: Tokens) -> bool:
    """Return whether a statement of PostgreSQL is known to change what its transaction does not take back."""
    if ("on", "commit", "drop") in zip(tokens, tokens[1:], tokens[2:], strict=False):
        return False
    known = tokens[0] in _OUTLASTING or _changes_postgresql(tokens)
    return known or any(map(_OUTLASTING_CALLS.fullmatch, _names(tokens)))


def _names(tokens: Tokens) -> list[str]:
    return [each.removeprefix(QUOTED) for each in tokens]


def _calls(tokens: Tokens, name: str) -> list[Tokens]:
    """Return the arguments of each call of a function."""
    names = _names(tokens)
    return [
        _arguments(tokens[at + 2 :])
        for at, each in enumerate(names)
        if each == name and tokens[at + 1 : at + 2] == ["("]
    ]


def _makes_temporary(tokens: Tokens) -> bool:
    return any(one in _BEFORE_TEMPORARY and two in {"temp", "temporary"} for one, two in pairwise(tokens))


def _arguments(tokens: Tokens) -> Tokens:
    """Return the tokens up to the parenthesis that closes them."""
    depth = 1
    for at, token in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if not depth:
            return tokens[:at]
    return tokens


def _ends(dialect: str, tokens: Tokens) -> bool:
    first, second = tokens[0], (*tokens, "")[1]
    if first == "rollback":
        return "to" not in tokens[1:3]
    if first == "start":
        return second == "transaction"
    if first == "prepare":
        return second == "transaction" and dialect == "postgresql"
    if dialect in {"mysql", "mariadb"} and (
        (first == "set" and "autocommit" in _names(tokens))
        or (first in {"lock", "unlock"} and second.startswith("table"))
    ):
        # They commit at once (MariaDB manual, "SQL statements that cause an implicit commit").
        return True
    return first in _ENDS
