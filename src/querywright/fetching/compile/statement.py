"""What the user's statement selects, and which of its columns a plan needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnClause, ColumnElement, FromClause, Select, func, inspect
from sqlalchemy.orm import ColumnProperty, Mapper
from sqlalchemy.sql.elements import _textual_label_reference as TextualLabel  # noqa: N812
from sqlalchemy.sql.visitors import iterate, replacement_traverse

from querywright.errors import ShapeError
from querywright.fetching.compile import related
from querywright.fetching.compile.slots import primary_key
from querywright.fetching.mapping.clauses import froms_in, has_limit, is_distinct, is_union, order_clauses
from querywright.fetching.mapping.froms import final_froms, named_columns, resolved, with_values
from querywright.fetching.mapping.identity import key_names, whole_row
from querywright.fetching.mapping.orders import apart, together
from querywright.fetching.mapping.rowkeys import plain
from querywright.fetching.plan.nodes import Embedded, Node, Plan, Scalar, Shape, Source, Variants

__all__ = ["inner_rows", "is_column", "ordered_rows", "root_entity", "root_keys", "root_mapper"]


def root_mapper(statement: Select[Any]) -> Mapper[Any]:
    """Find the mapped class that a statement selects.

    Raises:
        ShapeError: It selects anything but exactly one mapped class.
    """
    return inspect(root_entity(statement)).mapper  # type: ignore[no-any-return]


def root_entity(statement: Select[Any]) -> Any:
    """Find the mapped class that a statement selects, or the alias of it."""
    described = statement.column_descriptions
    entity = described[0].get("entity") if len(described) == 1 else None
    if entity is None or described[0]["expr"] is not entity:
        reason = f"it must select exactly one mapped class, not {', '.join(str(d['name']) for d in described)}."
        raise ShapeError("statement", reason, hint="Write select(User); the response model chooses the columns.")
    return entity


def root_keys(plan: Plan, statement: Select[Any], *, split: bool = False) -> dict[Source, str]:
    """Name what the plan and its relationships need of the root, each with a short column name."""
    needed = _needed(plan.root, plan.mapper)
    if split:
        needed += [part.source for part in primary_key(plan.mapper)]
    if is_distinct(statement):
        # All columns: fewer could make different rows alike, and PostgreSQL wants those of ORDER BY among them.
        needed += whole_row(plan.mapper)
    return {key: f"c{position}" for position, key in enumerate(dict.fromkeys(needed))}


def inner_rows(statement: Select[Any], keys: Mapping[Source, str]) -> FromClause:
    """Narrow the user's statement to the columns that are needed.

    Raises:
        ShapeError: One of them belongs to something that the statement does not select from.
    """
    entity = root_entity(statement)
    given = related.expressions_of(statement, entity)
    columns = [
        (given[key] if key in given else related.expression_of(entity, key)).label(name) for key, name in keys.items()
    ]
    statement = _with_columns_for_names(statement)
    plain = all(key not in given and is_column(key, inspect(entity).mapper) for key in keys)
    # An expression may have no FROM of its own, such as a subquery that is correlated, or bring one along; what
    # Query.union() makes has exactly one.
    united = is_union(statement)
    narrowed = statement.with_only_columns(*columns, maintain_column_froms=not (plain or united))
    if inspect(entity).is_aliased_class:
        # An alias of a subquery need not have all columns of its class.
        known: Any = statement.with_only_columns(*related.identity_columns(entity))
    elif plain:
        return narrowed.subquery()
    else:
        known = statement
    if len(final_froms(narrowed)) > len(final_froms(known)):
        reason = "a column or an expression of the model is of a table that the statement does not select from."
        raise ShapeError("statement", reason, hint="Select from it, join it, or make the expression a subquery.")
    return narrowed.subquery()


def ordered_rows(statement: Select[Any], keys: Mapping[Source, str]) -> tuple[FromClause, list[Any]]:
    """Narrow a statement like `inner_rows`, for a database that reads a subquery in any order.

    Returns:
        The rows, and what they are ordered by, as columns of theirs.
    """
    narrowed: Any = inner_rows(statement, keys)
    selected = resolved(narrowed.element)
    clauses = order_clauses(selected)
    order = [(plain(expression), words) for expression, words in map(apart, clauses)]
    names = {plain(column): column.name for column in selected.selected_columns}
    added: dict[Any, None] = {}
    if is_distinct(selected):
        # Rows would differ in another column, and what is not of the class alone has no one value for a row.
        joined = {part for source in final_froms(selected) for part in froms_in(source)}
        order = [pair for pair in order if not any(c.table in joined and c not in names for c in _columns_in(pair[0]))]
    else:
        if not all(isinstance(expression, ColumnElement) for expression, _ in order):
            # A text may stand for several, and have words for a direction in it.
            order = [(func.row_number().over(order_by=clauses), [])]
        added = dict.fromkeys(expression for expression, _ in order if expression not in names)
        names |= {value: f"o{place}" for place, value in enumerate(added)}
    rows = selected if has_limit(statement) else selected.order_by(None)
    bare = with_values(rows, {names[value]: value for value in added})

    def column_of(element: Any, **_: Any) -> Any:
        name = names.get(element) or names.get(plain(element))
        return None if name is None else bare.c[name]

    return bare, [together(replacement_traverse(each, {}, column_of), words) for each, words in order]


def _columns_in(expression: Any) -> list[Any]:
    return [plain(part) for part in iterate(expression) if isinstance(part, ColumnClause)]


def _with_columns_for_names(statement: Select[Any]) -> Select[Any]:
    """Replace the names in ORDER BY by the columns that have them, for those are called otherwise in a subquery."""
    if not any(isinstance(part, TextualLabel) for clause in order_clauses(statement) for part in iterate(clause)):
        return statement
    named = named_columns(resolved(statement))

    def column_of(element: Any, **_: Any) -> Any:
        return named.get(element.element) if isinstance(element, TextualLabel) else None

    clauses = [replacement_traverse(clause, {}, column_of) for clause in order_clauses(statement)]
    return statement.order_by(None).order_by(*clauses)


def _needed(node: Node, mapper: Mapper[Any]) -> list[Source]:
    """List what a node reads of the row it belongs to."""
    return _NEEDED.get(type(node), _needed_to_follow)(node, mapper)


def _needed_to_follow(node: Any, mapper: Mapper[Any]) -> list[Source]:
    local = mapper.relationships[node.relationship].local_columns
    names: list[Source] = sorted(mapper.get_property_by_column(column).key for column in local)  # type: ignore[assignment]
    return names


def _needed_by_cases(node: Variants, mapper: Mapper[Any]) -> list[Source]:
    own = [source for shape in node.shapes if shape.mapper is mapper for source in _needed(shape, mapper)]
    return [node.discriminator.source, *key_names(mapper), *own]


_NEEDED: dict[type, Callable[[Any, Mapper[Any]], list[Source]]] = {
    Scalar: lambda node, _: [node.source],
    Shape: lambda node, mapper: [source for part in node.inner for source in _needed(part, mapper)],
    Embedded: lambda node, mapper: [*_needed(node.shape, mapper), *node.columns],
    Variants: _needed_by_cases,
}


def is_column(source: Source, mapper: Mapper[Any]) -> bool:
    """Return whether a source is a plain column, and not an expression."""
    attribute = mapper.attrs.get(source) if isinstance(source, str) else None
    return isinstance(attribute, ColumnProperty) and isinstance(attribute.columns[0], ColumnClause)
