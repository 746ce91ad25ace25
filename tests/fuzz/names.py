"""Invent names that break what does not quote: for tables, columns, attributes, aliases and enum members."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence

from hypothesis import strategies as st
from pydantic import BaseModel

MAX_BYTES = 63  # of a PostgreSQL identifier


class Names:
    """Names to draw from: mostly known to be hard, now and then any other.

    Args:
        hard: The hard ones, the easiest first.
        others: All others.
    """

    def __init__(self, hard: Sequence[str], others: st.SearchStrategy[str]) -> None:
        # As few choices as possible: many names are drawn for each example.
        self._hard = st.sampled_from((*hard, *[""] * (len(hard) // 5)))
        self._others = others

    def draw(self, draw: st.DrawFn) -> str:
        return draw(self._hard) or draw(self._others)


characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
HARD_TEXTS = (
    "", "a", "order", "'", '"', "''", "a'b", 'a"b', "\\", "\\'", "a\\b", "%", "%s", "%(y)s",
    "%(id_1)s", "%(a_1)s", "%(param_1)s", "%%", ":x", "::text", "$1",
    "?", "{}", "{x}", "[a]", "a.b", "a b", " a", "a,b", ";", "--", "/*", "*/", "`", "\t", "\n", "\r\n", "\x02", "\x1f",
    "\x7f", "é", "имя", "名前", "😀", "\u2028", "\ufeff", "\u202e", "e\u0301", "null", "NaN", "Infinity", "true", "0",
    "{}{}", "}{", '","', '":"', "</script>", "\\u0000", "\\n", "2020-01-01T00:00:00",
)  # fmt: skip
texts = st.sampled_from(HARD_TEXTS) | st.text(characters, max_size=20)

# No name of the form %(y)s: where a column is called y, SQLAlchemy's own INSERT takes it for the parameter. Where
# parameters have no names, as on SQLite, its SELECT takes %( for the beginning of one, whatever follows.
HARD_NAMES = (
    "a", "b", "id", "order", "select", "user", "group", "Order", "CamelCase", "o", "n", "c0", "c1", "anon_1", "anon_2",
    "a b", "a'b", 'a"b', "%s", "%", ":x", "100%", "a\\b", "a.b", "a;b", "[a]", "a`b", "?", "$1", "(a)", "--",
    "/*", "1a", "_", "é", "имя", "名前", "😀", "a\nb", " ", "x" * 60, "x" * 63, "é" * 31, "param_1", "id_1", "value",
    "json", "text", "length", "NULL", "rowid", "'||'", "{a}",
)  # fmt: skip
database_names = Names(HARD_NAMES, st.text(characters, min_size=1, max_size=8).filter(lambda name: "%(" not in name))

_HARD_ATTRIBUTES = (
    "a", "b", "id", "order", "select", "user", "group", "Order", "camelCase", "o", "n", "c0", "c1", "c2", "anon_1",
    "class", "lambda", "None", "value", "type", "self", "cls", "key", "keys", "items", "имя", "naïve", "名前", "x" * 64,
    "param_1", "id_1", "null", "text", "length", "path",
)  # fmt: skip
_TAKEN_ATTRIBUTES = {*dir(BaseModel), "metadata", "registry"}
attribute_names = Names(
    _HARD_ATTRIBUTES,
    st.text(string.ascii_letters, min_size=1, max_size=8).filter(lambda name: name not in _TAKEN_ATTRIBUTES),
)
# One that is an attribute of every mapped class leads the ORM's side astray.
alias_names = Names(
    HARD_TEXTS,
    st.text(characters, min_size=1, max_size=20).filter(
        lambda name: not name.startswith("_") and name not in _TAKEN_ATTRIBUTES
    ),
)

# What SQLAlchemy makes of these characters in the name of a parameter.
_PARAMETER = str.maketrans({"%": "P", "(": "A", ")": "Z", ":": "C", **dict.fromkeys(" .[]", "_")})


def fold(name: str) -> str:
    """Give names that a database or a driver's parameters cannot tell apart the same form."""
    return re.sub(r"\W", "_", name.translate(_PARAMETER).casefold())


class Namer:
    """Draws names that differ from each other.

    Args:
        draw: Hypothesis' function.
        names: What to draw from.
        size: How many bytes a name may have.
    """

    def __init__(self, draw: st.DrawFn, names: Names, size: int = MAX_BYTES) -> None:
        self._size = size
        self._draw = draw
        self._names = names
        self._used: set[str] = set()

    def __call__(self) -> str:
        name = short(self._names.draw(self._draw), self._size)
        while fold(name) in self._used:
            name = f"{short(name, self._size - 4)}{len(self._used)}"
        self._used.add(fold(name))
        return name

    def reserve(self, name: str) -> None:
        """Never draw this name."""
        self._used.add(fold(name))

    def many(self, count: int) -> tuple[str, ...]:
        return tuple(self() for _ in range(count))


def short(name: str, size: int = MAX_BYTES) -> str:
    """Cut a name to what PostgreSQL keeps of it."""
    return name.encode()[:size].decode(errors="ignore")


AliasGenerator = Callable[[str], str]
ALIAS_GENERATORS: tuple[AliasGenerator, ...] = (
    lambda name: f"{name}Alias",
    lambda name: f"'{name}\" %s :x \\",
    lambda name: f"名 {name}",
)
