"""Turn a Select into SQL once, and fill in the values of each call through their types' own processors."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import BindParameter, Dialect, Select, bindparam
from sqlalchemy.exc import InvalidRequestError, StatementError
from sqlalchemy.sql.cache_key import CacheKey
from sqlalchemy.sql.compiler import WARN_LINTING, SQLCompiler
from sqlalchemy.sql.elements import _anonymous_label

from querywright.errors import ShapeError
from querywright.fetching.mapping.clauses import cache_key

__all__ = ["Binder", "CacheKey", "SchemaMap", "Statement", "binder_of"]

SchemaMap = dict[str | None, str | None]
Parameters = tuple[Any, ...] | dict[str, Any]
Processor = Callable[[Any], Any]


_LOCK = re.compile(r"\bFOR (?:NO KEY )?UPDATE\b|\bFOR (?:KEY )?SHARE\b")


@dataclass(frozen=True)
class Statement:
    """SQL as the driver takes it, with its parameters.

    Attributes:
        sql: The SQL.
        parameters: Its values.
        changes: Whether it may change what the next user of its connection sees.
        outlasts: Whether it is known to, whatever becomes of its transaction.
    """

    sql: str
    parameters: Parameters
    changes: bool = False
    outlasts: bool = False

    @property
    def locks(self) -> bool:
        """Whether it locks its rows, which PostgreSQL does in no transaction that only reads."""
        return _LOCK.search(self.sql) is not None


@dataclass(frozen=True)
class Binder:
    """A compiled statement, good for every statement of the same structure.

    Attributes:
        compiled: SQLAlchemy's compiled statement.
        processors: For each parameter that needs one, what its column type does to a value before it is sent.
        named: The parameters that the user named.
        own: Values that the user's statement has for parameters of the compiled one, if it has no cache key.
        prelude: What stands before the SQL.
        changes: Whether it may change what the next user of its connection sees.
        outlasts: Whether it is known to, whatever becomes of its transaction.
    """

    compiled: SQLCompiler
    processors: dict[str, Callable[[Any], Any]]
    named: tuple[BindParameter[Any], ...]
    own: Mapping[str, Any]
    prelude: str = ""
    changes: bool = False
    outlasts: bool = False

    def bind(self, key: CacheKey | None = None, parameters: Mapping[str, Any] | None = None) -> Statement:
        """Fill in the values of one statement.

        Args:
            key: The cache key of the statement, which lists its bound values; that of the compiled one by default.
            parameters: Values for named parameters; those that it does not have are ignored.

        Raises:
            sqlalchemy.exc.InvalidRequestError: A parameter got no value.
            sqlalchemy.exc.StatementError: The type of a parameter refuses its value.
        """
        compiled = self.compiled
        key = key or compiled.cache_key
        given = self._given(key, parameters or {}) if self.named else None
        # Its own check would be of the statement that was compiled: parameters of one name may have a default or not.
        extracted = key and _with_values(key.bindparams, parameters or {})
        values: Mapping[str, Any] = compiled.construct_params(
            given, extracted_parameters=extracted, escape_names=False, _check=False
        )
        names: Sequence[str] | None = compiled.positiontup
        sql, processors = self.sql, self.processors
        if self._is_expanded:
            # IN lists: SQLAlchemy writes one placeholder for each element; and literals.
            expanded = compiled.construct_expanded_state(values, escape_names=False)
            sql, names, values = self.prelude + expanded.statement, expanded.positiontup, expanded.parameters
            processors = {**processors, **expanded.processors}
        escaped = compiled.escaped_bind_names
        try:
            if names is not None:
                return Statement(
                    sql, tuple(_process(processors, name, values[name]) for name in names), self.changes, self.outlasts
                )
            filled = {escaped.get(name, name): _process(processors, name, value) for name, value in values.items()}
        except Exception as error:
            raise _refused(sql, error) from error
        return Statement(sql, filled, self.changes, self.outlasts)

    def bind_own(self, parameters: Mapping[str, Any] | None = None) -> Statement:
        """Fill in the values of the very statement that was compiled; a `bind` without the detours.

        Raises:
            ShapeError: A parameter got no value.
            sqlalchemy.exc.StatementError: The type of a parameter refuses its value.
        """
        slots = self._slots
        if slots is None:
            return self.bind(None, parameters)
        given = parameters or {}
        if not self.names <= given.keys():
            missing = ", ".join(sorted(self.names - given.keys()))
            reason = f"it has the parameters {', '.join(sorted(self.names))}; missing: {missing}."
            raise ShapeError("statement", reason, hint="Give each a value.")
        try:
            values = [
                constant if key is None else given[key] if process is None else process(given[key])
                for _, key, process, constant in slots
            ]
        except Exception as error:
            raise _refused(self.sql, error) from error
        if self.compiled.positiontup is not None:
            return Statement(self.sql, tuple(values), self.changes, self.outlasts)
        names = [name for name, *_ in slots]
        return Statement(self.sql, dict(zip(names, values, strict=True)), self.changes, self.outlasts)

    @cached_property
    def sql(self) -> str:
        """The SQL, before lists of values are written into it."""
        return self.prelude + self.compiled.string

    @cached_property
    def names(self) -> frozenset[str]:
        """The names that parameters can be given by."""
        return frozenset(bound.key for bound in self.named)

    @cached_property
    def _is_expanded(self) -> bool:
        return bool(self.compiled.post_compile_params or self.compiled.literal_execute_params)

    def _given(self, key: CacheKey | None, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Find a value for each named parameter: of this call, of the statement's ``params()``, or its default."""
        if parameters.keys() >= self.names:
            return {name: parameters[name] for name in self.names}
        bounds = {bound.key: bound for bound in self.named}
        bounds |= {bound.key: bound for bound in (key.bindparams if key else ()) if _is_named(bound)}
        # SQLAlchemy 2.0 puts what params() was given into the parameters themselves.
        own = (getattr(key, "params", None) or {}) if key else self.own
        values = {name: value for name, value in {**own, **parameters}.items() if name in bounds}
        for name, bound in bounds.items():
            if name not in values and not bound.required:
                values[name] = bound.effective_value
        if missing := sorted(self.names - values.keys()):
            raise InvalidRequestError(f"A value is required for bind parameter {missing[0]!r}", code="cd3x")
        return values

    @cached_property
    def _slots(self) -> list[tuple[str, str | None, Processor | None, Any]] | None:
        """For each placeholder its name, the parameter that fills it and its processor, or else its constant value.

        ``None`` if the SQL depends on the values, or a parameter has one that is not given or not constant.
        """
        compiled = self.compiled
        bounds = {name: bound for bound, name in compiled.bind_names.items()}
        fixed = not any(bound.callable for bound in bounds.values()) and all(bound.required for bound in self.named)
        own: Any = getattr(compiled.cache_key, "params", self.own)
        if self._is_expanded or not fixed or own:
            return None
        names = compiled.positiontup or list(bounds)
        constants = compiled.construct_params(escape_names=False, _check=False)
        escaped = compiled.escaped_bind_names
        slots: list[tuple[str, str | None, Processor | None, Any]] = []
        for name in names:
            process, bound = self.processors.get(name), bounds[name]
            if not _is_named(bound):
                slots.append((escaped.get(name, name), None, None, _process(self.processors, name, constants[name])))
            else:
                slots.append((escaped.get(name, name), bound.key, process, None))
        return slots


def _is_named(bound: BindParameter[Any]) -> bool:
    """Return whether a parameter has a name that the user gave it, which is the same in every such statement."""
    return not (bound.unique or isinstance(bound.key, _anonymous_label))


def _with_values(bounds: Sequence[BindParameter[Any]], given: Mapping[str, Any]) -> Sequence[BindParameter[Any]]:
    """Give a value to those without a name: of this call, or of the function that makes it.

    SQLAlchemy would call that function only if that which was compiled is one of these.
    """
    if not any(bound.callable or bound.key in given for bound in bounds):
        return bounds
    return [
        bound if _is_named(bound) else bindparam("value", given.get(bound.key, bound.effective_value))
        for bound in bounds
    ]


def _process(processors: dict[str, Processor], name: str, value: Any) -> Any:
    processor = processors.get(name)
    return value if processor is None else processor(value)


def _refused(sql: str, error: Exception) -> StatementError:
    """Wrap what a type raised as Connection does where it binds."""
    return StatementError(f"({type(error).__name__}) {error}", sql, None, error, hide_parameters=True)


def binder_of(
    select: Select[Any], statement: Select[Any], dialect: Dialect, schemas: SchemaMap | None, prelude: str = ""
) -> Binder:
    """Compile a statement that was made of the user's."""
    compiled = select.compile(
        dialect=_with_short_names(dialect),
        # The key of the user's statement, whose parameters keep their names through all the wrapping.
        cache_key=cache_key(statement),
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
        named=tuple(parameter for parameter in compiled.bind_names if _is_named(parameter)),
        own=getattr(compiled, "_collected_params", {}),
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
