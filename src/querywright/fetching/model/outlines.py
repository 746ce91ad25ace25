"""Read Pydantic's own schema of a model: under which keys its fields come and go, and what around them changes values.

The schema holds what every version and setting of Pydantic makes of a class, such as the aliases that a generator of
the model around it gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from typing_extensions import Self

from querywright.errors import ShapeError

__all__ = ["Alias", "Key", "Outline", "outline_of", "paths_of"]

Schema = Mapping[str, Any]
Alias = tuple[str | int, ...]

# Parts of a schema that do nothing to values, and those that list the fields.
_PLAIN = frozenset({"list", "definitions", "definition-ref", "model", "dataclass"})
_FIELDS = frozenset({"model-fields", "dataclass-args", "typed-dict"})


@dataclass(frozen=True)
class Key:
    """How one field comes and goes.

    Attributes:
        input: A key under which the model accepts it; ``None`` if only a path leads to it.
        output: The key a client reads; FastAPI serializes by alias.
        excluded: Whether clients do not see it.
        filled: Whether the model is given its value, and does not make it.
        aliases: The paths by which the model seeks it in an object before it asks for the field's own name.
    """

    input: str | None
    output: str
    excluded: bool = False
    filled: bool = True
    aliases: tuple[Alias, ...] = ()

    @classmethod
    def named(
        cls, name: str, output: str | None, aliases: tuple[Alias, ...], *, excluded: bool, filled: bool = True
    ) -> Self:
        """Make the key of a field, whose own name stands for what has no other."""
        taken = _plain(aliases) if aliases else name
        return cls(taken, name if output is None else output, excluded=excluded, filled=filled, aliases=aliases)


@dataclass
class Outline:
    """A model without the types of its fields.

    Attributes:
        keys: Its fields, in the order in which they are written.
        reasons: Why it has to write its JSON itself.
        before: Whether it looks at values before Pydantic has made them what they have to be.
        by_alias: Whether it validates by alias.
        custom_init: Whether it has an ``__init__`` of its own, which Pydantic calls for a dict, and not for an object.
        rewritten: Whether what stands around its fields may change any of them.
    """

    keys: dict[str, Key] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    before: bool = False
    by_alias: bool = True
    custom_init: bool = False
    rewritten: bool = False


def outline_of(model: Any, path: str, config: Mapping[str, Any] | None = None) -> Outline:
    """Outline a model, dataclass or TypedDict.

    Args:
        model: The class, or the generic one with its arguments.
        path: Where it is, from the root model.
        config: The settings of the model around it, which hold where it has none of its own.

    Raises:
        ShapeError: Pydantic cannot read it.
        NameError: Its annotations cannot be resolved.
    """
    schema = _schema_of(model, path, config)
    definitions = {each["ref"]: each for each in schema.get("definitions", ())}
    outline = Outline()
    below: Schema | None = schema
    while below is not None:
        _note(below, outline)
        if below["type"] in _FIELDS:
            outline.keys = _keys_of(below, outline)
            break
        below = definitions.get(below.get("schema_ref", "")) or below.get("schema") or below.get("items_schema")
    return outline


def _schema_of(model: Any, path: str, config: Mapping[str, Any] | None) -> Schema:
    if isinstance(model, type) and issubclass(model, BaseModel):
        return model.__pydantic_core_schema__
    # Pydantic takes settings for a list only; its elements take them over.
    settings: Any = None if config is None else dict(config)
    many: Any = list[model]  # pyright: ignore[reportInvalidTypeForm] - made at run time
    try:
        return TypeAdapter(many, config=settings).core_schema
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise ShapeError(path, f"Pydantic cannot read it: {str(error).splitlines()[0]}") from error


def _note(schema: Schema, outline: Outline) -> None:
    """Note what one part of the schema changes."""
    kind = schema["type"]
    outline.rewritten = outline.rewritten or kind not in _PLAIN | _FIELDS or "serialization" in schema
    if kind not in _PLAIN | _FIELDS:
        outline.reasons.append("it has validators")
        outline.before = outline.before or kind != "function-after"
    if "serialization" in schema:
        outline.reasons.append("it has serializers")
    if schema.get("computed_fields"):
        outline.reasons.append("it has computed fields")
    outline.by_alias = outline.by_alias and schema.get("config", {}).get("validate_by_alias") is not False
    outline.custom_init = outline.custom_init or bool(schema.get("custom_init"))


def _keys_of(schema: Schema, outline: Outline) -> dict[str, Key]:
    fields = schema["fields"]
    named: dict[str, Schema] = {each["name"]: each for each in fields} if isinstance(fields, list) else fields
    keys = {name: _key(name, each, by_alias=outline.by_alias) for name, each in named.items()}
    if not all(key.filled for key in keys.values()):
        outline.reasons.append("it makes some of its fields itself")
    return keys


def _key(name: str, field_schema: Schema, *, by_alias: bool) -> Key:
    aliases = paths_of(field_schema.get("validation_alias") if by_alias else None)
    # What goes to __post_init__ only is no field of the object.
    excluded = bool(field_schema.get("serialization_exclude") or field_schema.get("init_only"))
    filled = field_schema.get("init") is not False
    return Key.named(name, field_schema.get("serialization_alias"), aliases, excluded=excluded, filled=filled)


def paths_of(alias: str | Sequence[Any] | None) -> tuple[Alias, ...]:
    """Take an alias apart as a schema has it: a name, a path as a list, or choices as a list of paths."""
    if alias is None or isinstance(alias, str):
        return () if alias is None else ((alias,),)
    return tuple(map(tuple, alias)) if isinstance(alias[0], list) else (tuple(alias),)


def _plain(aliases: Sequence[Alias]) -> str | None:
    """Choose the first alias that is a name."""
    return next((path[0] for path in aliases if len(path) == 1 and isinstance(path[0], str)), None)
