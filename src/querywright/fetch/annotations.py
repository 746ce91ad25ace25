"""Read a Pydantic field: what it accepts, and whether the model changes values on their way out."""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic.fields import FieldInfo

__all__ = ["Wanted", "input_key", "is_model", "output_key", "read_field", "writes_plain_json"]

_LISTS = (list, tuple, Sequence)

# Settings of a model that neither change nor check a value on its way from a row to JSON.
_NEUTRAL_CONFIG = frozenset(
    {
        "alias_generator", "arbitrary_types_allowed", "defer_build", "extra", "from_attributes", "frozen",
        "hide_input_in_errors", "ignored_types", "json_schema_extra", "json_schema_mode_override",
        "json_schema_serialization_defaults_required", "loc_by_alias", "model_title_generator",
        "field_title_generator", "plugin_settings", "populate_by_name", "protected_namespaces", "revalidate_instances",
        "schema_generator", "serialize_by_alias", "strict", "title", "use_attribute_docstrings", "use_enum_values",
        "validate_assignment", "validate_by_alias", "validate_by_name", "validate_default",
    }
)  # fmt: skip

# Methods that a class defines itself to change what it validates or writes.
_HOOKS = ("__get_pydantic_core_schema__", "model_dump", "model_dump_json", "model_post_init")


@dataclass(frozen=True)
class Wanted:
    """What a field accepts.

    Attributes:
        type: The annotation without ``Optional``; of a list, the annotation of its elements.
        many: Whether the field is a list.
        nullable: Whether the field accepts ``None``.
        plain: Whether the field has no constraint, validator or serializer of its own.
    """

    type: Any
    many: bool
    nullable: bool
    plain: bool

    @property
    def model(self) -> type[BaseModel] | None:
        """The response model in the annotation, if it is one."""
        return self.type if is_model(self.type) else None


def read_field(field: FieldInfo) -> Wanted:
    """Take a field's annotation apart."""
    annotation, nullable, plain = _unwrap(field.annotation)
    many = False
    arguments = get_args(annotation)
    if get_origin(annotation) in _LISTS and len([a for a in arguments if a is not Ellipsis]) == 1:
        element, element_nullable, element_plain = _unwrap(arguments[0])
        if is_model(element) and not element_nullable:
            annotation, many, plain = element, True, plain and element_plain
    plain = plain and not field.metadata and field.discriminator is None
    # exclude_if: Pydantic 2.12.
    plain = plain and field.exclude is not True and getattr(field, "exclude_if", None) is None
    return Wanted(annotation, many, nullable, plain)


def is_model(annotation: Any) -> bool:
    """Say whether an annotation is a Pydantic model."""
    # On Python 3.10 list[int] is an instance of type, but no class.
    return get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _unwrap(annotation: Any) -> tuple[Any, bool, bool]:
    """Strip ``Annotated`` and ``Optional``; say whether either was there."""
    nullable, plain = False, True
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, plain = get_args(annotation)[0], False
        elif origin in {Union, types.UnionType} and type(None) in get_args(annotation):
            nullable = True
            annotation = Union[tuple(a for a in get_args(annotation) if a is not type(None))]  # noqa: UP007 - built at run time
        else:
            return annotation, nullable or annotation in {Any, None, type(None)}, plain


def output_key(name: str, field: FieldInfo) -> str:
    """Return the key a client reads; FastAPI serializes by alias."""
    return field.serialization_alias or field.alias or name


def input_key(name: str, field: FieldInfo, model: type[BaseModel]) -> str | None:
    """Return a key under which the model accepts the field; ``None`` if only a path leads to it."""
    if model.model_config.get("validate_by_alias") is False:
        return name
    alias = field.validation_alias or field.alias
    if isinstance(alias, AliasChoices):
        return next((choice for choice in alias.choices if isinstance(choice, str)), None)
    if isinstance(alias, AliasPath):
        return None
    return alias or name


def writes_plain_json(model: type[BaseModel]) -> bool:
    """Say whether the model writes its fields as they are: no validators, serializers or computed fields."""
    decorators = model.__pydantic_decorators__
    changes_values = (
        decorators.validators, decorators.field_validators, decorators.root_validators, decorators.field_serializers,
        decorators.model_serializers, decorators.model_validators, decorators.computed_fields,
    )  # fmt: skip
    own_classes = model.__mro__[: model.__mro__.index(BaseModel)]
    has_hooks = any(hook in cls.__dict__ for cls in own_classes for hook in _HOOKS)
    return not any(changes_values) and not has_hooks and _NEUTRAL_CONFIG.issuperset(model.model_config)
