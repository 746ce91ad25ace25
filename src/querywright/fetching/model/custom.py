"""Find what a class does itself with the values of its fields: by decorators, by methods, by settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_origin

from pydantic import BaseModel, RootModel

__all__ = ["changes", "config_of", "rewrites"]

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
_HOOKS = (
    "__get_pydantic_core_schema__", "model_dump", "model_dump_json", "model_post_init", "__post_init__", "__new__",
    "__getattribute__",
)  # fmt: skip
_DECORATORS = {
    "Validator": "it has validators",
    "Serializer": "it has serializers",
    "Computed": "it has computed fields",
}


def changes(cls: type, config: dict[str, Any]) -> tuple[str, bool]:
    """Return why a class has to write its JSON itself, and whether it looks at raw values.

    Args:
        cls: A model, dataclass, TypedDict or Struct.
        config: Its settings.
    """
    infos = list(_decorations(cls))
    reasons = [reason for info in infos for word, reason in _DECORATORS.items() if word in type(info).__name__]
    hooks = [hook for base in _own(cls) for hook in _HOOKS if _defines(base, hook)]
    reasons += [f"it defines {hook}" for hook in hooks]
    reasons += [f"it is configured with {name}" for name in sorted(set(config) - _NEUTRAL_CONFIG)]
    modes = {getattr(info, "mode", "before") for info in infos if "Validator" in type(info).__name__}
    # A strict model takes a number for a number, and not the text that stands for one that JSON does not have.
    before = bool(modes - {"after"}) or "__get_pydantic_core_schema__" in hooks or bool(config.get("strict"))
    return next(iter(reasons), ""), before


def rewrites(cls: type, config: dict[str, Any]) -> frozenset[str] | None:
    """Name the fields that a class may validate or write as another value; ``None`` if that may be any of them.

    Args:
        cls: A model, dataclass, TypedDict or Struct.
        config: Its settings.
    """
    if set(config) - _NEUTRAL_CONFIG or any(_defines(base, hook) for base in _own(cls) for hook in _HOOKS):
        return None
    names: set[str] = set()
    for info in _decorations(cls):
        # A computed field is a further one.
        if "Computed" not in type(info).__name__:
            names.update(getattr(info, "fields", "*"))
    return None if "*" in names else frozenset(names)


def config_of(cls: type) -> dict[str, Any] | None:
    """Find the settings of a dataclass or TypedDict, its own or inherited; ``None`` if it has none."""
    found = (vars(base)["__pydantic_config__"] for base in _own(cls) if "__pydantic_config__" in vars(base))
    config = next(found, None)
    return None if config is None else dict(config)


def _decorations(cls: type) -> Iterator[Any]:
    """List what Pydantic's decorators have noted of the methods of a class."""
    known = getattr(cls, "__pydantic_decorators__", None)
    if known is not None:
        found = (getattr(known, kind) for kind in type(known).__dataclass_fields__)
        yield from (each.info for kind in found for each in kind.values())
        return
    for base in _own(cls):
        yield from (each.decorator_info for each in vars(base).values() if hasattr(each, "decorator_info"))


def _own(cls: type) -> list[type]:
    """List a class and those it inherits from, up to where it is not the user's."""
    own = [base for base in cls.__mro__ if base not in {object, dict, BaseModel, RootModel} and not _is_foreign(base)]
    # A TypedDict forgets the classes it inherits from.
    parents = [get_origin(base) or base for base in getattr(cls, "__orig_bases__", ())]
    typed = [base for base in parents if isinstance(base, type) and hasattr(base, "__total__")]
    return own + [each for base in typed if base not in own for each in _own(base)]


def _is_foreign(base: type) -> bool:
    return base.__module__.partition(".")[0] in {"pydantic", "msgspec", "typing", "abc"}


def _defines(base: type, hook: str) -> bool:
    # The one of Pydantic itself, for private attributes, has this name.
    return hook in vars(base) and getattr(vars(base)[hook], "__name__", "") != "init_private_attributes"
