"""Turn a response model and a mapped class into a plan; every mismatch is an error that names the field."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

from sqlalchemy.orm import Mapper, RelationshipProperty

from querywright.errors import ShapeError
from querywright.fetching.mapping.attributes import Attribute, Composite, Relation, Steps, attribute_of, may_be_none
from querywright.fetching.mapping.cardinality import may_repeat
from querywright.fetching.mapping.identity import key_names
from querywright.fetching.model.annotations import (
    Wanted,
    is_shape,
    read_annotation,
    read_field,
    type_name,
    union_members,
)
from querywright.fetching.model.markers import Aggregated, Expr, First, Grouped, Keys, Latest, Marker, Path, Selection
from querywright.fetching.model.targets import Target, TargetField, target_of
from querywright.fetching.plan import nodes
from querywright.fetching.plan.aliases import Owner, Parts, Row, name_read, names_all, require_apart
from querywright.fetching.plan.nodes import (
    Embedded,
    Encoding,
    Field,
    Groups,
    Node,
    Plan,
    RelatedRows,
    Scalar,
    Shape,
    ToMany,
    ToOne,
    Variants,
)
from querywright.fetching.plan.place import Place
from querywright.fetching.plan.related_rows import aggregate, rows_of
from querywright.fetching.plan.scalars import expression, is_shown, needs_conversion, reason_of, scalar
from querywright.fetching.plan.types import encoding_of, unwrap_type
from querywright.fetching.plan.unions import cases_of

__all__ = ["MOST_LEVELS", "plan"]

# A deeper model is a mistake long before it meets a limit of a database.
MOST_LEVELS = 32


@lru_cache(maxsize=1024)
def plan(model: Any, mapper: Mapper[Any]) -> Plan:
    """Plan how a mapped class fills a response model.

    Args:
        model: The response model: of Pydantic, a dataclass, a TypedDict or a msgspec Struct; where the mapped class
            has subclasses also a union of them, in a root model or by itself.
        mapper: The mapper of the class that the statement selects.

    Raises:
        ShapeError: A field cannot be filled; the message names its path.
    """
    wanted = read_annotation(model)
    root = _Planner(before=wanted.before).row(Place(wanted, mapper, type_name(model)))
    every = list(nodes.walk(root))
    fields = [field for node in every if isinstance(node, Shape) for field in node.fields]
    reasons = [wanted.reason, *(node.reason for node in every if isinstance(node, Shape)), *(f.reason for f in fields)]
    return Plan(
        root,
        model,
        mapper,
        exact=not any(reasons),
        convert=any(field.convert for field in fields)
        or any(isinstance(node, Shape) and node.attributes for node in every),
        documents=any(isinstance(node, Scalar) and node.encoding is nodes.Encoding.JSON for node in every),
        depth=_depth(root),
    )


def _depth(node: Node) -> int:
    own = 1 if isinstance(node, (ToMany, Groups)) else 0
    return own + max(map(_depth, node.inner), default=0)


# Plans what of a row is wanted.
End = Callable[[Place], Node]


@dataclass(frozen=True)
class _Planner:
    """Plans one level of nesting.

    Attributes:
        parents: The response models above this level.
        before: Whether one of them looks at raw values.
        around: The nearest of them.
    """

    parents: tuple[Any, ...] = ()
    before: bool = False
    around: Target | None = None

    def row(self, at: Place) -> Shape | Variants:
        """Plan what of a row is wanted: one shape, or one for each subclass."""
        wanted, mapper, path = at.wanted, at.mapper, at.path
        if is_shape(wanted.type):
            return self.shape(wanted.type, mapper, path, Row(mapper))
        members = union_members(wanted.type)
        if not members:
            raise at.refused(f"{type_name(wanted.type)} is not a model with named fields.")
        discriminator, cases = cases_of(members, mapper, path)
        planned = tuple(
            (values, self.shape(member, sub, f"{path}({type_name(member)})", Row(sub), discriminator))
            for values, member, sub in cases
        )
        return Variants(path, mapper, discriminator, planned)

    def shape(self, model: Any, mapper: Mapper[Any], path: str, owner: Owner, settled: Scalar | None = None) -> Shape:
        """Plan the fields of a model; what is settled is the discriminator by which it was chosen."""
        if model in self.parents:
            reason = f"{type_name(model)} is nested in itself."
            raise ShapeError(path, reason, hint="Declare one model for each level.")
        if len(self.parents) >= MOST_LEVELS:
            raise ShapeError(path, f"it lies below {MOST_LEVELS} levels of models.", hint="Fetch it by itself.")
        target = target_of(model, path, self.around)
        if not target.fields:
            raise ShapeError(path, f"{target.name} has no fields.")
        below = _Planner((*self.parents, model), self.before or target.before, target)
        fields = [below.field(name, each, mapper, path, owner) for name, each in target.fields.items()]
        require_apart(fields, target)
        hidden = target.fields.keys() if target.rewritten is None else target.rewritten
        fields = [replace(field, shown=field.shown and field.name not in hidden) for field in fields]
        if settled is not None:
            fields = [replace(f, reason="") if _source(f.value) == settled.source else f for f in fields]
            fields = [*_tag(target, settled, path, mapper), *fields]
        return Shape(path, model, mapper, tuple(fields), target.reason, target.attributes)

    def field(self, name: str, each: TargetField, mapper: Mapper[Any], within: str, owner: Owner) -> Field:
        """Plan one field."""
        path = f"{within}.{name}"
        wanted = read_field(each.info)
        wanted = replace(wanted, before=wanted.before or self.before)
        if each.key.input is None:
            raise ShapeError(path, "its validation alias is only a path.", hint="Add a plain name to its AliasChoices.")
        marker = _marker(wanted, path)
        read = name if names_all(marker) else name_read(name, each.key, owner, path)
        at = Place(wanted, mapper, path)
        value = self.marked(marker, read, at) if marker else self.found(owner.find(read, path), at)
        return Field(
            name,
            path,
            each.key.output,
            each.key.input,
            value,
            source=_describe(marker, read, mapper),
            excluded=each.key.excluded,
            reason=reason_of(value, wanted),
            convert=needs_conversion(value, wanted),
            shown=not each.key.excluded and is_shown(value, wanted),
        )

    def marked(self, marker: Marker, name: str, at: Place) -> Node:
        """Plan a field that a marker tells how to fill."""
        if isinstance(marker, Path):
            return self.steps(marker.path.split("."), at)
        if isinstance(marker, Expr):
            return expression(marker, at.mapper, at.wanted, at.path)
        assert isinstance(marker, (Selection, First, Latest, Grouped, Aggregated))  # noqa: S101 - there is no other
        *steps, last = (marker.relationship or name).split(".")
        if steps:
            if isinstance(marker, Aggregated):
                _require_one(marker, steps, at)
            return self.through(steps, partial(self.selected, marker, last), at)
        return self.selected(marker, last, at)

    def selected(self, marker: Any, name: str, at: Place) -> Node:
        """Plan a field that a marker fills with some rows of a relationship."""
        found = at.find(name)
        if not isinstance(found, Relation):
            raise at.refused(f"{found.where} is not a relationship.")
        if isinstance(marker, Aggregated):
            return aggregate(marker, found, at.wanted, at.path)
        rows = rows_of(marker, found.relationship, at.path)
        if isinstance(marker, Keys):
            return self.many(found, at, rows, _lone_key)
        if isinstance(marker, Selection):
            return self.many(found, at, rows)
        if isinstance(marker, Grouped):
            return self.groups(marker, found, at, rows)
        return self.one(found, at, rows)

    def steps(self, names: list[str], at: Place) -> Node:
        """Plan a field that a path of attributes fills."""
        *steps, last = names
        if steps:
            return self.through(steps, partial(self.steps, [last]), at)
        return self.found(at.find(last), at)

    def through(self, names: list[str], end: End, at: Place) -> Node:
        """Follow a path of relationships."""
        if not names:
            return end(at)
        first, *rest = names
        found = at.find(first)
        if isinstance(found, Steps):
            return self.through([*found.path.split("."), *rest], end, at)
        if not isinstance(found, Relation):
            raise at.refused(f"{found.where} is not a relationship.")
        plan_related = self.many if found.relationship.uselist else self.one
        return plan_related(found, at, None, partial(self.through, rest, end))

    def found(self, found: Any, at: Place) -> Node:
        """Plan a field that an attribute fills."""
        if isinstance(found, Attribute):
            return scalar(found, at.wanted, at.path)
        if isinstance(found, Steps):
            return self.steps(found.path.split("."), at)
        if isinstance(found, Composite):
            return self.embedded(found, at)
        if not _is_row(at.wanted) and not (at.wanted.element and _is_row(at.wanted.element)):
            raise _not_a_model(found, at)
        if bool(found.relationship.uselist) is (at.wanted.element is None):
            raise _wrong_number(found, at)
        return self.many(found, at) if found.relationship.uselist else self.one(found, at)

    def many(self, found: Relation, at: Place, rows: RelatedRows | None = None, end: End | None = None) -> ToMany:
        """Plan a list of related rows."""
        element = at.wanted.element
        if element is None or not found.relationship.uselist:
            raise _wrong_number(found, at)
        if end is None and not _is_row(element):
            raise _not_a_model(found, at)
        inner = Place(element, found.relationship.mapper, f"{at.path}[]")
        target = (end or self.row)(inner)
        return ToMany(found.name, target, rows or RelatedRows(distinct=may_repeat(found.relationship)), inner.path)

    def one(self, found: Relation, at: Place, rows: RelatedRows | None = None, end: End | None = None) -> ToOne:
        """Plan one related row."""
        if end is None and not _is_row(at.wanted):
            raise _not_a_model(found, at)
        if not at.wanted.nullable and not (rows is None and _always_leads_to_a_row(found.relationship)):
            hint = f"Write {type_name(at.wanted.type)} | None."
            raise at.refused(f"{found.where} may lead to no row, the field does not accept that.", hint)
        target = (end or self.row)(replace(at, mapper=found.relationship.mapper))
        return ToOne(found.name, target, at.wanted.nullable, rows)

    def groups(self, marker: Grouped, found: Relation, at: Place, rows: RelatedRows) -> Groups:
        """Plan a dict of related rows."""
        values, path = at.wanted.values, at.path
        if values is None or not found.relationship.uselist:
            raise at.refused(f"Grouped fills a dict with many rows, not {type_name(at.wanted.type)}.")
        mapper = found.relationship.mapper
        key = attribute_of(mapper, marker.by, path)
        if encoding_of(unwrap_type(key.type)) is Encoding.CUSTOM:
            reason = f"{key.where} has a type of its own, and a key is written by the database."
            raise at.refused(reason, "Group by a column of a plain type, or fetch a list and group that.")
        if key.nullable:
            raise at.refused(f"{key.where} may be NULL, and a key of a dict may not.", "Fetch a list.")
        target = self.row(Place(values.element or values, mapper, f"{path}[]"))
        by = scalar(key, replace(read_annotation(at.wanted.type.__args__[0]), nullable=False), path)
        return Groups(found.name, by, target, rows, values.element is None, f"{path}[]")

    def embedded(self, found: Composite, at: Place) -> Embedded:
        """Plan an object made of some columns of the row."""
        wanted, path = at.wanted, at.path
        if not is_shape(wanted.type):
            raise at.refused(f"{found.where} is a composite, the field wants {type_name(wanted.type)}.")
        columns = _columns_of(found)
        shape = self.shape(wanted.type, at.mapper, path, Parts(found, at.mapper, columns))
        if not may_be_none(found, path):
            return Embedded(shape)
        if not wanted.nullable:
            hint = f"Write {type_name(wanted.type)} | None."
            raise at.refused(f"{found.where} may be None, the field does not accept that.", hint)
        return Embedded(shape, tuple(columns.values()))


def _columns_of(found: Composite) -> dict[str, str]:
    """Name the attribute that fills each part of a composite."""
    cls = found.composite.composite_class
    names = (
        [f.name for f in dataclasses.fields(cls)]
        if dataclasses.is_dataclass(cls)
        else list(inspect.signature(cls).parameters)
    )
    return dict(zip(names, (prop.key for prop in found.composite.props), strict=True))


def _marker(wanted: Wanted, path: str) -> Marker | None:
    """Return the marker of a field.

    Raises:
        ShapeError: There are several, or it was not called, or names what it means by something that is no text.
    """
    if len(wanted.markers) > 1:
        raise ShapeError(path, "it has more than one marker.")
    marker: Any = next(iter(wanted.markers), None)
    if isinstance(marker, type):
        raise ShapeError(path, f"its marker {marker.__name__} is not called.", hint=f"Write {marker.__name__}(...).")
    named = getattr(marker, "path", getattr(marker, "relationship", None))
    if named is not None and not isinstance(named, str):
        raise ShapeError(path, f"its marker is given {named!s}.", hint="Write the name of the attribute, as a text.")
    return marker  # type: ignore[no-any-return]


def _require_one(marker: Aggregated, steps: list[str], at: Place) -> None:
    """Refuse to aggregate the rows of many rows: an aggregate is of one relationship."""
    for name in steps:
        found = at.find(name)
        if not isinstance(found, Relation):
            return
        if found.relationship.uselist:
            kind = type(marker).__name__
            reason = f"{found.where} leads to many rows, and {kind} is of the rows of one relationship."
            raise at.refused(reason, f'What it is of is given by of=, as in {kind}("{name}", of="...").')
        at = replace(at, mapper=found.relationship.mapper)


def _tag(target: Target, discriminator: Scalar, path: str, mapper: Mapper[Any]) -> list[Field]:
    """Fill the tag by which msgspec chooses among the Structs of a union."""
    if target.tag is None:
        return []
    key = target.tag[0]
    return [Field(key, f"{path}.{key}", key, key, discriminator, _describe(None, key, mapper))]


def _source(node: Node) -> Any:
    return node.source if isinstance(node, Scalar) else None


def _describe(marker: Marker | None, name: str, mapper: Mapper[Any]) -> str:
    owner = mapper.class_.__name__
    if marker is None:
        return f"{owner}.{name}"
    if isinstance(marker, Path):
        return f"{owner}.{marker.path}"
    if isinstance(marker, Expr):
        return f"an expression of {owner}"
    return f"{type(marker).__name__}({owner}.{getattr(marker, 'relationship', None) or name})"


def _is_row(wanted: Wanted) -> bool:
    return is_shape(wanted.type) or bool(union_members(wanted.type))


def _lone_key(at: Place) -> Scalar:
    names = key_names(at.mapper)
    if len(names) != 1:
        raise at.refused(f"{at.mapper.class_.__name__} has a primary key of several columns, Keys takes one.")
    return scalar(attribute_of(at.mapper, names[0], at.path), at.wanted, at.path)


def _wrong_number(found: Relation, at: Place) -> ShapeError:
    many = found.relationship.uselist
    model = type_name((at.wanted.element or at.wanted).type)
    has, hint = ("many rows", f"list[{model}]") if many else ("at most one row", f"{model} | None")
    return at.refused(f"{found.where} leads to {has}, the field does not.", f"Annotate it as {hint}.")


def _not_a_model(found: Relation, at: Place) -> ShapeError:
    reason = f"{found.where} is a relationship, the field wants {type_name(at.wanted.type)}."
    return at.refused(reason, f'Use a model, Path("{found.name}. ...") or Keys("{found.name}").')


def _always_leads_to_a_row(relationship: RelationshipProperty[Any]) -> bool:
    """Only a foreign key that is never NULL promises the other row."""
    is_foreign_key = relationship.direction.name == "MANYTOONE" and relationship.secondary is None
    return is_foreign_key and not any(getattr(column, "nullable", True) for column in relationship.local_columns)
