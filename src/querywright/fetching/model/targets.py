"""Read a response model as a whole: its fields, their keys, and whether it changes values itself."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Collection, Mapping
from dataclasses import InitVar, dataclass, replace
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typing_extensions import NotRequired, ReadOnly, Required, get_type_hints

from querywright.errors import ShapeError
from querywright.fetching.model.annotations import is_struct, is_typed_dict
from querywright.fetching.model.custom import changes, config_of, rewrites
from querywright.fetching.model.outlines import Key, Outline, outline_of, paths_of

__all__ = ["Target", "TargetField", "target_of"]


@dataclass(frozen=True)
class TargetField:
    """A field that a row fills.

    Attributes:
        info: What Pydantic knows of it.
        key: How it comes and goes.
    """

    info: FieldInfo
    key: Key


@dataclass(frozen=True)
class Target:
    """A response model, of whatever kind.

    Attributes:
        name: Its name.
        fields: Its fields.
        reason: Why it has to write its JSON itself; empty if it changes nothing.
        before: Whether it looks at values before Pydantic has made them what they have to be.
        attributes: Whether it is made of an object with attributes, and not of a dict.
        config: The settings of Pydantic that hold for what is inside and has none of its own.
        struct: Whether msgspec makes and writes it, and not Pydantic.
        tag: The key and value by which msgspec tells it from others of a union, if it has one.
        rewritten: The fields of which it may show another value than it was given; ``None`` if that may be any.
    """

    name: str
    fields: Mapping[str, TargetField]
    reason: str = ""
    before: bool = False
    attributes: bool = False
    config: Mapping[str, Any] | None = None
    struct: bool = False
    tag: tuple[str, Any] | None = None
    rewritten: frozenset[str] | None = frozenset()


def target_of(model: Any, path: str, around: Target | None = None) -> Target:
    """Read a response model.

    Args:
        model: The response model.
        path: Where it is, from the root model.
        around: The model that it is a part of.

    Raises:
        ShapeError: Its annotations cannot be resolved, or Pydantic cannot read it.
    """
    try:
        if is_struct(model):
            return _struct(model)
        if around is not None and around.struct:
            return _inside_a_struct(model)
        if isinstance(model, type) and issubclass(model, BaseModel):
            return _pydantic_model(model, path)
        return _other(model, path, around.config if around else None)
    except NameError as error:
        raise ShapeError(path, f"its annotations cannot be resolved: {error}.") from None


def _pydantic_model(model: type[BaseModel], path: str) -> Target:
    # Resolves forward references, as Pydantic does on first use.
    if model.model_rebuild() is False:
        raise ShapeError(path, f"{model.__name__} is not a model with resolved, named fields.")
    outline, config = outline_of(model, path), dict(model.model_config)
    # What replaces the whole schema leaves no keys in it.
    keys = outline.keys or {name: _key(name, info) for name, info in model.model_fields.items()}
    fields = _filled(keys, model.model_fields)
    # For an object, as the ORM gives it, Pydantic does not call a custom __init__; for a dict it does.
    made = Target(model.__name__, fields, attributes=outline.custom_init, config=config)
    return _changed(made, model, config, outline)


def _key(name: str, info: FieldInfo) -> Key:
    alias = info.alias if info.serialization_alias is None else info.serialization_alias
    given: Any = info.alias if info.validation_alias is None else info.validation_alias
    aliases = paths_of(given if given is None or isinstance(given, str) else given.convert_to_aliases())
    return Key.named(name, alias, aliases, excluded=info.exclude is True)


def _other(model: Any, path: str, config: Mapping[str, Any] | None) -> Target:
    """Read a dataclass or a TypedDict."""
    origin = get_origin(model) or model
    outline = outline_of(model, path, config)
    own = config_of(origin)
    fields = _filled(outline.keys, _infos(model, outline.keys))
    made = Target(origin.__name__, fields, config=config if own is None else own)
    return _changed(made, origin, own or {}, outline)


def _changed(target: Target, origin: type, config: dict[str, Any], outline: Outline) -> Target:
    reason, before = changes(origin, config)
    reason = next(filter(None, [reason, *outline.reasons]), "")
    rewritten = None if outline.rewritten else rewrites(origin, config)
    return replace(target, reason=reason, before=before or outline.before, rewritten=rewritten)


def _filled(keys: Mapping[str, Key], infos: Mapping[str, FieldInfo]) -> dict[str, TargetField]:
    return {name: TargetField(infos[name], key) for name, key in keys.items() if key.filled}


def _infos(model: Any, names: Collection[str]) -> dict[str, FieldInfo]:
    """Read the fields of a dataclass or a TypedDict."""
    origin = get_origin(model) or model
    known = getattr(origin, "__pydantic_fields__", None)
    if known is not None and not get_origin(model):
        return dict(known)
    hints, declared = _hints(model, names), getattr(origin, "__dataclass_fields__", {})
    return {name: _field_info(_strip(hints[name]), declared.get(name)) for name in names}


def _field_info(hint: Any, field: dataclasses.Field[Any] | None) -> FieldInfo:
    if field is not None and isinstance(field.default, FieldInfo):
        return FieldInfo.from_annotated_attribute(hint, field.default)
    return FieldInfo.from_annotation(hint)


def _strip(hint: Any) -> Any:
    """Look through what says nothing about the values."""
    while get_origin(hint) in {Required, NotRequired, ReadOnly}:
        hint = hint.__args__[0]
    return hint.type if isinstance(hint, InitVar) else hint


def _hints(model: Any, names: Collection[str]) -> dict[str, Any]:
    """Resolve the annotations of some fields, with the arguments of a generic class put in their places."""
    origin = get_origin(model) or model
    hints: dict[str, Any] = {}
    for base in reversed(origin.__mro__):
        own = {name: hint for name, hint in inspect.get_annotations(base).items() if name in names}
        # Of these only: Python 3.10 takes KW_ONLY for a type that cannot be resolved.
        holder = type(base.__name__, (), {"__annotations__": own, "__module__": base.__module__})
        hints |= get_type_hints(holder, include_extras=True)
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
    origin = get_origin(model) or model
    fields = {
        field.name: TargetField(FieldInfo.from_annotation(field.type), Key(field.encode_name, field.encode_name))
        for field in msgspec.structs.fields(model)
    }
    config = origin.__struct_config__
    reasons = [f"it is defined with {name}" for name in ("tag", "array_like", "omit_defaults") if getattr(config, name)]
    reasons.append(changes(origin, {})[0])
    tag = None if config.tag is None else (config.tag_field, config.tag)
    name, reason = origin.__name__, next(filter(None, reasons), "")
    rewritten = rewrites(origin, {})
    return Target(name, fields, reason, attributes=config.array_like, struct=True, tag=tag, rewritten=rewritten)


def _inside_a_struct(model: Any) -> Target:
    """Read a dataclass or a TypedDict as msgspec does, which knows nothing of Pydantic's."""
    origin = get_origin(model) or model
    names = origin.__annotations__ if is_typed_dict(origin) else [field.name for field in dataclasses.fields(origin)]
    fields = {name: TargetField(info, Key(name, name)) for name, info in _infos(model, names).items()}
    return Target(origin.__name__, fields, changes(origin, {})[0], struct=True, rewritten=rewrites(origin, {}))
