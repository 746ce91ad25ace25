"""Keep compiled statements, the least recently used thrown out first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeVar

from sqlalchemy import Select
from sqlalchemy.sql.cache_key import CacheKey

from querywright.fetching.mapping.clauses import cache_key

__all__ = ["LRU", "StatementCache"]

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


class StatementCache(LRU[Value]):
    """What was made of statements, for all that differ from them by their values alone."""

    def find(
        self,
        statement: Select[Any],
        others: tuple[Hashable, ...],
        schemas: Mapping[str | None, str | None] | None,
        make: Callable[[CacheKey | None], Value],
    ) -> tuple[Value, CacheKey | None]:
        """Find what was made, or make it.

        Args:
            statement: The statement.
            others: What else it depends on.
            schemas: The connection's ``schema_translate_map``.
            make: Makes it.

        Returns:
            What was made, and the cache key of this statement, which lists its values; ``None`` if it cannot be cached.
        """
        key = cache_key(statement)
        if key is None:
            return make(None), None
        where = (others, key.key, tuple(schemas.items()) if schemas else None)
        known = self.get(where)
        if known is None:
            known = make(key)
            self.put(where, known)
        return known, key
