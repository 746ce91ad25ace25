"""Take SQL apart into statements of tokens, as far as it takes to tell what they do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["QUOTED", "statements"]

# Stands before a name in quotation marks, which is no keyword, and for a text or a number.
QUOTED, _TEXT = '"', "''"
_END = ";"
_WORD = r"[^\W\d]\w*"


@dataclass(frozen=True)
class _Dialect:
    """How the databases of a kind write what is no word.

    Attributes:
        nests: Whether a comment can be in a comment.
        token: Matches what comes next, by the name of its kind.
    """

    nests: bool
    token: re.Pattern[str]


def _dialect(texts: str, names: str, comments: str, *, nests: bool, marks: str = "") -> _Dialect:
    kinds = {
        # \ufeff: some editors begin a file with it.
        "blank": rf"(?:[\s\ufeff]{marks})+",
        "remark": r"/\*",
        "comment": comments,
        "text": texts,
        "name": names,
        "escaped": r'[uU]&"',
        "word": _WORD,
        "number": r"\d[\w.]*",
        "unreadable": r"['\"`]",
        "sign": r".",
    }
    return _Dialect(nests, re.compile("|".join(f"(?P<{kind}>{form})" for kind, form in kinds.items()), re.DOTALL))


_ESCAPED = r"'(?:[^'\\]|''|\\.)*'"
_PLAIN = r"'(?:[^']|'')*'"
_DOUBLE = r'"(?:[^"]|"")*"'
_TO_THE_END = r"--[^\n]*"
_MYSQL = _dialect(
    rf'{_ESCAPED}|"(?:[^"\\]|""|\\.)*"',
    r"`(?:[^`]|``)*`",
    r"--(?=\s|\Z)[^\n]*|\#[^\n]*",
    nests=False,
    # What is in such a comment is executed, there or on servers of one kind or from a version on.
    marks=r"|/\*M?!\d*|\*/",
)
_DIALECTS = {
    "postgresql": _dialect(
        rf"[eE]{_ESCAPED}|{_PLAIN}|\$(?P<tag>(?:{_WORD})?)\$.*?\$(?P=tag)\$", _DOUBLE, _TO_THE_END, nests=True
    ),
    "sqlite": _dialect(_PLAIN, rf"{_DOUBLE}|`(?:[^`]|``)*`|\[[^\]]*\]", _TO_THE_END, nests=False),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
}


def statements(dialect: str, sql: str) -> list[list[str]] | None:
    """Return the tokens of each statement: words in lower case, ``''`` for each text and number, and signs.

    Args:
        dialect: The name of the database.
        sql: One statement, or several with semicolons between them.

    Returns:
        The statements; ``None`` if something in them has no end, or is written with escapes.

    Example:
        >>> statements("postgresql", 'SET role TO "Bo"; -- a; b')
        [['set', 'role', 'to', '"bo']]
    """
    found: list[list[str]] = [[]]
    try:
        for each in _tokens(_DIALECTS[dialect], sql):
            if each == _END:
                found.append([])
            else:
                found[-1].append(each)
    except ValueError:
        return None
    return [each for each in found if each]


def _tokens(dialect: _Dialect, sql: str) -> Iterator[str]:
    at = 0
    while (match := dialect.token.match(sql, at)) is not None:
        kind, text, at = match.lastgroup, match[0], match.end()
        if kind == "remark":
            at = _end_of_comment(dialect, sql, at)
        elif kind in {"text", "tag", "number"}:
            yield _TEXT
        elif kind == "name":
            yield QUOTED + text[1:-1].lower()
        elif kind in {"unreadable", "escaped"}:
            raise ValueError(text)
        elif kind not in {"blank", "comment"}:
            yield text.lower()


def _end_of_comment(dialect: _Dialect, sql: str, at: int) -> int:
    depth = 1
    for mark in re.finditer(r"/\*|\*/", sql[at:]):
        depth += (1 if dialect.nests else 0) if mark[0] == "/*" else -1
        if not depth:
            return at + mark.end()
    raise ValueError(sql)
