"""Tell the statements that change a connection for whoever uses it next from those that do not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["changes_session"]

# Longer statements are looked at each time: as a rule they are INSERTs of many rows, and few are alike.
_REMEMBERED_LENGTH = 4000
_BLANK = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"


@dataclass(frozen=True)
class _Signs:
    """What a statement that changes its session looks like.

    Attributes:
        commands: How it begins.
        hints: Lower-case words without which `calls` need not be looked for.
        calls: What changes the session wherever it stands.
    """

    commands: re.Pattern[str]
    hints: tuple[str, ...]
    calls: re.Pattern[str]


def _signs(commands: str, hints: tuple[str, ...], calls: str) -> _Signs:
    flags = re.IGNORECASE | re.DOTALL
    return _Signs(re.compile(f"{_BLANK}(?:{commands})", flags), hints, re.compile(calls, flags))


_MYSQL = _signs(
    # SET LOCAL is SET SESSION there.
    r"set\s+(?!transaction\b)|use\b|lock\b|create\s+temporary\b|prepare\b|call\b|do\b|handler\b",
    ("get_lock", ":=", "into @"),
    r"\bget_lock\s*\(|:=|\binto\s+@",
)

_SIGNS = {
    "postgresql": _signs(
        r"set\s+(?!local\b|transaction\b|constraints\b)|reset\b|listen\b|load\b|prepare\s+(?!transaction\b)"
        r"|create\s+(?:or\s+replace\s+)?(?:(?:global|local)\s+)?temp|declare\b.*\bwith\s+hold\b|do\b|call\b",
        ("set_config", "advisory_lock", "pg_temp", "dblink_connect", "temp"),
        # set_config(..., true) is SET LOCAL, and the locks of a transaction end with it.
        r"\bset_config\s*\((?![^()]*,\s*true\s*\))|\bpg_(?:try_)?advisory_lock|\bpg_temp\b|\bdblink_connect"
        r"|\binto\s+(?:(?:global|local)\s+)?temp",
    ),
    "sqlite": _signs(
        # Those that only tell something are left out; query_only(1) is our own spelling, and is taken back by us.
        r"pragma\s+(?:\w+\s*\.\s*)?(?!query_only\(|\w*(?:info|list|check|checkpoint|optimize|vacuum)\b)\w+\s*[=(]"
        r"|attach\b|detach\b|create\s+temp|create\b[^(]*\btemp\s*\.",
        ("load_extension",),
        r"\bload_extension\s*\(",
    ),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
}


def changes_session(dialect: str, sql: str) -> bool:
    """Say whether a statement may change what later transactions of its connection see.

    What a function of the database's own changes cannot be seen from outside.

    Args:
        dialect: The name of the database.
        sql: The statement, or several with semicolons between them.

    Example:
        >>> changes_session("postgresql", "SET search_path TO tenant_1")
        True
        >>> changes_session("postgresql", "SET LOCAL search_path TO tenant_1")
        False
    """
    check = _CHECKS[dialect]
    return check(sql) if len(sql) <= _REMEMBERED_LENGTH else check.__wrapped__(sql)


def _check(signs: _Signs) -> Callable[[str], bool]:
    def check(sql: str) -> bool:
        if any(signs.commands.match(part) for part in sql.split(";")):
            return True
        lower = sql.lower()
        return any(hint in lower for hint in signs.hints) and signs.calls.search(sql) is not None

    return check


_CHECKS = {dialect: lru_cache(maxsize=1000)(_check(signs)) for dialect, signs in _SIGNS.items()}
