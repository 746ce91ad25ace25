"""From a response model and a statement to SQL and parameters; what was compiled once is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Dialect, Select

from querywright.engine.changes import traces_of
from querywright.errors import ShapeError
from querywright.fetching.compile.binding import Binder, CacheKey, SchemaMap, binder_of
from querywright.fetching.compile.compiler import SelectCompiler, has_arrays
from querywright.fetching.compile.depth import deep_rows
from querywright.fetching.compile.form import Form, Layout
from querywright.fetching.compile.joins import Joins
from querywright.fetching.compile.page import compile_page
from querywright.fetching.compile.related import criteria_of, expressions_of
from querywright.fetching.compile.slots import OpenList, Slot, choose, left_open, primary_key, statement_of
from querywright.fetching.compile.statement import root_entity, root_mapper
from querywright.fetching.decode.values import Reader, parses_documents, reader_of
from querywright.fetching.execute.cache import LRU, StatementCache
from querywright.fetching.model.annotations import is_shape, read_annotation, union_members
from querywright.fetching.plan.nodes import Plan, Scalar
from querywright.fetching.plan.planner import plan
from querywright.fetching.plan.types import encoding_of
from querywright.fetching.writers import writer_for

__all__ = ["CompiledFetch", "Declaration", "binder_for", "compile_fetch", "compiled_for", "require_kinds"]


@dataclass(frozen=True)
class CompiledFetch:
    """A compiled fetch.

    Attributes:
        plan: The plan it was compiled from.
        layout: How it returns what was asked for.
        binder: The compiled statement.
        read: Converts the parsed JSON of a row to the values of Python that the model validates; ``None`` if the
            model validates the JSON itself.
        slots: The statements of the lists and rows that were left open, by their numbers.
        capitals: Whether the escapes of control characters have hexadecimal digits in capitals.
        bare_infinity: Whether an infinite number is ``Inf``, which is no JSON.
    """

    plan: Plan
    layout: Layout
    binder: Binder
    read: Reader | None
    slots: tuple[Slot, ...] = ()
    capitals: bool = False
    bare_infinity: bool = False

    @property
    def names(self) -> frozenset[str]:
        """The names of the parameters of all its statements."""
        return self.binder.names.union(*(slot.binder.names for slot in self.slots))


class Declaration:
    """A statement that is compiled once for each database and form, for a module that declared it.

    Args:
        model: The response model.
        statement: Which rows.
    """

    def __init__(self, model: Any, statement: Select[Any]) -> None:
        self._model = model
        self._statement = statement
        self._known: LRU[CompiledFetch] = LRU(64)

    def find(self, form: Form, dialect: Dialect, schemas: SchemaMap | None) -> CompiledFetch:
        """Compile it, or find it compiled.

        Raises:
            ShapeError: The model does not fit the class that the statement selects.
        """
        where = (form, dialect) if not schemas else (form, dialect, tuple(schemas.items()))
        known = self._known.get(where)
        if known is None:
            known = compile_fetch(self._model, self._statement, form, dialect, schemas)
            self._known.put(where, known)
        return known


_cache: StatementCache[CompiledFetch] = StatementCache(1000)


def compiled_for(
    model: Any,
    statement: Select[Any],
    form: Form,
    dialect: Dialect,
    schemas: SchemaMap | None = None,
) -> tuple[CompiledFetch, CacheKey | None]:
    """Compile a fetch, or find it compiled.

    Args:
        model: The response model.
        statement: Which rows.
        form: What to return.
        dialect: The dialect of the connection.
        schemas: The connection's ``schema_translate_map``.

    Returns:
        The compiled fetch, and the cache key of this statement, which lists its values.

    Raises:
        ShapeError: The model does not fit the class that the statement selects.
    """
    return _cache.find(
        statement, (model, form, dialect), schemas, lambda _: compile_fetch(model, statement, form, dialect, schemas)
    )


def require_kinds(model: Any, statement: Any) -> None:
    """Check the kinds of what a fetch was given.

    Raises:
        ShapeError: The model is not a model, or the statement not a select().
    """
    # Most are a model as it is; taking an annotation apart costs as much as all else that needs no database.
    if not is_shape(model) and not _is_shape_within(read_annotation(model).type):
        hint = "Write the model of one row: of Pydantic, a dataclass, a TypedDict or a Struct."
        raise ShapeError("model", f"{model!r} is not a model with named fields.", hint=hint)
    if not isinstance(statement, Select):
        hint = "Write select(User); wrap a union with aliased(User, union.subquery()) and select that."
        raise ShapeError("statement", f"expected a select() of a mapped class, got {type(statement)}.", hint=hint)


def _is_shape_within(wanted: Any) -> bool:
    return is_shape(wanted) or bool(union_members(wanted))


def compile_fetch(
    model: Any, statement: Select[Any], form: Form, dialect: Dialect, schemas: SchemaMap | None
) -> CompiledFetch:
    """Plan and compile, without looking for what was compiled before."""
    planned = plan(model, root_mapper(statement))
    if planned.documents and parses_documents(dialect):
        planned = replace(planned, exact=False, convert=True)
    _require_encodings(planned, statement)
    writer = writer_for(dialect.name, dialect.driver)
    if form.limit is not None and not planned.depth:
        writer = writer.of_one or writer
    root, layout = planned.root, choose(form, planned, statement, writer)
    deep = deep_rows(planned, layout, writer.nesting)
    opened = left_open(planned, layout, deep)
    numbers = {id(each.node): number for number, each in enumerate(opened)}
    joins = Joins(layout, criteria_of(statement), deep)
    compiler = SelectCompiler(layout, writer, dialect, joins, numbers)
    select = compile_page(compiler, planned, statement, form.page) if form.page else compiler.root(planned, statement)
    prelude = writer.page_prelude if form.page else writer.prelude if has_arrays(root, layout) else ""
    binder = binder_for(select, statement, dialect, schemas, prelude)
    slots = tuple(
        Slot(
            binder_for(statement_of(compiler, each), statement, dialect, schemas, prelude),
            primary_key(each.mapper),
            is_list=isinstance(each, OpenList),
        )
        for each in opened
    )
    read = reader_of(root, dialect) if layout.for_model and planned.convert else None
    return CompiledFetch(planned, layout, binder, read, slots, writer.capitals, writer.bare_infinity)


def _require_encodings(planned: Plan, statement: Select[Any]) -> None:
    """Check that what fills a column of the statement has the values that the plan expects of it."""
    given = expressions_of(statement, root_entity(statement))
    root = planned.root
    for node in (field.value for shape in root.shapes for field in shape.fields if given):
        if isinstance(node, Scalar) and node.source in given:
            found = encoding_of(given[node.source].type)
            if found is not None and found is not node.encoding:
                reason = f"its with_expression() makes {found.value}, the field wants {node.encoding.value}."
                raise ShapeError(node.path, reason, hint="Cast it with type_coerce() or cast(), or annotate the other.")


def binder_for(
    select: Select[Any], statement: Select[Any], dialect: Dialect, schemas: SchemaMap | None, prelude: str = ""
) -> Binder:
    """Compile a statement that was made of the user's, and see, once for all calls, what it leaves behind."""
    binder = binder_of(select, statement, dialect, schemas, prelude)
    traces = traces_of(dialect.name, binder.sql)
    return replace(binder, changes=traces.changed, outlasts=traces.outlasts)
