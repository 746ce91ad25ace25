"""Keep compiled statements, the least recently used thrown out first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from typing import Generic, TypeVar

__all__ = ["LRU"]

Value = TypeVar("Value")


class LRU(Generic[Value]):
    """A bounded mapping, safe to use from several threads.

    Args:
        size: How many values are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> Value | None:
        """Return the value and mark it as used."""
        value = self._values.get(key)
        if value is not None:
            try:  # noqa: SIM105 - it would take as long as all else here
                self._values.move_to_end(key)
            except KeyError:
                pass  # another thread has just thrown it out
        return value

    def put(self, key: Hashable, value: Value) -> None:
        """Keep the value; throw out the oldest if there are too many."""
        self._values[key] = value
        while len(self._values) > self._size:
            with suppress(KeyError):  # another thread may have been faster
                self._values.popitem(last=False)
