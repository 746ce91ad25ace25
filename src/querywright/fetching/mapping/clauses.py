"""What a statement consists of: SQLAlchemy gives its users no readers for most of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import FromClause
from sqlalchemy.sql.cache_key import CacheKey
from sqlalchemy.types import TypeEngine

__all__ = [
    "affinity", "cache_key", "column_clauses", "distinct_clauses", "froms_in", "group_clauses", "has_limit",
    "has_locks", "having_clauses", "is_distinct", "is_union", "options_of", "order_clauses", "where_clauses",
    "without_annotations", "without_locks",
]  # fmt: skip


def cache_key(statement: Any) -> CacheKey | None:
    """Return the structure of a statement, and its values; ``None`` if SQLAlchemy cannot keep what it makes of it."""
    key: CacheKey | None = statement._generate_cache_key()  # noqa: SLF001 - as everywhere here
    return key


def has_limit(statement: Any) -> bool:
    """Return whether it has a LIMIT, an OFFSET or a FETCH."""
    return bool(statement._has_row_limiting_clause)  # noqa: SLF001


def is_distinct(statement: Any) -> bool:
    """Return whether it has a DISTINCT, also a DISTINCT ON."""
    return bool(statement._distinct)  # noqa: SLF001


def distinct_clauses(statement: Any) -> Sequence[Any]:
    """List what stands behind its DISTINCT ON."""
    clauses: Sequence[Any] = statement._distinct_on  # noqa: SLF001
    return clauses


def has_locks(statement: Any) -> bool:
    """Return whether it has a FOR UPDATE or the like."""
    return statement._for_update_arg is not None  # noqa: SLF001


def without_locks(statement: Any) -> Any:
    """Return it without its FOR UPDATE."""
    made = statement._generate()  # noqa: SLF001
    made._for_update_arg = None  # noqa: SLF001
    return made


def column_clauses(statement: Any) -> Sequence[Any]:
    """List what it selects, as it was written."""
    clauses: Sequence[Any] = statement._raw_columns  # noqa: SLF001
    return clauses


def where_clauses(statement: Any) -> Sequence[Any]:
    """List the conditions of its WHERE, which its public reader joins."""
    clauses: Sequence[Any] = statement._where_criteria  # noqa: SLF001
    return clauses


def order_clauses(statement: Any) -> Sequence[Any]:
    """List what it is ordered by."""
    clauses: Sequence[Any] = statement._order_by_clauses  # noqa: SLF001
    return clauses


def group_clauses(statement: Any) -> Sequence[Any]:
    """List what it is grouped by."""
    clauses: Sequence[Any] = statement._group_by_clauses  # noqa: SLF001
    return clauses


def having_clauses(statement: Any) -> Sequence[Any]:
    """List the conditions of its HAVING."""
    clauses: Sequence[Any] = statement._having_criteria  # noqa: SLF001
    return clauses


def options_of(statement: Any) -> Sequence[Any]:
    """List the options that it was given."""
    options: Sequence[Any] = statement._with_options  # noqa: SLF001
    return options


def is_union(statement: Any) -> bool:
    """Return whether it is what ``Query.union()`` makes."""
    return bool(getattr(statement._compile_options, "_set_base_alias", False))  # noqa: SLF001


def froms_in(element: Any) -> Sequence[FromClause]:
    """List the FROMs that an expression names, or that a FROM consists of."""
    froms: Sequence[FromClause] = element._from_objects  # noqa: SLF001
    return froms


def without_annotations(element: Any) -> Any:
    """Return an expression as the table has it, without what the ORM knows of it."""
    return element._deannotate()  # noqa: SLF001


def affinity(kind: TypeEngine[Any]) -> Any:
    """Return the class of what a type is of, such as numbers."""
    return kind._type_affinity  # noqa: SLF001
