"""Take SQL apart into statements of tokens, as far as it takes to tell what they do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["DOUBLE", "ESCAPED", "PLAIN", "QUOTED", "TO_THE_END", "WORD", "Grammar", "Tokens", "grammar", "statements"]

Tokens = list[str]

# Stands before a name in quotation marks, which is no keyword, and for a text or a number.
QUOTED, _TEXT = '"', "''"
_END = ";"
# Patterns of what most databases write alike: words, texts, names and comments.
WORD = r"[^\W\d]\w*"
ESCAPED = r"'(?:[^'\\]|''|\\.)*'"
PLAIN = r"'(?:[^']|'')*'"
DOUBLE = r'"(?:[^"]|"")*"'
TO_THE_END = r"--[^\n]*"


@dataclass(frozen=True)
class Grammar:
    """How a database writes what is no word.

    Attributes:
        nests: Whether a comment can be in a comment.
        token: Matches what comes next, by the name of its kind.
    """

    nests: bool
    token: re.Pattern[str]


def grammar(texts: str, names: str, comments: str, *, nests: bool, marks: str = "") -> Grammar:
    """Make a grammar of patterns.

    Args:
        texts: Matches a text in quotation marks.
        names: Matches a name in quotation marks.
        comments: Matches a comment that ends with its line.
        nests: Whether a comment can be in a comment.
        marks: Matches what means nothing, behind a ``|``.
    """
    kinds = {
        # \ufeff: some editors begin a file with it.
        "blank": rf"(?:[\s\ufeff]{marks})+",
        "remark": r"/\*",
        "comment": comments,
        "text": texts,
        "name": names,
        "escaped": r'[uU]&"',
        "word": WORD,
        "number": r"\d[\w.]*",
        "unreadable": r"['\"`]",
        "sign": r".",
    }
    return Grammar(nests, re.compile("|".join(f"(?P<{kind}>{form})" for kind, form in kinds.items()), re.DOTALL))


def statements(written: Grammar, sql: str) -> list[Tokens] | None:
    """Return the tokens of each statement: words in lower case, ``''`` for each text and number, and signs.

    Args:
        written: How it is written.
        sql: One statement, or several with semicolons between them.

    Returns:
        The statements; ``None`` if something in them has no end, or is written with escapes.

    Example:
        >>> statements(grammar(PLAIN, DOUBLE, TO_THE_END, nests=True), 'SET role TO "Bo"; -- a; b')
        [['set', 'role', 'to', '"bo']]
    """
    found: list[Tokens] = [[]]
    try:
        for each in _tokens(written, sql):
            if each == _END:
                found.append([])
            else:
                found[-1].append(each)
    except ValueError:
        return None
    return [each for each in found if each]


def _tokens(written: Grammar, sql: str) -> Iterator[str]:
    at = 0
    while (match := written.token.match(sql, at)) is not None:
        kind, text, at = match.lastgroup, match[0], match.end()
        if kind == "remark":
            at = _end_of_comment(written, sql, at)
        elif kind in {"text", "tag", "number"}:
            yield _TEXT
        elif kind == "name":
            yield QUOTED + text[1:-1].lower()
        elif kind in {"unreadable", "escaped"}:
            raise ValueError(text)
        elif kind not in {"blank", "comment"}:
            yield text.lower()


def _end_of_comment(written: Grammar, sql: str, at: int) -> int:
    depth = 1
    for mark in re.finditer(r"/\*|\*/", sql[at:]):
        depth += (1 if written.nests else 0) if mark[0] == "/*" else -1
        if not depth:
            return at + mark.end()
    raise ValueError(sql)
