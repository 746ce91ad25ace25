"""Fill what was left open of a fetch by levels: find the slots in the JSON of rows, and put other rows there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from querywright.fetching.writers import MISSING

__all__ = ["Filling", "fill", "keys_in"]

_SLOT = re.compile("\x02(\\d+):([^\x02]*)\x02")


def keys_in(texts: Sequence[str]) -> dict[int, list[str]]:
    """Find the open lists in the JSON of some rows: for each number the keys, each once."""
    found: dict[int, dict[str, None]] = {}
    for text in texts:
        for number, key in _SLOT.findall(text):
            found.setdefault(int(number), {})[key] = None
    return {number: list(keys) for number, keys in found.items()}


@dataclass
class Filling:
    """The rows of open lists while they are fetched.

    Attributes:
        singles: The numbers of what is one row.
        rows: For each number, by key, the JSON of its rows.
    """

    singles: frozenset[int] = frozenset()
    rows: dict[int, dict[str, list[str]]] = field(default_factory=dict)

    def add(self, number: int, rows: Sequence[Any]) -> list[str]:
        """Keep rows, each with its key; return their JSON."""
        lists = self.rows.setdefault(number, {})
        texts = []
        for key, text in rows:
            lists.setdefault(key, []).append(text)
            texts.append(text)
        return texts


def fill(texts: Sequence[str], filling: Filling) -> Iterator[str]:
    """Put the rows of each list where it was left open."""

    def rows_of(match: re.Match[str]) -> str:
        number = int(match[1])
        rows = filling.rows.get(number, {}).get(match[2], ())
        if number in filling.singles:
            # Where statements do not see the same rows, it may be gone.
            return closed(rows[0]) if rows else f"{MISSING}a row that is gone{MISSING}"
        return f"[{','.join(closed(row) for row in rows)}]"

    def closed(text: str) -> str:
        return _SLOT.sub(rows_of, text) if "\x02" in text else text

    return map(closed, texts)
