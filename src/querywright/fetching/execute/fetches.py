"""Run a fetch: in one statement or several, all rows or batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, Select
from sqlalchemy.orm import Session

from querywright.engine.pool.streams import place_for_stream
from querywright.errors import MultipleFound, NotFound, SessionEnded, ShapeError
from querywright.fetching.compile.binding import Binder, CacheKey, SchemaMap, Statement
from querywright.fetching.compile.compiler import MOST
from querywright.fetching.compile.form import Form
from querywright.fetching.execute.compiled import CompiledFetch, compiled_for
from querywright.fetching.execute.entering import entered
from querywright.fetching.execute.levels import learn, most_rows, run_levels, stream_levels
from querywright.fetching.execute.query import Query
from querywright.fetching.execute.run import Bind, Rows, run, stream
from querywright.fetching.execute.session import streams_of

__all__ = ["array_of", "batches_of", "only_row", "ready", "require_known", "rows_of", "rows_on", "schemas_of"]

Target = Engine | Connection
Values = Mapping[str, Any]


def ready(query: Query, target: Target, form: Form) -> Statement:
    """Compile, or find it compiled, and fill in the values."""
    compiled, key = _find(query, target, form)
    return _filled(query, target, compiled, key)


def _find(query: Query, target: Target, form: Form) -> tuple[CompiledFetch, CacheKey | None]:
    """Compile, or find it compiled; return the cache key of the statement as well."""
    schemas = schemas_of(target, query.statement)
    if query.declaration is not None:
        return query.declaration.find(form, target.dialect, schemas), None
    return compiled_for(query.model, query.statement, form, target.dialect, schemas)


def _filled(
    query: Query, target: Target, compiled: CompiledFetch, key: CacheKey | None, more: Values | None = None
) -> Statement:
    """Fill in the values of one call."""
    require_known(query, target, compiled.binder)
    parameters = {**(query.parameters or {}), **more} if more else query.parameters
    if query.declaration is not None:
        return compiled.binder.bind_own(parameters)
    return compiled.binder.bind(key, parameters)


def require_known(query: Query, target: Target, binder: Binder) -> None:
    """Check that each parameter of the call is one of the statement, or of what is not written this time.

    Raises:
        ShapeError: It has no parameter of a given name.
    """
    if query.parameters and not binder.names.issuperset(query.parameters):
        whole, _ = _find(query, target, Form(array=True))
        if unknown := query.parameters.keys() - whole.names - query.optional:
            names, known = ", ".join(sorted(unknown)), ", ".join(sorted(whole.names)) or "none"
            reason = f"it has no parameter {names}; it has {known}."
            raise ShapeError("statement", reason, hint="Write bindparam() where it belongs.")


def rows_of(query: Query, bind: Bind, form: Form) -> tuple[CompiledFetch, Rows]:
    """Return all rows."""
    with entered(query, bind) as (seen, target):
        return rows_on(seen, target, form)


def rows_on(query: Query, target: Target, form: Form, more: Values | None = None) -> tuple[CompiledFetch, Rows]:
    """Return all rows, in as many statements as it takes."""
    compiled, key = _find(query, target, form)
    statement = _filled(query, target, compiled, key, more)
    if compiled.slots:
        return compiled, run_levels(target, compiled, statement, partial(_below, query, key))
    return compiled, run(target, statement)


def _below(query: Query, key: CacheKey | None, binder: Binder, keys: Values) -> Statement:
    """Fill in the values of the statement of a level below, for some keys."""
    return binder.bind(key, {**(query.parameters or {}), **keys})


def array_of(query: Query, bind: Bind, form: Form) -> tuple[CompiledFetch, str]:
    """Return all rows as the text of one array, in as many statements as the form's strategy takes."""
    with entered(query, bind) as (seen, target):
        return _array_on(seen, target, form)


def _array_on(query: Query, target: Target, form: Form) -> tuple[CompiledFetch, str]:
    """Return all rows as the text of one array; if they are too many for one statement, by levels."""
    compiled, _ = _find(query, target, form)
    if not compiled.layout.guarded:
        compiled, rows = rows_on(query, target, form)
        return compiled, rows[0][0] if compiled.layout.array else _array([row[0] for row in rows])
    most = most_rows(target, query.statement, compiled.plan)
    compiled, [(text, count)] = rows_on(query, target, form, {MOST: most})
    if text is None:
        return _array_on(query, target, replace(form, strategy="levels"))
    learn(compiled.plan, count, len(text))
    return compiled, text


def _array(texts: Sequence[str]) -> str:
    return f"[{','.join(texts)}]"


def only_row(query: Query, bind: Bind, form: Form) -> tuple[CompiledFetch, str]:
    """Return the text of the only row.

    Raises:
        NotFound: There is none.
        MultipleFound: There are more.
    """
    compiled, rows = rows_of(query, bind, form)
    if len(rows) != 1:
        name = compiled.plan.mapper.class_.__name__
        raise MultipleFound(name) if rows else NotFound(name)
    return compiled, rows[0][0]


def batches_of(query: Query, bind: Bind, form: Form, size: int) -> Iterator[tuple[CompiledFetch, list[str]]]:
    """Read rows from the server as they are needed, so many at once."""
    with entered(query, bind) as (seen, target):
        compiled, key = _find(seen, target, form)
        statement = _filled(seen, target, compiled, key)
        batches = (
            stream_levels(target, compiled, statement, partial(_below, seen, key), size)
            if compiled.slots
            else stream(target, statement, size)
        )
    if isinstance(bind, Session):
        streams_of(bind).add(batches)
    # Between two batches others may use the session: drivers allow it.
    with place_for_stream(target), closing(batches):
        for rows in batches:
            yield compiled, [row[0] for row in rows]
        # Whoever closed it has closed the stream as well, whose rows are not at their end.
        if isinstance(bind, Session) and isinstance(target, Connection) and target.closed:
            raise SessionEnded(getattr(bind, "ended", None) or "its close()")


def schemas_of(target: Target, statement: Select[Any]) -> SchemaMap | None:
    """Find the schemas that names are translated to."""
    name = "schema_translate_map"
    return statement.get_execution_options().get(name) or target.get_execution_options().get(name)
