"""Rows that are not there, or not as they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import MultipleResultsFound, NoResultFound
from sqlalchemy.orm.exc import StaleDataError

from querywright.errors.base import QuerywrightError

__all__ = ["MultipleFound", "NotFound", "StaleData", "StaleRow"]


def _is_name(entity: str) -> bool:
    """Return whether a text is the name of a class, and not a sentence."""
    return entity.replace(".", "_").isidentifier() and not entity.endswith(".")


class NotFound(QuerywrightError, NoResultFound):
    """A statement that had to return a row returned none.

    Args:
        entity: The name of the mapped class; or a sentence of your own, which is told as it is.

    Example:
        >>> print(NotFound("Book"))
        No Book matches the statement.
        >>> print(NotFound("There is no such book."))
        There is no such book.
    """

    def __init__(self, entity: str) -> None:
        super().__init__(f"No {entity} matches the statement." if _is_name(entity) else entity)
        self.entity = entity


class MultipleFound(QuerywrightError, MultipleResultsFound):
    """A statement that had to return at most one row returned more.

    Args:
        entity: The name of the mapped class; or a sentence of your own, which is told as it is.
    """

    def __init__(self, entity: str) -> None:
        super().__init__(
            f"More than one {entity} matches the statement." if _is_name(entity) else entity,
            hint="Narrow it with where(), or use first() or all().",
        )
        self.entity = entity


@dataclass(frozen=True)
class StaleRow:
    """One row that is no longer what was read.

    Attributes:
        entity: The name of the mapped class.
        key: Its primary key, a tuple.
        version: The version that was expected; ``None`` where the class has none.
    """

    entity: str
    key: tuple[Any, ...]
    version: Any

    def __str__(self) -> str:
        key = ", ".join(map(str, self.key))
        return f"{self.entity} {key}" if self.version is None else f"{self.entity} {key} (version {self.version})"


class StaleData(QuerywrightError, StaleDataError):
    """A flush would have overwritten or deleted rows that somebody else had changed or deleted since they were read.

    Args:
        rows: Which, as far as they can be told.
    """

    def __init__(self, rows: tuple[StaleRow, ...] = ()) -> None:
        entities = " or ".join(dict.fromkeys(row.entity for row in rows))
        expected = f"Expected {', '.join(map(str, rows))}. " if rows else ""
        super().__init__(
            f"A row{f' of {entities}' if entities else ''} was changed or deleted by somebody else after it was read.",
            hint=f"{expected}Read again in a new transaction and repeat the change.",
        )
        self.rows = rows
