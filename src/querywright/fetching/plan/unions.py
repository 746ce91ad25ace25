"""Plan a union of response models: which of them each subclass of an inheritance hierarchy has."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from sqlalchemy.orm import Mapper

from querywright.errors import ShapeError
from querywright.fetching.mapping.attributes import attribute_of
from querywright.fetching.model.annotations import read_field, type_name
from querywright.fetching.model.targets import Target, target_of
from querywright.fetching.plan.aliases import Row, name_read
from querywright.fetching.plan.nodes import Scalar
from querywright.fetching.plan.scalars import internal

__all__ = ["cases_of"]

Case = tuple[tuple[Any, ...], Any, Mapper[Any]]


def cases_of(members: tuple[Any, ...], mapper: Mapper[Any], path: str) -> tuple[Scalar, list[Case]]:
    """Match the models of a union with the classes of a hierarchy.

    Returns:
        The discriminator, and for each model the values of it, the model and the class.

    Raises:
        ShapeError: The class has no subclasses, or a model does not say which of them it is for.
    """
    owner = mapper.class_.__name__
    if mapper.polymorphic_on is None:
        raise ShapeError(path, f"{owner} has no subclasses to tell the models of a union apart by.")
    name = mapper.get_property_by_column(mapper.polymorphic_on).key
    if not hasattr(mapper.class_, name):
        hint = "Map it with column_property(), and give polymorphic_on its name."
        raise ShapeError(path, f"{owner} tells its classes apart by an expression that is not an attribute.", hint=hint)
    discriminator = internal(attribute_of(mapper, name, path), path)
    return discriminator, [_case(member, name, mapper, path) for member in members]


def _case(member: Any, name: str, mapper: Mapper[Any], path: str) -> Case:
    values = _values(target_of(member, path), name, mapper, path)
    if not values:
        hint = f'Declare {name}: Literal["..."] in each model of the union; a Struct has tag_field={name!r} and a tag.'
        raise ShapeError(path, f"{type_name(member)} does not say which {name} it is for.", hint=hint)
    known = mapper.polymorphic_map
    for value in values:
        if value not in known or not known[value].isa(mapper):
            hint = f"There are {', '.join(sorted(map(repr, known)))}."
            raise ShapeError(f"{path}({type_name(member)}).{name}", f"no class has the {name} {value!r}.", hint=hint)
    # What several classes share is what the nearest class has that all of them are.
    first, *others = (known[value] for value in values)
    shared = next(each for each in first.iterate_to_root() if all(other.isa(each) for other in others))
    return values, member, shared


def _values(target: Target, name: str, mapper: Mapper[Any], path: str) -> tuple[Any, ...]:
    """List the values of the discriminator that a model is for."""
    if target.struct:
        # msgspec looks at nothing else to tell one from another.
        return (target.tag[1],) if target.tag and target.tag[0] == name else ()
    fields = target.fields.items()
    field = next((each for own, each in fields if name_read(own, each.key, Row(mapper), path) == name), None)
    annotation = read_field(field.info).type if field else None
    return get_args(annotation) if get_origin(annotation) is Literal else ()
