"""What SQLAlchemy makes of a statement before it writes it: its FROMs, and what its names stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import FromClause, type_coerce
from sqlalchemy.engine.default import StrCompileDialect
from sqlalchemy.sql.base import CompileState
from sqlalchemy.types import NULLTYPE

__all__ = ["final_froms", "named_columns", "resolved", "with_values"]

_DIALECT: Any = StrCompileDialect()


def final_froms(statement: Any) -> Sequence[FromClause]:
    """List the FROMs of a statement as its text has them, like its method ``get_final_froms()``."""
    froms: Sequence[FromClause] = _compile_state(statement)._get_display_froms()  # noqa: SLF001 - as above
    return froms


def resolved(statement: Any) -> Any:
    """Turn the entities, relationships and hybrids of a statement into the tables and columns that SQLAlchemy sends."""
    orm = getattr(CompileState.get_plugin_class(statement), "default_compile_options", None)
    if orm is not None:
        # As in a subquery, which it becomes: joinedload() would join to it what it does not select.
        options = orm.safe_merge(statement._compile_options)  # noqa: SLF001 - nothing public
        statement = statement._set_compile_options(options + {"_enable_eagerloads": False})  # noqa: SLF001 - as above
    made = _compile_state(statement).statement
    # SQLAlchemy 2.1 reads them only of the statements that it comes across, and without a cache key nowhere else.
    if getattr(statement, "_params", None):
        made = made.params(statement._params)  # noqa: SLF001 - as above
    return made


def named_columns(selected: Any) -> dict[str, Any]:
    """List what the names in the ORDER BY of a `resolved` statement stand for."""
    named: dict[str, Any] = _compile_state(selected)._label_resolve_dict[0]  # noqa: SLF001 - nothing public
    return named


def with_values(statement: Any, values: Mapping[str, Any]) -> FromClause:
    """Make a subquery of a `resolved` statement, with further values under names of theirs."""
    # Of no type, so that they stand for no column of a class, which would be taken for one of its own.
    selected = statement.add_columns(*(type_coerce(value, NULLTYPE).label(name) for name, value in values.items()))
    # All in it is tables and columns already, and the ORM, that would look for classes in it, has no part in it.
    vars(selected).pop("_propagate_attrs", None)
    made: FromClause = selected.subquery()
    return made


def _compile_state(statement: Any) -> Any:
    """Resolve a statement as SQLAlchemy does while it compiles one."""
    # Of no statement: that of ``get_final_froms()`` writes the whole text, and nobody reads it.
    compiler = _DIALECT.statement_compiler(_DIALECT, None)
    return statement._compile_state_factory(statement, compiler)  # noqa: SLF001 - nothing public gives all of it
