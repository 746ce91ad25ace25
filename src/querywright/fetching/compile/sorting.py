"""How the rows of a statement are ordered: what its ORDER BY says, and what makes that order total."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from sqlalchemy import BindParameter, Select, inspect, literal_column, select
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import ColumnClause, ColumnElement, Over, Tuple
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import ScalarSelect

from querywright.errors import ShapeError
from querywright.fetching.compile.keyset import Sort
from querywright.fetching.compile.related import expression_of, identity_columns
from querywright.fetching.compile.statement import inner_rows, root_entity
from querywright.fetching.mapping.clauses import (
    froms_in,
    has_limit,
    has_locks,
    having_clauses,
    is_distinct,
    order_clauses,
)
from querywright.fetching.mapping.froms import final_froms, named_columns, resolved
from querywright.fetching.mapping.identity import whole_row
from querywright.fetching.mapping.orders import apart, unreferred
from querywright.fetching.mapping.rowkeys import SourceRows, distinct_columns, group_columns, plain
from querywright.fetching.plan.nodes import Source
from querywright.fetching.writers import JsonWriter

__all__ = ["Order", "order_of"]


_NOTHING: Mapping[Source, str] = MappingProxyType({})


@dataclass(frozen=True)
class Order:
    """A total order of the rows of a statement.

    Attributes:
        statement: The statement as SQLAlchemy sends it, with an ORDER BY only if that decides which rows it has.
        sorts: What its rows are ordered by.
        parameters: The parameters in that.
        attributes: For each of the sorts the attribute of the selected class whose column it is, if it is one.
        asked: How many of them its ORDER BY names; the others tell equal rows apart.
    """

    statement: Select[Any]
    sorts: tuple[Sort, ...]
    parameters: tuple[BindParameter[Any], ...]
    attributes: tuple[Source | None, ...]
    asked: int

    @cached_property
    def name(self) -> str:
        """The SQL of the order."""
        # One column at least: where the WHERE names a single row, nothing is left to sort by.
        values = select(literal_column("1"), *(sort.expression for sort in self.sorts))
        from_all = values.select_from(*final_froms(self.statement))
        return f"{from_all} {[(sort.descending, sort.nulls_first) for sort in self.sorts]}"


def order_of(statement: Select[Any], writer: JsonWriter, keys: Mapping[Source, str] = _NOTHING) -> Order:
    """Read the ORDER BY of a statement that has pages, and add what makes the order total.

    Args:
        statement: The statement.
        writer: What is known of the database.
        keys: What of its class it selects, with names.

    Raises:
        ShapeError: Pages could leave some of its rows out, or show them twice.
    """
    _require_whole(statement)
    reading = _Reading(statement, writer, keys)
    asked = reading.asked
    for each in asked:
        reading.require_fixed(each.expression)
    known = dict.fromkeys(each.expression for each in asked)
    last = asked[-1].descending if asked else False
    ties = [_Asked(column, last) for column in reading.ties(known) if column not in known]
    expressions = [each.expression for each in (*asked, *ties)]
    sorts = tuple(reading.sort(each, expressions[0]) for each in (*asked, *ties))
    parts = (part for expression in expressions for part in visitors.iterate(expression))
    parameters = tuple(part for part in parts if isinstance(part, BindParameter))
    attributes = tuple(reading.attributes.get(sort.expression) for sort in sorts)
    return Order(reading.unordered(known), sorts, parameters, attributes, len(asked))


def _require_whole(statement: Select[Any]) -> None:
    if has_limit(statement):
        raise ShapeError("statement", "it has a limit of its own, and page() sets one.", hint="Leave it out.")
    if has_locks(statement):
        reason = "it locks its rows, and would lock those of all pages."
        raise ShapeError("statement", reason, hint="Fetch the rows to lock by their keys, or with a limit of its own.")


@dataclass(frozen=True)
class _Asked:
    """An expression that rows are ordered by; without a word on NULL it sorts by the database's habit."""

    expression: Any
    descending: bool
    nulls_first: bool | None = None


_ON_NULL = {operators.nulls_first_op, operators.nulls_last_op}
# Functions that tell another value from call to call, so that no cursor holds.
_VOLATILE = frozenset({
    "clock_timestamp", "curdate", "current_date", "current_time", "current_timestamp", "curtime", "gen_random_uuid",
    "localtime", "localtimestamp", "newid", "nextval", "now", "rand", "random", "randomblob", "statement_timestamp",
    "sysdate", "timeofday", "transaction_timestamp", "utc_timestamp", "uuid", "uuid_generate_v4", "uuidv4", "uuidv7",
})  # fmt: skip
_AGGREGATES = frozenset({"array_agg", "avg", "count", "group_concat", "string_agg", "sum", "total"})
_GROUPING_SETS = frozenset({"cube", "grouping_sets", "rollup"})


@dataclass(frozen=True)
class _Reading:
    """A statement while its order is read."""

    statement: Select[Any]
    writer: JsonWriter
    keys: Mapping[Source, str]

    @cached_property
    def entity(self) -> Any:
        """The mapped class that it selects, or the alias of it."""
        return root_entity(self.statement)

    @cached_property
    def _own(self) -> tuple[list[Any], list[Any]]:
        """The key of the class, and all of its columns."""
        columns = [expression_of(self.entity, source) for source in whole_row(inspect(self.entity).mapper)]
        return identity_columns(self.entity), columns

    @cached_property
    def resolved(self) -> Any:
        """The statement as SQLAlchemy sends it, ordered by the key and all columns of the class as well."""
        # In an ORDER BY the ORM adapts them to what it selects the class from.
        key, columns = self._own
        ordered = self.statement.order_by(*key, *columns)
        narrowed: Any = inner_rows(ordered, self.keys) if self.keys else None
        return resolved(narrowed.element if self.keys else ordered)

    @cached_property
    def _clauses(self) -> tuple[list[Any], list[Any], list[Any]]:
        clauses = list(order_clauses(self.resolved))
        key, columns = map(len, self._own)
        end = len(clauses) - key - columns
        own = [plain(unreferred(clause)) for clause in clauses[end:]]
        return clauses[:end], own[:key], own[key:]

    @cached_property
    def attributes(self) -> dict[Any, Source]:
        """The attributes of the class that are columns, by these."""
        pairs = zip(self._clauses[2], whole_row(inspect(self.entity).mapper), strict=True)
        # A type may read its column through a function of SQL, and what is ordered is the column.
        return {
            column: source
            for column, source in reversed(list(pairs))
            if isinstance(column, ColumnClause) and not column.type._has_column_expression  # noqa: SLF001 - nothing public
        }

    @cached_property
    def rows(self) -> SourceRows:
        """The rows that it reads."""
        insp = inspect(self.entity)
        # The ORM's word on the key holds for the class, and not for a subquery that is read in its place.
        source = getattr(insp.selectable, "element", None) if insp.is_aliased_class else insp.selectable
        trusted = source is insp.mapper.selectable
        return SourceRows.of(self.resolved, insp.selectable, self._clauses[1] if trusted else ())

    @cached_property
    def _groups(self) -> list[Any]:
        return group_columns(self.resolved)

    @cached_property
    def _on(self) -> list[Any]:
        return distinct_columns(self.resolved) if self.writer.distinct_on else []

    @property
    def _is_distinct(self) -> bool:
        return bool(is_distinct(self.statement)) and not self._on

    @cached_property
    def asked(self) -> list[_Asked]:
        """What its ORDER BY says."""
        return [self._asked(clause) for clause in self._clauses[0]]

    def _asked(self, clause: Any) -> _Asked:
        expression, words = apart(clause)
        on_null = [word is operators.nulls_first_op for word in words if word in _ON_NULL]
        return _Asked(
            plain(self._meant(expression)), operators.desc_op in words, nulls_first=on_null[-1] if on_null else None
        )

    def _meant(self, clause: Any) -> Any:
        """Find what a name stands for, as SQLAlchemy does."""
        name = getattr(clause, "element", None)
        if isinstance(clause, ColumnElement) and not isinstance(name, str):
            return clause
        named = named_columns(self.resolved)
        if name not in named:
            raise ShapeError("statement", "it is ordered by a text.", hint="Order a list that has pages by columns.")
        return named[name]

    def require_fixed(self, expression: Any) -> None:
        """Check that rows have the same value of an expression on each page.

        Raises:
            ShapeError: They may have another.
        """
        parts = list(visitors.iterate(expression))
        names = {str(getattr(part, "name", "")).lower() for part in parts if isinstance(part, FunctionElement)}
        if unstable := sorted(names & _VOLATILE):
            raise _refused(expression, f"{unstable[0]}() tells another value from page to page")
        if any(isinstance(part, Tuple) for part in parts):
            raise _refused(expression, "the value of a row in parentheses fits no cursor")
        if any(isinstance(part, ColumnClause) and part.is_literal and part.name.isdigit() for part in parts):
            raise _refused(expression, "the place of a column is another in the statement of a page")
        foreign = [plain(each) for each in froms_in(expression)]
        if not self.rows.elements.keys() >= set(foreign):
            raise _refused(expression, "it selects nothing from there")
        if self._groups:
            self._require_grouped(expression)
        elif any(map(_is_aggregate, parts)) and not any(isinstance(part, (Over, ScalarSelect)) for part in parts):
            raise _refused(expression, "there is no GROUP BY")
        if self._is_distinct:
            self._require_own(expression, parts)

    def _require_grouped(self, expression: Any) -> None:
        decided = self.rows.decided(self._groups)
        if any(expression.compare(group) for group in self._groups):
            return
        for column in _bare_columns(expression):
            if column not in self._groups_set and self.rows.owners.get(column) not in decided:
                raise _refused(expression, "it has many values in a group")

    def _require_own(self, expression: Any, parts: Sequence[Any]) -> None:
        own, _ = self.rows.mapped
        known = [part for part in parts if isinstance(part, ColumnClause)]
        owners = {self.rows.owners[part] for part in map(plain, known) if part in self.rows.owners}
        computed = any(isinstance(part, Over) or getattr(part, "is_literal", False) for part in parts)
        if computed or not own >= owners or self._groups:
            raise _refused(expression, "with DISTINCT it may have many values for one row")

    @cached_property
    def _groups_set(self) -> set[Any]:
        return set(self._groups)

    def ties(self, known: Mapping[Any, Any]) -> list[Any]:
        """List what tells rows apart that are equal in what is known of them.

        Raises:
            ShapeError: Nothing does.
        """
        if self._on:
            return self._on
        read = self._read_key(known)
        return self._distinct_key() if self._is_distinct else read

    def _read_key(self, known: Mapping[Any, Any]) -> list[Any]:
        """List what tells rows apart before they are made distinct."""
        if self._groups or having_clauses(self.resolved):
            return self._group_key()
        # DISTINCT makes one row of those that nothing tells apart.
        return [] if self._is_distinct else self.rows.key(known)

    def _group_key(self) -> list[Any]:
        own, _ = self.rows.mapped
        _, key, columns = self._clauses
        sets = any(getattr(group, "name", None) in _GROUPING_SETS for group in self._groups)
        determined = own <= self.rows.decided(self._groups) or self._groups_set >= set(columns)
        if sets or not determined:
            name = inspect(self.entity).mapper.class_.__name__
            reason = f"its groups do not tell which {name} each of them is."
            raise ShapeError("statement", reason, hint=f"Group by the primary key of {name}.")
        # What follows from a key that is among them is left out.
        kept: list[Any] = []
        for group in sorted(self._groups, key=lambda group: group not in set(key)):
            if self.rows.owners.get(group) not in self.rows.decided(kept):
                kept.append(group)
        return kept

    def _distinct_key(self) -> list[Any]:
        _, key, columns = self._clauses
        own, _ = self.rows.mapped
        return key if own <= self.rows.decided(key) else columns

    def unordered(self, known: Mapping[Any, Any]) -> Select[Any]:
        """Take the ORDER BY away; from DISTINCT ON, where it says which rows there are, never."""
        rows: Select[Any] = self.resolved.order_by(None)
        if not self._on:
            return rows
        ties = [column for column in self._read_key(known) if column not in known]
        return rows.order_by(*(self._clauses[0] or self._on), *ties)

    def sort(self, asked: _Asked, first: Any) -> Sort:
        """Write what the database sorts and compares; ``first`` is what rows are ordered by before all else."""
        by_habit = asked.descending is self.writer.nulls_are_largest
        nulls_first = by_habit if asked.nulls_first is None else asked.nulls_first
        nullable = self.rows.is_nullable(asked.expression)
        joined = self.rows.owners.get(asked.expression) is not self.rows.owners.get(first)
        return Sort(self.writer.sort_key(asked.expression), asked.descending, nulls_first, nullable, joined)


def _is_aggregate(part: Any) -> bool:
    if not isinstance(part, FunctionElement):
        return False
    name = str(getattr(part, "name", "")).lower()
    # SQLite has functions of the same names that compare their arguments.
    return name in _AGGREGATES or (name in {"min", "max"} and len(part.clauses) == 1)


def _bare_columns(clause: Any) -> Iterator[Any]:
    """Find the columns outside of functions, which may be aggregates, and of subqueries."""
    if isinstance(clause, ColumnClause):
        yield plain(clause)
    elif not isinstance(clause, (FunctionElement, ScalarSelect)):
        for part in clause.get_children():
            yield from _bare_columns(part)


def _refused(expression: Any, reason: str) -> ShapeError:
    hint = "Order a list that has pages by columns of its rows, or by expressions of them."
    return ShapeError("statement", f"it is ordered by {expression}, and {reason}.", hint=hint)
