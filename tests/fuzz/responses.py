"""Invent response models: some fields of a class in any order, models of its relationships, hooks and aliases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, create_model

from tests.fuzz.hooks import HOOKS
from tests.fuzz.names import ALIAS_GENERATORS, Namer, alias_names
from tests.fuzz.schemas import Column, Edge, Schema

_CONFIGS: tuple[dict[str, Any], ...] = (
    {}, {}, {}, {}, {"extra": "ignore"}, {"frozen": True}, {"use_enum_values": True}, {"strict": True},
    *({"alias_generator": generator} for generator in ALIAS_GENERATORS),
)  # fmt: skip
_LISTS: tuple[Callable[[Any], Any], ...] = (
    lambda model: list[model],
    lambda model: list[model],
    lambda model: tuple[model, ...],
    lambda model: Sequence[model],
)


@dataclass(frozen=True)
class Wanted:
    """One field of a response model.

    Attributes:
        name: Its name, mostly that of the attribute that fills it.
        annotation: Its annotation; of a relationship, the model of the other class.
        many: How a list of models is written; ``None`` if it is none.
        optional: Whether it accepts ``None``.
        options: Arguments of Pydantic's ``Field``.
    """

    name: str
    annotation: Any
    many: Callable[[Any], Any] | None = field(default=None, repr=False)
    optional: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    """A response model to be."""

    name: str
    fields: tuple[Wanted, ...]
    config: dict[str, Any]
    hook: str = ""


def make_model(response: Response) -> type[BaseModel]:
    """Make the model, and those nested in it."""
    fields: dict[str, Any] = {}
    for wanted in response.fields:
        annotation = make_model(wanted.annotation) if isinstance(wanted.annotation, Response) else wanted.annotation
        annotation = wanted.many(annotation) if wanted.many else annotation
        fields[wanted.name] = (annotation | None if wanted.optional else annotation, Field(**wanted.options))
    base = _base(response.config, HOOKS[response.hook](response.fields[0].name) if response.hook else {})
    return create_model(response.name, __base__=base, **fields)


def _base(config: dict[str, Any], hooks: dict[str, Any]) -> type[BaseModel]:
    # Found by name as well: an ORM object has no attributes of the names of aliases.
    settings = ConfigDict(from_attributes=True, populate_by_name=True, **config)  # type: ignore[typeddict-item]
    return type("Out", (BaseModel,), {"__module__": __name__, "model_config": settings, **hooks})


@dataclass
class _Inventor:
    draw: st.DrawFn
    schema: Schema
    count: int = 0

    def response(self, index: int, depth: int) -> Response:
        self.count += 1
        name = f"Model{self.count}"
        columns, edges = self.schema.columns(index), list(self.schema.edges(index))
        config = self.draw(st.sampled_from(_CONFIGS))
        aliases = Namer(self.draw, alias_names)
        for attribute in (*(c.attribute for c in columns), *(edge.attribute for edge in edges)):
            aliases.reserve(attribute)
        chosen = self.draw(st.just(columns) | st.lists(st.sampled_from(columns), min_size=1, unique=True))
        # Another column's name for a field: its alias says which one it shows.
        free = [column.attribute for column in columns if column not in chosen]
        fields = [self._column(column, aliases, free) for column in chosen]
        if depth and edges:
            followed = self.draw(st.lists(st.sampled_from(edges), min_size=1, max_size=2, unique=True))
            strict = "strict" in config
            fields += [self._edge(edge, depth, aliases, strict=strict) for edge in followed]
        hook = self.draw(st.sampled_from(("",) * 60 + tuple(HOOKS)))
        return Response(name, tuple(self.draw(st.permutations(fields))), config, hook)

    def _column(self, column: Column, aliases: Namer, free: list[str]) -> Wanted:
        annotation = self.draw(st.sampled_from(column.kind.annotations))
        optional = column.nullable or self.draw(st.integers(0, 3)) == 3
        if annotation is Any:
            optional = False
        if free and self.draw(st.integers(0, 7)) == 7:
            alias = self.draw(st.sampled_from((column.attribute, AliasChoices(aliases(), column.attribute))))
            return Wanted(free.pop(), annotation, None, optional, {"validation_alias": alias})
        return Wanted(column.attribute, annotation, None, optional, self._options(aliases))

    def _edge(self, edge: Edge, depth: int, aliases: Namer, *, strict: bool) -> Wanted:
        inner = self.response(edge.target, depth - 1)
        if edge.many:
            many = _LISTS[0] if strict else self.draw(st.sampled_from(_LISTS))
            return Wanted(edge.attribute, inner, many, optional=False, options=self._options(aliases))
        optional = not edge.required or self.draw(st.booleans())
        return Wanted(edge.attribute, inner, None, optional, self._options(aliases))

    def _options(self, aliases: Namer) -> dict[str, Any]:
        """Draw aliases; mostly none."""
        which = self.draw(st.sampled_from(("", "", "", "", "", "alias", "out", "in", "both", "choices")))
        if which == "alias":
            return {"alias": aliases()}
        outer = {"serialization_alias": aliases()} if which in {"out", "both"} else {}
        inner = {"validation_alias": aliases()} if which in {"in", "both"} else {}
        if which == "choices":
            inner = {"validation_alias": AliasChoices(aliases(), aliases())}  # type: ignore[dict-item]
        return {**outer, **inner}


@st.composite
def responses(draw: st.DrawFn, schema: Schema, index: int) -> Response:
    """Draw a response model of a class, up to four levels deep."""
    return _Inventor(draw, schema).response(index, draw(st.sampled_from((0, 1, 1, 2, 2, 3))))
