"""Cut the JSON that a model wrote itself down to what was asked for.

Not every writer can be told: a serializer gives what it wants, whatever fields a client named, and msgspec knows
neither names for aliases nor to leave out what is ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from querywright.errors import ShapeError
from querywright.fetching.decode.models import Dump, takes_options
from querywright.fetching.decode.text import read_json, write_json
from querywright.fetching.plan.fieldsets import Fieldset, Tree
from querywright.fetching.plan.nodes import Field, Groups, Node, Plan, Shape, ToMany, ToOne

__all__ = ["reshaped"]

Reshape = Callable[[Any], Any]


def reshaped(written: bytes, plan: Plan, how: Dump, chosen: Fieldset | None) -> bytes:
    """Cut down the JSON of rows, or of one.

    Args:
        written: What the model wrote.
        plan: The plan of the response model.
        how: What it should have done.
        chosen: The fields that a client asked for.

    Raises:
        ShapeError: It did not write an object, so there are no fields to choose from.
    """
    told = takes_options(plan.model)
    if chosen is None and (told or how == Dump()):
        return written
    reshaper = _Reshaper(named=told and not how.by_alias, rename=not how.by_alias, drop=how.exclude_none and not told)
    return write_json(reshaper.of([plan.root], chosen.tree if chosen else {})(read_json(written)))


@dataclass(frozen=True)
class _Reshaper:
    """Makes functions that reshape parsed JSON.

    Attributes:
        named: Whether it has names as keys, and not aliases.
        rename: Whether it should have names.
        drop: Whether to leave out what is ``None``.
    """

    named: bool
    rename: bool
    drop: bool

    def of(self, nodes: Sequence[Node], tree: Tree) -> Reshape:
        """Reshape what any of some nodes fills, those of several models for one key."""
        inner = [_inside(node) for node in nodes]
        groups = [node for node in inner if isinstance(node, Groups)]
        if groups and len(groups) == len(inner):
            below = self.of([node.target for node in groups], tree)
            return lambda value: value and {key: below(each) for key, each in value.items()}
        return self.objects([shape for node in inner for shape in node.shapes], tree)

    def objects(self, shapes: Sequence[Shape], tree: Tree) -> Reshape:
        """Reshape an object that is one of some shapes, or a list of such."""
        fields = [field for shape in shapes for field in shape.fields if not field.excluded]
        chosen = [field for field in fields if not tree or field.key in tree]
        members = {self._key(field): self._member(field, chosen, tree) for field in chosen}
        others = [field for field in fields if tree and field.key not in tree]
        unclear = [field.path for field in others if self._key(field) in members]
        if unclear:
            hint = "Write aliases as keys."
            raise ShapeError(unclear[0], "another model of the union has its name for what was asked for.", hint=hint)

        def reshape(value: Any) -> Any:
            if isinstance(value, list):
                return [reshape(each) for each in value]
            if isinstance(value, dict):
                return self._object(value, members, all_keys=not tree)
            if tree and value is not None:
                raise ShapeError(shapes[0].path, "it is not written as an object, and has no fields to choose from.")
            return value

        return reshape

    def _key(self, field: Field) -> str:
        return field.name if self.named else field.key

    def _member(self, field: Field, chosen: Sequence[Field], tree: Tree) -> tuple[str, Reshape | None]:
        alike = [each.value for each in chosen if each.key == field.key]
        below = any(_inside(node).shapes for node in alike)
        name = field.name if self.rename else field.key
        return name, self.of(alike, tree.get(field.key, {})) if below else None

    def _object(
        self, value: dict[str, Any], members: dict[str, tuple[str, Reshape | None]], *, all_keys: bool
    ) -> dict[str, Any]:
        result = {}
        for key, each in value.items():
            if key not in members and not all_keys:
                continue
            name, reshape = members.get(key, (key, None))
            if each is not None or not self.drop:
                result[name] = reshape(each) if reshape else each
        return result


def _inside(node: Node) -> Node:
    """Look through relationships to what is written of each row."""
    while isinstance(node, (ToOne, ToMany)):
        node = node.target
    return node
