"""One fetch as data: which model, of which rows, with which values; and how it gets to the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, Select
from sqlalchemy.orm import Session

from querywright.engine.exclusive import exclusive
from querywright.engine.pool.streams import place_for_stream
from querywright.errors import MultipleFound, NotFound, SessionEnded, ShapeError
from querywright.fetching.compile.binding import Binder, CacheKey, SchemaMap, Statement
from querywright.fetching.compile.compiler import MOST
from querywright.fetching.compile.form import Form, Strategy
from querywright.fetching.compile.statement import root_mapper
from querywright.fetching.decode.models import Dump, rewritten, validate
from querywright.fetching.decode.reshaping import reshaped
from querywright.fetching.decode.text import to_bytes
from querywright.fetching.execute.compiled import CompiledFetch, Declaration, compiled_for
from querywright.fetching.execute.levels import learn, most_rows, run_levels, stream_levels
from querywright.fetching.execute.run import Bind, Rows, run, stream
from querywright.fetching.execute.session import (
    Seen,
    connection_of,
    has_listeners,
    routing,
    seen_by_session,
    streams_of,
)
from querywright.fetching.plan.fieldsets import Fieldset, fieldset
from querywright.fetching.plan.nodes import Plan
from querywright.fetching.plan.planner import plan

__all__ = ["Query", "schemas_of"]


@dataclass(frozen=True)
class Query:
    """What is fetched.

    Attributes:
        model: The response model.
        statement: Which rows.
        parameters: Values for the statement's named parameters.
        fields: The fields that a client asked for, as it wrote them.
        strategy: Whether one statement fetches all, or one for each level.
        declaration: Where the statement is compiled once for all, if a module declared it.
        sessions: The sessions of the database that it was asked of, whose listeners see it though it needs none.
    """

    model: Any
    statement: Select[Any]
    parameters: Mapping[str, Any] | None = None
    fields: str | None = None
    strategy: Strategy = "auto"
    declaration: Declaration | None = None
    sessions: type[Session] | None = None

    @property
    def plan(self) -> Plan:
        """How the rows fill the model."""
        return plan(self.model, root_mapper(self.statement))

    @property
    def fieldset(self) -> Fieldset | None:
        """The fields that a client asked for.

        Raises:
            UnknownFields: The model does not have one of them.
        """
        return None if self.fields is None else fieldset(self.plan, self.fields)

    def on(self, bind: Bind) -> AbstractContextManager[tuple[Query, Engine | Connection]]:
        """Enter a session: flush it, let its listeners change the statement, take its connection for oneself."""
        if isinstance(bind, Session):
            return self._within(bind)
        return nullcontext((self.seen_without_session(bind), bind))

    @contextmanager
    def _within(self, session: Session) -> Iterator[tuple[Query, Connection]]:
        with exclusive(session):
            seen = seen_by_session(session, self.statement, self.parameters)
            yield self.as_seen(seen), connection_of(session, seen.statement, seen.arguments)

    def seen_on(self, bind: Bind) -> tuple[Query, Engine | Connection]:
        """Return the same as `on`, without taking a connection of a session."""
        if not isinstance(bind, Session):
            return self.seen_without_session(bind), bind
        with exclusive(bind):
            seen = seen_by_session(bind, self.statement, self.parameters)
            return self.as_seen(seen), bind.get_bind(**{**seen.arguments, **routing(seen.statement)})

    def seen_without_session(self, bind: Engine | Connection) -> Query:
        """Let those who listen to all sessions of a database change the statement, such as a filter of deleted rows."""
        if self.sessions is None or not has_listeners(self.sessions):
            return self
        with self.sessions(bind) as session:
            return self.as_seen(seen_by_session(session, self.statement, self.parameters))

    def as_seen(self, seen: Seen) -> Query:
        """Return what the listeners of a session made of it."""
        if seen.statement is self.statement:
            return self
        given = seen.parameters or {}
        # A listener may give a value to every statement, whether it has such a parameter or not; the ORM ignores it.
        known = {} if seen.is_another else self.parameters or {}
        added = {name: value for name, value in given.items() if name not in known}
        statement = seen.statement.params(added) if added else seen.statement
        parameters = {name: value for name, value in given.items() if name in known}
        return replace(self, statement=statement, parameters=parameters, declaration=None)

    def ready(
        self, target: Engine | Connection, form: Form, more: Mapping[str, Any] | None = None
    ) -> tuple[CompiledFetch, Statement]:
        """Compile, or find it compiled, and fill in the values."""
        compiled, key = self.find(target, form)
        return compiled, self.filled(target, compiled, key, more)

    def find(self, target: Engine | Connection, form: Form) -> tuple[CompiledFetch, CacheKey | None]:
        """Compile, or find it compiled; return the cache key of the statement as well."""
        schemas = schemas_of(target, self.statement)
        if self.declaration is not None:
            return self.declaration.find(form, target.dialect, schemas), None
        return compiled_for(self.model, self.statement, form, target.dialect, schemas)

    def filled(
        self,
        target: Engine | Connection,
        compiled: CompiledFetch,
        key: CacheKey | None,
        more: Mapping[str, Any] | None = None,
    ) -> Statement:
        """Fill in the values of one call."""
        self.require_known(target, compiled.binder)
        parameters = {**(self.parameters or {}), **more} if more else self.parameters
        if self.declaration is not None:
            return compiled.binder.bind_own(parameters)
        return compiled.binder.bind(key, parameters)

    def require_known(self, target: Engine | Connection, binder: Binder) -> None:
        """Check that each parameter of the call is one of the statement, or of what is not written this time.

        Raises:
            ShapeError: It has no parameter of a given name.
        """
        if self.parameters and not binder.names.issuperset(self.parameters):
            whole, _ = self.find(target, Form(array=True))
            if unknown := self.parameters.keys() - whole.names:
                names, known = ", ".join(sorted(unknown)), ", ".join(sorted(whole.names)) or "none"
                reason = f"it has no parameter {names}; it has {known}."
                raise ShapeError("statement", reason, hint="Write bindparam() where it belongs.")

    def run(self, bind: Bind, form: Form, more: Mapping[str, Any] | None = None) -> tuple[CompiledFetch, Rows]:
        """Run it and return all rows."""
        with self.on(bind) as (query, target):
            return query.rows(target, form, more)

    def rows(
        self, target: Engine | Connection, form: Form, more: Mapping[str, Any] | None = None
    ) -> tuple[CompiledFetch, Rows]:
        """Return all rows, in as many statements as it takes."""
        compiled, key = self.find(target, form)
        statement = self.filled(target, compiled, key, more)
        if compiled.slots:
            return compiled, run_levels(target, compiled, statement, partial(self.below, key))
        return compiled, run(target, statement)

    def array(self, bind: Bind, form: Form) -> tuple[CompiledFetch, str]:
        """Return all rows as the text of one array, in as many statements as the form's strategy takes."""
        with self.on(bind) as (query, target):
            return query.array_on(target, form)

    def array_on(self, target: Engine | Connection, form: Form) -> tuple[CompiledFetch, str]:
        """Return all rows as the text of one array; if they are too many for one statement, by levels."""
        compiled, _ = self.find(target, form)
        if not compiled.layout.guarded:
            compiled, rows = self.rows(target, form)
            return compiled, rows[0][0] if compiled.layout.array else _array([row[0] for row in rows])
        most = most_rows(target, self.statement, compiled.plan)
        compiled, [(text, count)] = self.rows(target, form, {MOST: most})
        if text is None:
            return self.array_on(target, replace(form, strategy="levels"))
        learn(compiled.plan, count, len(text))
        return compiled, text

    def below(self, key: CacheKey | None, binder: Binder, keys: Mapping[str, Any]) -> Statement:
        """Fill in the values of the statement of a level below, for some keys."""
        return binder.bind(key, {**(self.parameters or {}), **keys})

    def only(self, bind: Bind, form: Form) -> tuple[CompiledFetch, str]:
        """Return the text of the only row.

        Raises:
            NotFound: There is none.
            MultipleFound: There are more.
        """
        compiled, rows = self.run(bind, form)
        if len(rows) != 1:
            name = compiled.plan.mapper.class_.__name__
            raise MultipleFound(name) if rows else NotFound(name)
        return compiled, rows[0][0]

    def batches(self, bind: Bind, form: Form, size: int) -> Iterator[tuple[CompiledFetch, list[str]]]:
        """Read rows from the server as they are needed, so many at once."""
        with self.on(bind) as (query, target):
            compiled, key = query.find(target, form)
            statement = query.filled(target, compiled, key)
            batches = (
                stream_levels(target, compiled, statement, partial(query.below, key), size)
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

    def instances(self, compiled: CompiledFetch, text: str, *, many: bool) -> Any:
        """Make model instances of what the database wrote."""
        return validate(self.model, text, compiled.read, many=many)

    def client_form(self, form: Form) -> Form:
        """Narrow what is written for a client to the fields it asked for."""
        if self.fields is None:
            return form
        chosen = self.fieldset
        return form if chosen is None else replace(form, only=chosen.paths)

    def client_bytes(self, compiled: CompiledFetch, text: str, form: Form, *, many: bool) -> bytes:
        """Make bytes for a client of what the database wrote, or let the model write them."""
        if not compiled.layout.for_model:
            documents = compiled.plan.documents
            return to_bytes(text, documents=documents, capitals=compiled.capitals, bare_infinity=compiled.bare_infinity)
        how = Dump(form.by_alias, form.exclude_none)
        written = rewritten(self.model, text, compiled.read, how, many=many)
        return reshaped(written, compiled.plan, how, self.fieldset)


def _array(texts: Sequence[str]) -> str:
    return f"[{','.join(texts)}]"


def schemas_of(target: Engine | Connection, statement: Select[Any]) -> SchemaMap | None:
    """Find the schemas that names are translated to."""
    name = "schema_translate_map"
    return statement.get_execution_options().get(name) or target.get_execution_options().get(name)
