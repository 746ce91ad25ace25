"""From a response model and a statement to SQL and parameters; what was compiled once is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Dialect, Select
from sqlalchemy.sql.compiler import SQLCompiler

from querywright.errors import ShapeError
from querywright.fetch.annotations import is_shape, read_annotation, union_members
from querywright.fetch.cache import LRU
from querywright.fetch.compile import Form, compile_select, root_mapper
from querywright.fetch.nodes import Plan, Shape, ToMany
from querywright.fetch.plan import plan
from querywright.fetch.reading import Reader, reader_of
from querywright.fetch.writers import writer_for

__all__ = ["Binder", "Prepared", "Statement", "prepare", "require_kinds"]

SchemaMap = dict[str | None, str | None]
Parameters = tuple[Any, ...] | dict[str, Any]


@dataclass(frozen=True)
class Statement:
    """SQL as the driver takes it, with its parameters."""

    sql: str
    parameters: Parameters


@dataclass(frozen=True)
class Binder:
    """A compiled statement, good for every statement of the same structure.

    Attributes:
        compiled: SQLAlchemy's compiled statement.
        processors: For each parameter that needs one, what its column type does to a value before it is sent.
        names: The parameters that the user named.
    """

    compiled: SQLCompiler
    processors: dict[str, Callable[[Any], Any]]
    names: frozenset[str]

    def bind(self, extracted: Sequence[Any] | None, parameters: Mapping[str, Any] | None = None) -> Statement:
        """Fill in the values of one statement.

        Args:
            extracted: The bound values of the statement, as its cache key lists them.
            parameters: Values for its named parameters.

        Raises:
            ShapeError: It has no parameter of a given name.
            sqlalchemy.exc.InvalidRequestError: A parameter got no value.
        """
        compiled = self.compiled
        if parameters and not self.names.issuperset(parameters):
            unknown = ", ".join(sorted(set(parameters) - self.names))
            raise ShapeError("statement", f"it has no parameter {unknown}.", hint="Write bindparam() where it belongs.")
        values: Mapping[str, Any] = compiled.construct_params(
            parameters, extracted_parameters=extracted, escape_names=False
        )
        names: Sequence[str] | None = compiled.positiontup
        sql, processors = compiled.string, self.processors
        if compiled.post_compile_params:
            # IN lists: SQLAlchemy writes one placeholder for each element.
            expanded = compiled.construct_expanded_state(values, escape_names=False)
            sql, names, values = expanded.statement, expanded.positiontup, expanded.parameters
            processors = {**processors, **expanded.processors}
        if names is not None:
            return Statement(sql, tuple(_process(processors, name, values[name]) for name in names))
        escaped = compiled.escaped_bind_names
        return Statement(
            sql, {escaped.get(name, name): _process(processors, name, value) for name, value in values.items()}
        )


@dataclass(frozen=True)
class Prepared:
    """A compiled fetch.

    Attributes:
        plan: The plan it was compiled from.
        form: What it returns.
        binder: The compiled statement.
        read: Converts the parsed JSON of a row to the values of Python that the model validates; ``None`` if the
            model validates the JSON itself.
    """

    plan: Plan
    form: Form
    binder: Binder
    read: Reader | None


def _process(processors: dict[str, Callable[[Any], Any]], name: str, value: Any) -> Any:
    processor = processors.get(name)
    return value if processor is None else processor(value)


_cache: LRU[Prepared] = LRU(1000)


def prepare(
    model: Any,
    statement: Select[Any],
    form: Form,
    dialect: Dialect,
    schemas: SchemaMap | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> tuple[Prepared, Statement]:
    """Compile a fetch, or find it compiled.

    Args:
        model: The response model.
        statement: Which rows.
        form: What to return.
        dialect: The dialect of the connection.
        schemas: The connection's ``schema_translate_map``.
        parameters: Values for the statement's named parameters.

    Raises:
        ShapeError: The model does not fit the class that the statement selects.
    """
    key = statement._generate_cache_key()  # noqa: SLF001 - SQLAlchemy's caching has no public spelling
    if key is None:
        prepared = compile_fetch(model, statement, form, dialect, schemas)
        return prepared, prepared.binder.bind(None, parameters)
    where = (model, form, dialect, key.key, tuple(schemas.items()) if schemas else None)
    known = _cache.get(where)
    if known is None:
        known = compile_fetch(model, statement, form, dialect, schemas)
        _cache.put(where, known)
    return known, known.binder.bind(key.bindparams, parameters)


def require_kinds(model: Any, statement: Any) -> None:
    """Check the kinds of what a fetch was given.

    Raises:
        ShapeError: The model is not a model, or the statement not a select().
    """
    wanted = read_annotation(model).type
    if not is_shape(wanted) and not union_members(wanted):
        hint = "Write the model of one row: of Pydantic, a dataclass, a TypedDict or a Struct."
        raise ShapeError("model", f"{model!r} is not a model with named fields.", hint=hint)
    if not isinstance(statement, Select):
        hint = "Write select(User); wrap a union with aliased(User, union.subquery()) and select that."
        raise ShapeError("statement", f"expected a select() of a mapped class, got {type(statement)}.", hint=hint)


def compile_fetch(
    model: Any, statement: Select[Any], form: Form, dialect: Dialect, schemas: SchemaMap | None
) -> Prepared:
    """Plan and compile, without looking for what was compiled before."""
    planned = plan(model, root_mapper(statement))
    writer = writer_for(dialect.name)
    root = planned.root
    large_rows = isinstance(root, Shape) and any(isinstance(field.value, ToMany) for field in root.fields)
    array = form.array and not (large_rows and writer.client_joins)
    form = replace(form, array=array, for_model=form.for_model or not planned.exact)
    select = compile_select(planned, statement, form, writer, dialect)
    read = reader_of(root, dialect) if form.for_model and planned.convert else None
    return Prepared(planned, form, binder_of(select, statement, dialect, schemas), read)


def binder_of(select: Select[Any], statement: Select[Any], dialect: Dialect, schemas: SchemaMap | None) -> Binder:
    """Compile a statement that was made of the user's."""
    compiled = select.compile(
        dialect=dialect,
        # The key of the user's statement, whose parameters keep their names through all the wrapping.
        cache_key=statement._generate_cache_key(),  # noqa: SLF001 - as above
        schema_translate_map=schemas,
        render_schema_translate=bool(schemas),
    )
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 - every dialect's statement compiler is one
    processors = {name: _processor(parameter.type, dialect) for parameter, name in compiled.bind_names.items()}
    return Binder(
        compiled,
        processors={name: found for name, found in processors.items() if found is not None},
        names=frozenset(parameter.key for parameter in compiled.bind_names if not parameter.unique),
    )


def _processor(column_type: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    return column_type.dialect_impl(dialect).bind_processor(dialect)  # type: ignore[no-any-return]
