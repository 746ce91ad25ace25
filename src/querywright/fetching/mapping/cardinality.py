"""What a relationship proves of its rows: that there is at most one, or that none comes twice.

A proof needs columns that are compared by equality and a key of a real table; anything else may hold, but is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import CTE, Alias, ColumnClause, ColumnElement, FromClause, Select, Subquery, Table
from sqlalchemy.orm import Mapper, RelationshipProperty
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, FunctionFilter, Grouping, Over, WithinGroup
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.types import TypeEngine

from querywright.fetching.mapping.clauses import affinity, froms_in
from querywright.fetching.mapping.froms import final_froms
from querywright.fetching.mapping.identity import keys_of

__all__ = ["equal_pairs", "is_table", "leads_to_one", "may_repeat", "reads"]


def leads_to_one(relationship: RelationshipProperty[Any]) -> bool:
    """Return whether a foreign key leads to at most one row, so that a LEFT JOIN cannot multiply rows."""
    if relationship.direction.name != "MANYTOONE":
        return False
    if not (_holds_once(relationship) and _has_row_per_key(relationship.mapper)):
        return False
    remote = {
        far
        for pair in equal_pairs(relationship.primaryjoin)
        for near, far in (pair, pair[::-1])
        if near in relationship.local_columns and far in relationship.remote_side and _compare_alike(near, far)
    }
    keys = (key for table in _tables(relationship.mapper) for key in keys_of(table))
    return any(key <= remote for key in keys)


def may_repeat(relationship: RelationshipProperty[Any]) -> bool:
    """Return whether a row can be related twice: the ORM's collections hold it once."""
    if not _holds_once(relationship):
        return True
    table = relationship.secondary
    if table is None:
        return False
    # What SQLAlchemy calls the key of a join or a subquery need not tell its rows apart: an ON with OR, a table without
    # a key, a part of a key that is not selected.
    if not is_table(table):
        return True
    conditions = (relationship.primaryjoin, relationship.secondaryjoin)
    paired = {column for condition in conditions for pair in equal_pairs(condition) for column in pair}
    return not any(key <= paired for key in keys_of(table))


def _holds_once(relationship: RelationshipProperty[Any]) -> bool:
    """Return whether what a relationship selects from has each row of its class at most once."""
    entity = relationship.entity
    return not entity.is_aliased_class or _narrows_table(entity.selectable)


def _narrows_table(source: FromClause) -> bool:
    """Return whether a FROM has some rows of one table, each of them once."""
    if isinstance(source, Table):
        return True
    if isinstance(source, (Subquery, CTE)):
        return isinstance(source.element, Select) and _narrows(source.element)
    return isinstance(source, Alias) and _narrows_table(source.element)


def _narrows(statement: Select[Any]) -> bool:
    sources = final_froms(statement)
    if len(sources) != 1 or not _narrows_table(sources[0]):
        return False
    # A function of PostgreSQL may return many rows; one over a window or a group never does.
    parts = [part for column in statement.selected_columns for part in iterate(column)]
    windowed = {id(part.element) for part in parts if isinstance(part, (Over, FunctionFilter, WithinGroup))}
    return all(id(part) in windowed for part in parts if isinstance(part, FunctionElement))


def _has_row_per_key(mapper: Mapper[Any]) -> bool:
    """Return whether a row of one of a mapper's tables is at most one row of the class, in a hierarchy of joins.

    Concrete classes are joined by nothing.
    """
    family = [*mapper.iterate_to_root(), *mapper.self_and_descendants]
    return all(
        _is_one_to_one(each) for each in family if each.inherits and each.local_table is not each.inherits.local_table
    )


def _is_one_to_one(mapper: Mapper[Any]) -> bool:
    """Return whether the tables of a subclass and of its parent are joined by a key of each."""
    assert mapper.inherits is not None  # noqa: S101 - the caller asked
    compared = {column for pair in equal_pairs(mapper.inherit_condition) for column in pair}
    both = (mapper.local_table, mapper.inherits.local_table)
    return all(any(key <= compared for key in keys_of(table)) for table in both)


def is_table(source: FromClause) -> bool:
    """Return whether a FROM is a table, or an alias of one."""
    return isinstance(source, Table) or isinstance(getattr(source, "element", None), Table)


def reads(condition: ColumnElement[bool], source: FromClause) -> bool:
    """Return whether a condition reads a column of a FROM."""
    tables = froms_in(source)
    return any(isinstance(part, ColumnClause) and part.table in tables for part in iterate(condition))


def _tables(mapper: Mapper[Any]) -> Iterable[Any]:
    return (each.local_table for each in mapper.iterate_to_root() if isinstance(each.local_table, Table))


def _compare_alike(near: Any, far: Any) -> bool:
    """Return whether a value equals at most one of a unique column: 1 equals '1' and '01', 'A' equals 'a' by NOCASE."""
    one, two = near.type, far.type
    return affinity(one) is affinity(two) and _collation(one) == _collation(two)


def _collation(kind: TypeEngine[Any]) -> str | None:
    return getattr(getattr(kind, "impl", kind), "collation", None)


def equal_pairs(condition: Any) -> Iterator[tuple[Any, Any]]:
    """List the pairs that a condition compares by equality whatever else it asks for."""
    if isinstance(condition, Grouping):
        yield from equal_pairs(condition.element)
    elif isinstance(condition, BooleanClauseList) and condition.operator is operators.and_:
        for clause in condition.clauses:
            yield from equal_pairs(clause)
    elif isinstance(condition, BinaryExpression) and condition.operator is operators.eq:
        yield condition.left, condition.right
