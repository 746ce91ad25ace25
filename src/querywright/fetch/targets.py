"""Read a response model as a whole: its fields, their keys, and whether it changes values itself."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_origin

from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic.fields import FieldInfo
from typing_extensions import NotRequired, ReadOnly, Required, get_type_hints

from querywright.errors import ShapeError
from querywright.fetch.annotations import is_struct, is_typed_dict

__all__ = ["Target", "input_key", "output_key", "target_of"]

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
_HOOKS = ("__get_pydantic_core_schema__", "model_dump", "model_dump_json", "model_post_init", "__post_init__")
_DECORATORS = {
    "validators": "it has validators", "field_validators": "it has validators", "root_validators": "it has validators",
    "model_validators": "it has validators", "field_serializers": "it has serializers",
    "model_serializers": "it has serializers", "computed_fields": "it has computed fields",
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A response model, of whatever kind.

    Attributes:
        name: Its name.
        fields: Its fields.
        reason: Why it has to write its JSON itself; empty if it changes nothing.
        before: Whether it looks at values before Pydantic has made them what they have to be.
        by_alias: Whether it validates by alias.
    """

    name: str
    fields: Mapping[str, FieldInfo]
    reason: str = ""
    before: bool = False
    by_alias: bool = True


def target_of(model: Any, path: str) -> Target:
    """Read a response model.

    Raises:
        ShapeError: Its annotations cannot be resolved.
    """
    try:
        if is_struct(model):
            return _struct(model)
        if isinstance(model, type) and issubclass(model, BaseModel):
            return _pydantic_model(model, path)
        return _typed_dict(model) if is_typed_dict(get_origin(model) or model) else _dataclass(model)
    except NameError as error:
        raise ShapeError(path, f"its annotations cannot be resolved: {error}.") from None


def _pydantic_model(model: type[BaseModel], path: str) -> Target:
    # Resolves forward references, as Pydantic does on first use.
    if model.model_rebuild() is False:
        raise ShapeError(path, f"{model.__name__} is not a model with resolved, named fields.")
    own = model.__mro__[: model.__mro__.index(BaseModel)]
    reason, before = _changes(model.__pydantic_decorators__, own, dict(model.model_config))
    by_alias = model.model_config.get("validate_by_alias") is not False
    return Target(model.__name__, model.model_fields, reason, before, by_alias)


def _changes(decorators: Any, own: tuple[type, ...], config: dict[str, Any]) -> tuple[str, bool]:
    """Say why a model has to write its JSON itself, and whether it looks at raw values."""
    found = [(kind, getattr(decorators, kind, {})) for kind in _DECORATORS] if decorators else []
    reasons = [_DECORATORS[kind] for kind, those in found if those]
    hooks = [hook for cls in own for hook in _HOOKS if hook in cls.__dict__]
    reasons += [f"it defines {hook}" for hook in hooks]
    reasons += [f"it is configured with {name}" for name in sorted(set(config) - _NEUTRAL_CONFIG)]
    modes = {
        getattr(item.info, "mode", "before") for kind, those in found if "valid" in kind for item in those.values()
    }
    # A strict model takes a number for a number, and not the text that stands for one that JSON does not have.
    before = bool(modes - {"after"}) or "__get_pydantic_core_schema__" in hooks or bool(config.get("strict"))
    return next(iter(reasons), ""), before


def _typed_dict(model: Any) -> Target:
    origin = get_origin(model) or model
    hints = _hints(model)
    fields = {name: FieldInfo.from_annotation(_strip(hint)) for name, hint in hints.items()}
    config = getattr(origin, "__pydantic_config__", {})
    reason, before = _changes(None, (), dict(config))
    return Target(origin.__name__, fields, reason, before)


def _strip(hint: Any) -> Any:
    while get_origin(hint) in {Required, NotRequired, ReadOnly}:
        hint = hint.__args__[0]
    return hint


def _dataclass(model: Any) -> Target:
    origin = get_origin(model) or model
    fields = getattr(origin, "__pydantic_fields__", None)
    if fields is None or get_origin(model):
        hints = _hints(model)
        fields = {field.name: _field_info(hints[field.name], field) for field in dataclasses.fields(origin)}
    own = tuple(cls for cls in origin.__mro__ if cls is not object)
    config = dict(getattr(origin, "__pydantic_config__", {}))
    reason, before = _changes(getattr(origin, "__pydantic_decorators__", None), own, config)
    return Target(origin.__name__, fields, reason, before)


def _field_info(hint: Any, field: dataclasses.Field[Any]) -> FieldInfo:
    if isinstance(field.default, FieldInfo):
        return FieldInfo.from_annotated_attribute(hint, field.default)
    return FieldInfo.from_annotation(hint)


def _hints(model: Any) -> dict[str, Any]:
    """Resolve the annotations of a class, with the arguments of a generic one put in their places."""
    origin = get_origin(model) or model
    hints = get_type_hints(origin, include_extras=True)
    parameters = getattr(origin, "__parameters__", ())
    arguments = dict(zip(parameters, getattr(model, "__args__", ()), strict=False))
    return {name: _substitute(hint, arguments) for name, hint in hints.items()}


def _substitute(hint: Any, arguments: dict[Any, Any]) -> Any:
    if hint in arguments:
        return arguments[hint]
    parameters = getattr(hint, "__parameters__", ())
    return hint[tuple(arguments[parameter] for parameter in parameters)] if parameters and arguments else hint


def _struct(model: Any) -> Target:
    # Whoever has a Struct has imported msgspec.
    msgspec: Any = sys.modules["msgspec"]
    fields = {}
    for field in msgspec.structs.fields(model):
        info = FieldInfo.from_annotation(field.type)
        info.alias = info.validation_alias = info.serialization_alias = field.encode_name
        fields[field.name] = info
    config = model.__struct_config__
    reasons = [f"it is defined with {name}" for name in ("tag", "array_like", "omit_defaults") if getattr(config, name)]
    return Target(model.__name__, fields, next(iter(reasons), ""))


def input_key(name: str, field: FieldInfo, target: Target) -> str | None:
    """Return a key under which the model accepts the field; ``None`` if only a path leads to it."""
    if not target.by_alias:
        return name
    alias = field.alias if field.validation_alias is None else field.validation_alias
    if isinstance(alias, AliasChoices):
        return next((choice for choice in alias.choices if isinstance(choice, str)), None)
    if isinstance(alias, AliasPath):
        return None
    return name if alias is None else alias


def output_key(name: str, field: FieldInfo) -> str:
    """Return the key a client reads; FastAPI serializes by alias."""
    aliases = (field.serialization_alias, field.alias)
    return next((alias for alias in aliases if alias is not None), name)
