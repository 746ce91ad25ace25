"""What tells the rows of a statement apart: columns in which any two of its rows differ.

Followed from primary keys through the equalities of joins, as a database follows functional dependencies. Columns are
compared by identity, for two aliases of a table have columns of the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Alias, CompoundSelect, FromClause, Join, Select, String, Table
from sqlalchemy.sql.elements import BindParameter, ClauseList, Label, TypeCoerce
from sqlalchemy.sql.selectable import FromGrouping, TableSample

from querywright.errors import ShapeError
from querywright.fetching.mapping.attributes import clause_of
from querywright.fetching.mapping.cardinality import equal_pairs, is_table
from querywright.fetching.mapping.clauses import (
    affinity,
    distinct_clauses,
    group_clauses,
    is_distinct,
    where_clauses,
    without_annotations,
)
from querywright.fetching.mapping.froms import final_froms, resolved
from querywright.fetching.mapping.identity import keys_of
from querywright.fetching.mapping.orders import unreferred

__all__ = ["SourceRows", "distinct_columns", "group_columns", "plain"]


@dataclass(frozen=True)
class _Equality:
    """What a join or WHERE says: a column equals another, or a constant.

    Attributes:
        column: The column.
        other: What it equals.
        decides: The elements of FROM whose row this decides: an outer join decides only its optional side.
    """

    column: Any
    other: Any
    decides: frozenset[FromClause] | None

    @property
    def is_exact(self) -> bool:
        """Whether a value equals only one: of another type it may equal several, and of text under a collation."""
        one, two = affinity(self.column.type), affinity(self.other.type)
        return one is two and not (one and issubclass(one, String))


@dataclass(frozen=True)
class SourceRows:
    """The rows that a statement reads, before they are grouped or made distinct.

    Attributes:
        elements: Each element of FROM, and whether an outer join may make its columns NULL.
        equalities: What holds between their columns.
        owners: The element that each column belongs to.
        mapped: Elements that stand for one mapped class, and the key by which the ORM tells its objects apart.
    """

    elements: dict[FromClause, bool] = field(default_factory=dict)
    equalities: list[_Equality] = field(default_factory=list)
    owners: dict[Any, FromClause] = field(default_factory=dict)
    mapped: tuple[frozenset[FromClause], tuple[Any, ...]] = (frozenset(), ())

    @classmethod
    def of(cls, statement: Any, mapped: FromClause | None = None, key: Iterable[Any] = ()) -> SourceRows:
        """Read the FROM and WHERE of a statement.

        Args:
            statement: The statement, as it was `resolved`.
            mapped: What of its FROM stands for a mapped class.
            key: The key of that class.
        """
        own = cls()
        leaves = frozenset() if mapped is None else frozenset(own._read(mapped, optional=False))
        rows = cls(mapped=(leaves, tuple(key)))
        for element in final_froms(statement):
            rows._read(element, optional=False)
        for clause in where_clauses(statement):
            rows._equate(clause, None)
        return rows

    def _read(self, element: FromClause, *, optional: bool) -> list[FromClause]:
        element = plain(element)
        if isinstance(element, FromGrouping):
            return self._read(element.element, optional=optional)
        if not isinstance(element, Join):
            self.elements[element] = optional
            self.owners.update(dict.fromkeys(element.c, element))
            return [element]
        left = self._read(element.left, optional=optional or element.full)
        right = self._read(element.right, optional=optional or element.isouter or element.full)
        if not element.full:
            self._equate(element.onclause, frozenset(right) if element.isouter else None)
        return left + right

    def _equate(self, clause: Any, decides: frozenset[FromClause] | None) -> None:
        for left, right in equal_pairs(clause):
            one, two = plain(left), plain(right)
            self.equalities.extend((_Equality(one, two, decides), _Equality(two, one, decides)))

    def is_nullable(self, expression: Any) -> bool:
        """Return whether an expression may be NULL; of all but the columns of tables that is not known."""
        owner = self.owners.get(expression)
        if owner is None or self.elements[owner]:
            return True
        return expression not in self.mapped[1] and (not is_table(owner) or bool(expression.nullable))

    def decided(self, columns: Iterable[Any]) -> set[FromClause]:
        """Find the elements of FROM of which only one row can be meant once these columns have a value."""
        known, found = set(columns), set[FromClause]()
        leaves, key = self.mapped
        if key and known.issuperset(key):
            found |= leaves
        while more := {one for one in self.elements if one not in found and self._is_decided(one, known, found)}:
            found |= more
        return found

    def _is_decided(self, element: FromClause, known: set[Any], found: set[FromClause]) -> bool:
        def holds(equality: _Equality) -> bool:
            if equality.decides is not None and element not in equality.decides:
                return False
            other = equality.other
            settled = other in known or self.owners.get(other) in found
            return isinstance(other, BindParameter) or (settled and equality.is_exact)

        def is_known(column: Any) -> bool:
            return column in known or any(each.column is column and holds(each) for each in self.equalities)

        key = _key_columns(element)
        return key is not None and all(map(is_known, key))

    def key(self, known: Iterable[Any] = ()) -> list[Any]:
        """List columns that, together with those that are known, tell the rows apart.

        Raises:
            ShapeError: Nothing tells the rows of an element of FROM apart.
        """
        known = list(known)
        leaves, mapped = self.mapped
        if not leaves <= self.decided(known) and leaves <= self.decided([*known, *mapped]):
            known += mapped
        for element in sorted(self.elements, key=lambda one: one not in leaves):
            if element not in self.decided(known):
                key = _key_columns(element)
                if key is None:
                    raise _no_key(element)
                known += key
        return list(dict.fromkeys(known))


def _no_key(element: FromClause) -> ShapeError:
    # An alias that SQLAlchemy invents, as for the table of a many-to-many relationship, has no name to be told.
    named = element.element if isinstance(element, Alias) else element
    name = str(getattr(named, "name", "%("))
    name = "a subquery" if name.startswith("%(") else name
    reason = f"nothing tells the rows of {name} apart, so that its pages could leave some out."
    hint = "Give it a primary key, unite with union() and not union_all(), or join it no more but test it with EXISTS."
    return ShapeError("statement", reason, hint=hint)


def plain(element: Any) -> Any:
    """Take away what the ORM notes on an element of SQL, its label and the type that Python takes it for."""
    element = clause_of(element)
    while isinstance(element, (Label, TypeCoerce)):
        element = element.element if isinstance(element, Label) else element.clause
    return without_annotations(element)


def group_columns(statement: Any) -> list[Any]:
    """List what the rows of a statement are grouped by."""
    return [column for clause in group_clauses(statement) for column in _listed(clause)]


def _listed(clause: Any) -> Iterator[Any]:
    if isinstance(clause, ClauseList):
        for part in clause.clauses:
            yield from _listed(part)
    else:
        yield plain(unreferred(clause))


def distinct_columns(statement: Any) -> list[Any]:
    """List what DISTINCT ON names, in either of SQLAlchemy's spellings."""
    extension = getattr(statement, "_pre_columns_clause", None)
    extensions = getattr(extension, "clauses", [extension])
    named = [column for each in extensions for column in getattr(each, "_distinct_on", ())]
    return [plain(column) for column in (*distinct_clauses(statement), *named)]


def _key_columns(element: Any) -> Sequence[Any] | None:
    """List the columns that tell the rows of one element of FROM apart; ``None`` if nothing does."""
    if isinstance(element, Table):
        keys = [key for key in keys_of(element) if not any(column.nullable for column in key)]
        return sorted(keys[0], key=list(element.c).index) if keys else None
    inside = None if isinstance(element, TableSample) else getattr(element, "element", None)
    if isinstance(inside, FromClause):
        key = _key_columns(plain(inside))
        return key and [element.corresponding_column(column) for column in key]
    columns = list(element.c)
    positions = _positions(inside)
    if positions is None or max(positions, default=0) >= len(columns):
        return None
    return [columns[position] for position in positions]


def _positions(selected: Any) -> list[int] | None:
    """Return which columns of a SELECT, by their places, tell its rows apart."""
    if isinstance(selected, CompoundSelect):
        return _positions_of_set(selected)
    if not isinstance(selected, Select):
        return None
    places = {plain(column): place for place, column in reversed([*enumerate(selected.selected_columns)])}
    key = _key_columns_of_select(resolved(selected))
    if key is not None and places.keys() >= set(key):
        return [places[column] for column in key]
    distinct = is_distinct(selected) and not distinct_columns(selected)
    return list(range(len(selected.selected_columns))) if distinct else None


def _key_columns_of_select(statement: Any) -> list[Any] | None:
    if on := distinct_columns(statement):
        return on
    groups = group_columns(statement)
    if groups:
        return groups
    try:
        return SourceRows.of(statement).key()
    except ShapeError:
        return None


def _positions_of_set(union: CompoundSelect[Any]) -> list[int] | None:
    kind, first = union.keyword.value, _positions(union.selects[0])
    if not kind.startswith("UNION") and first is not None:
        # These are some of the first rows.
        return first
    columns = [[plain(column) for column in part.selected_columns] for part in union.selects]
    if kind == "UNION" and first is not None and _is_table_in_parts(columns, first):
        return first
    return None if kind.endswith("ALL") else list(range(len(columns[0])))


def _is_table_in_parts(columns: Sequence[Sequence[Any]], key: Sequence[int]) -> bool:
    """Return whether all parts of a UNION select the same columns of one table, and its key among them."""
    table: Any = getattr(columns[0][0], "table", None)
    alike = len({tuple(map(id, part)) for part in columns}) == 1
    of_table = isinstance(table, Table) and all(getattr(column, "table", None) is table for column in columns[0])
    return alike and of_table and {columns[0][place] for place in key} >= set(table.primary_key)
