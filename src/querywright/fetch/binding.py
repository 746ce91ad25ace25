"""Turn a Select into SQL once, and fill in the values of each call through their types' own processors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Dialect, Select
from sqlalchemy.sql.compiler import WARN_LINTING, SQLCompiler

from querywright.errors import ShapeError

__all__ = ["Binder", "SchemaMap", "Statement", "binder_of"]

SchemaMap = dict[str | None, str | None]
Parameters = tuple[Any, ...] | dict[str, Any]
Processor = Callable[[Any], Any]


@dataclass(frozen=True)
class Statement:
    """SQL as the driver takes it, with its parameters.

    Attributes:
        sql: The SQL.
        parameters: Its values.
        changes: Whether it may change what the next user of its connection sees.
    """

    sql: str
    parameters: Parameters
    changes: bool = False


@dataclass(frozen=True)
class Binder:
    """A compiled statement, good for every statement of the same structure.

    Attributes:
        compiled: SQLAlchemy's compiled statement.
        processors: For each parameter that needs one, what its column type does to a value before it is sent.
        names: The parameters that the user named.
        prelude: What stands before the SQL.
        changes: Whether it may change what the next user of its connection sees.
    """

    compiled: SQLCompiler
    processors: dict[str, Callable[[Any], Any]]
    names: frozenset[str]
    prelude: str = ""
    changes: bool = False

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
        sql, processors = self.sql, self.processors
        if compiled.post_compile_params:
            # IN lists: SQLAlchemy writes one placeholder for each element.
            expanded = compiled.construct_expanded_state(values, escape_names=False)
            sql, names, values = self.prelude + expanded.statement, expanded.positiontup, expanded.parameters
            processors = {**processors, **expanded.processors}
        if names is not None:
            return Statement(sql, tuple(_process(processors, name, values[name]) for name in names), self.changes)
        escaped = compiled.escaped_bind_names
        given = {escaped.get(name, name): _process(processors, name, value) for name, value in values.items()}
        return Statement(sql, given, self.changes)

    def bind_own(self, parameters: Mapping[str, Any] | None = None) -> Statement:
        """Fill in the values of the very statement that was compiled; a `bind` without the detours.

        Raises:
            ShapeError: A parameter got no value, or there is none of a given name.
        """
        slots = self._slots
        if slots is None:
            return self.bind(None, parameters)
        given = parameters or {}
        if given.keys() != self.names:
            missing = ", ".join(sorted(self.names - given.keys())) or "none"
            reason = f"it has the parameters {', '.join(sorted(self.names)) or 'none'}; missing: {missing}."
            raise ShapeError("statement", reason, hint="Give each a value.")
        values = [
            constant if key is None else given[key] if process is None else process(given[key])
            for _, key, process, constant in slots
        ]
        if self.compiled.positiontup is not None:
            return Statement(self.sql, tuple(values), self.changes)
        names = [name for name, *_ in slots]
        return Statement(self.sql, dict(zip(names, values, strict=True)), self.changes)

    @cached_property
    def sql(self) -> str:
        """The SQL, before lists of values are written into it."""
        return self.prelude + self.compiled.string

    @cached_property
    def _slots(self) -> list[tuple[str, str | None, Processor | None, Any]] | None:
        """For each placeholder its name, the parameter that fills it and its processor, or else its constant value.

        ``None`` if their number depends on the values, or one has a default.
        """
        compiled = self.compiled
        if compiled.post_compile_params or any(b.value is not None or b.callable for b in self._named):
            return None
        bounds = {name: bound for bound, name in compiled.bind_names.items()}
        names = compiled.positiontup or list(bounds)
        constants = compiled.construct_params(escape_names=False, _check=False)
        escaped = compiled.escaped_bind_names
        slots: list[tuple[str, str | None, Processor | None, Any]] = []
        for name in names:
            process, bound = self.processors.get(name), bounds[name]
            if bound.unique:
                slots.append((escaped.get(name, name), None, None, _process(self.processors, name, constants[name])))
            else:
                slots.append((escaped.get(name, name), bound.key, process, None))
        return slots

    @property
    def _named(self) -> list[Any]:
        return [bound for bound in self.compiled.bind_names if not bound.unique]


def _process(processors: dict[str, Processor], name: str, value: Any) -> Any:
    processor = processors.get(name)
    return value if processor is None else processor(value)


def binder_of(
    select: Select[Any], statement: Select[Any], dialect: Dialect, schemas: SchemaMap | None, prelude: str = ""
) -> Binder:
    """Compile a statement that was made of the user's."""
    compiled = select.compile(
        dialect=_with_short_names(dialect),
        # The key of the user's statement, whose parameters keep their names through all the wrapping.
        cache_key=statement._generate_cache_key(),  # noqa: SLF001 - as above
        schema_translate_map=schemas,
        render_schema_translate=bool(schemas),
        # As Connection does: it warns of a FROM that nothing is compared with.
        linting=dialect.compiler_linting | WARN_LINTING,
    )
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 - every dialect's statement compiler is one
    processors = {name: _processor(parameter.type, dialect) for parameter, name in compiled.bind_names.items()}
    return Binder(
        compiled,
        processors={name: found for name, found in processors.items() if found is not None},
        names=frozenset(parameter.key for parameter in compiled.bind_names if not parameter.unique),
        prelude=prelude,
    )


# PostgreSQL cuts identifiers at 63 bytes, SQLAlchemy the aliases it invents at so many characters; of a long name in
# another script the number is lost that tells one alias from another. So many characters always fit.
_CHARACTERS = 15
_short: WeakKeyDictionary[Dialect, Dialect] = WeakKeyDictionary()


def _with_short_names(dialect: Dialect) -> Dialect:
    """Return the same dialect, but one that keeps the names short that SQLAlchemy invents."""
    known = _short.get(dialect)
    if known is None:
        known = copy.copy(dialect)
        known.label_length = _CHARACTERS
        # These point to the dialect, and the copy must not keep the original alive.
        known.identifier_preparer = known.preparer(known)
        known.type_compiler_instance = known.type_compiler_cls(known)
        _short[dialect] = known
    return known


def _processor(column_type: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    return column_type.dialect_impl(dialect).bind_processor(dialect)  # type: ignore[no-any-return]
