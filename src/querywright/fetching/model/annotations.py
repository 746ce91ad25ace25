"""Read the annotation of a field: what it accepts, and what on it changes values on their way out."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Discriminator,
    FutureDate,
    FutureDatetime,
    NaiveDatetime,
    PastDate,
    PastDatetime,
    PlainSerializer,
    PlainValidator,
    RootModel,
    Strict,
    WithJsonSchema,
    WrapSerializer,
    WrapValidator,
)
from pydantic.fields import FieldInfo

from querywright.fetching.model.custom import changes
from querywright.fetching.model.markers import Marker

__all__ = ["Wanted", "is_checked_time", "is_shape", "read_annotation", "read_field", "type_name", "union_members"]

_LISTS = (list, tuple, Sequence)
_SETS = (set, frozenset)
_BEFORE = (BeforeValidator, WrapValidator, PlainValidator, Strict)
_NEUTRAL = (Discriminator, WithJsonSchema)
# What is refused or passes as it is.
_CHECKS = frozenset(
    {"allow_inf_nan", "decimal_places", "max_digits", "max_length", "min_length", "pattern", "strict", "uuid_version"}
)
_CHECKED_TIMES = (AwareDatetime, NaiveDatetime, PastDatetime, FutureDatetime, PastDate, FutureDate)


@dataclass(frozen=True)
class Wanted:
    """What a field accepts.

    Attributes:
        type: The annotation without ``Optional``, ``Annotated``, aliases and root models around it.
        nullable: Whether it accepts ``None``.
        reason: What on it SQL cannot do, such as a constraint; empty if there is nothing.
        before: Whether it looks at the value before Pydantic has made it what it has to be.
        markers: What Querywright is told.
        altered: Whether what is on it may make another value of one, and not only refuse it.
    """

    type: Any
    nullable: bool = False
    reason: str = ""
    before: bool = False
    markers: tuple[Marker, ...] = ()
    altered: bool = False

    @property
    def element(self) -> Wanted | None:
        """What an element accepts, if the field is a list of something."""
        arguments = [argument for argument in get_args(self.type) if argument is not Ellipsis]
        origin = get_origin(self.type)
        if origin not in (*_LISTS, *_SETS) or len(arguments) != 1:
            return None
        if origin is tuple and Ellipsis not in get_args(self.type):
            return None
        return read_annotation(arguments[0])

    @property
    def unordered(self) -> bool:
        """Whether the field is a set, which Pydantic makes of a list, in an order of its own."""
        return get_origin(self.type) in _SETS

    @property
    def values(self) -> Wanted | None:
        """What a value accepts, if the field is a dict of something."""
        arguments = get_args(self.type)
        is_dict = get_origin(self.type) is dict and len(arguments) == 2  # noqa: PLR2004 - key and value
        return read_annotation(arguments[1]) if is_dict else None


def read_field(field: FieldInfo) -> Wanted:
    """Take a field apart."""
    wanted = read_annotation(field.annotation)
    wanted = _with_metadata(wanted, field.metadata)
    # exclude_if: Pydantic 2.12.
    if getattr(field, "exclude_if", None) is not None:
        wanted = replace(wanted, reason=wanted.reason or "it is left out for some values", altered=True)
    return wanted


def read_annotation(annotation: Any) -> Wanted:
    """Strip what says nothing about the values themselves."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        return _with_metadata(read_annotation(inner), metadata)
    if origin in {Union, types.UnionType} and type(None) in get_args(annotation):
        rest: Any = Union[tuple(a for a in get_args(annotation) if a is not type(None))]  # noqa: UP007 - built at run time
        return replace(read_annotation(rest), nullable=True)
    if (value := _stands_for(annotation)) is not None:
        return read_annotation(value)
    if _is_root_model(annotation):
        wanted = read_field(annotation.model_fields["root"])
        reason, _ = changes(annotation, dict(annotation.model_config))
        reason = f"its root model changes values: {reason}" if reason else ""
        altered = wanted.altered or bool(reason)
        return replace(wanted, reason=wanted.reason or reason, before=wanted.before or bool(reason), altered=altered)
    nullable = annotation in (Any, None, type(None))
    hook = _has_schema_of_its_own(annotation)
    return Wanted(annotation, nullable, reason=_HOOK if hook else "", altered=hook and not is_checked_time(annotation))


def _stands_for(annotation: Any) -> Any:
    """Return what a NewType, or an alias with or without arguments, stands for; ``None`` if it is none of these."""
    if hasattr(annotation, "__supertype__"):
        return annotation.__supertype__
    if _is_alias(annotation):
        return _aliased(annotation)
    origin = get_origin(annotation)
    return _applied(origin, get_args(annotation)) if _is_alias(origin) else None


def _is_alias(annotation: Any) -> bool:
    # Python 3.12 has its own class beside that of typing_extensions.
    return type(annotation).__name__ == "TypeAliasType"


def _aliased(alias: Any) -> Any:
    """Return what an alias stands for; it may name classes that were declared after it."""
    holder = types.SimpleNamespace(__annotations__={"value": alias.__value__})
    names = vars(sys.modules[alias.__module__]) if alias.__module__ in sys.modules else {}
    try:
        return get_type_hints(holder, {**names}, include_extras=True)["value"]
    except NameError:
        # Of a function's own classes, which nobody sees from outside.
        return alias.__value__


def _applied(alias: Any, arguments: tuple[Any, ...]) -> Any:
    """Return what a generic alias stands for with its arguments."""
    value = _aliased(alias)
    given = dict(zip(alias.__type_params__, arguments, strict=False))
    if value in given:
        return given[value]
    open_ones = getattr(value, "__parameters__", ())
    return value[tuple(given.get(each, each) for each in open_ones)] if open_ones else value


def _with_metadata(wanted: Wanted, metadata: Sequence[Any]) -> Wanted:
    markers = tuple(filter(_is_marker, metadata))
    others = [item for item in metadata if not (_is_marker(item) or isinstance(item, _NEUTRAL))]
    return replace(
        wanted,
        reason=wanted.reason or next(map(_why, others), ""),
        before=wanted.before or any(not _is_after(item) for item in others),
        markers=(*wanted.markers, *markers),
        altered=wanted.altered or not all(map(_only_checks, others)),
    )


def _is_marker(item: Any) -> bool:
    """Return whether it is a marker, also one that was not called, which planning refuses."""
    return isinstance(item, Marker) or (is_class(item) and issubclass(item, Marker))


def _is_after(item: Any) -> bool:
    """Return whether an annotation only sees what Pydantic has made of the value."""
    if isinstance(item, _BEFORE):
        return False
    known = isinstance(item, (AfterValidator, PlainSerializer, WrapSerializer, FieldInfo))
    return known or type(item).__module__.startswith(("annotated_types", "pydantic.types", "pydantic._internal"))


def _only_checks(item: Any) -> bool:
    """Return whether an annotation refuses values, and changes none, as ``to_lower`` does."""
    rules = {name for name, value in getattr(item, "__dict__", {}).items() if value is not None}
    known = type(item).__module__.startswith("pydantic") and bool(rules) and rules <= _CHECKS
    return known or isinstance(item, Strict) or type(item).__module__.startswith("annotated_types")


def is_checked_time(annotation: Any) -> bool:
    """Return whether an annotation is one of Pydantic's for dates and moments, which are checked and not changed."""
    return annotation in _CHECKED_TIMES


def _why(item: Any) -> str:
    name = type(item).__name__
    if "Validator" in name:
        return "it has a validator"
    return "it has a serializer" if "Serializer" in name else "it has a constraint"


def _is_root_model(annotation: Any) -> bool:
    return is_class(annotation) and issubclass(annotation, RootModel) and annotation is not RootModel


def is_class(annotation: Any) -> bool:
    """Return whether an annotation is a class; on Python 3.10 ``list[int]`` is an instance of type, but none."""
    return get_origin(annotation) is None and isinstance(annotation, type)


def is_shape(annotation: Any) -> bool:
    """Return whether an annotation has named fields: a model, dataclass, TypedDict or msgspec Struct."""
    if not is_class(annotation):
        return is_generic_shape(annotation)
    if issubclass(annotation, BaseModel):
        return not issubclass(annotation, RootModel)
    return hasattr(annotation, "__dataclass_fields__") or is_typed_dict(annotation) or is_struct(annotation)


def is_generic_shape(annotation: Any) -> bool:
    """Return whether an annotation is a generic dataclass, TypedDict or Struct with its arguments."""
    origin = get_origin(annotation)
    if not is_class(origin):
        return False
    return hasattr(origin, "__dataclass_fields__") or is_typed_dict(origin) or is_struct(origin)


def is_typed_dict(annotation: Any) -> bool:
    """Return whether an annotation is a TypedDict."""
    return is_class(annotation) and issubclass(annotation, dict) and hasattr(annotation, "__total__")


def is_struct(annotation: Any) -> bool:
    """Return whether an annotation is a msgspec Struct, or a generic one with its arguments."""
    origin = get_origin(annotation) or annotation
    return is_class(origin) and hasattr(origin, "__struct_fields__")


def union_members(annotation: Any) -> tuple[Any, ...]:
    """List the models of a union of models; empty if it is none."""
    if get_origin(annotation) not in {Union, types.UnionType}:
        return ()
    members = tuple(read_annotation(member).type for member in get_args(annotation))
    return members if all(map(is_shape, members)) else ()


def type_name(annotation: Any) -> str:
    """Name an annotation as a user would write it."""
    return annotation.__name__ if is_class(annotation) else str(annotation).replace("typing.", "")


_HOOK = "it defines __get_pydantic_core_schema__"


def _has_schema_of_its_own(annotation: Any) -> bool:
    """Return whether a class of values, such as an Enum, tells Pydantic how to read and write it."""
    return is_class(annotation) and not is_shape(annotation) and hasattr(annotation, "__get_pydantic_core_schema__")
