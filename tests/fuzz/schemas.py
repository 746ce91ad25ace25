"""Invent the description of a schema: classes, their columns and how they are related."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.kinds import Kind, key_kinds, kinds
from tests.fuzz.names import MAX_BYTES, Namer, attribute_names, database_names, short

# Attributes to order by, and whether downwards; always ends with the primary key.
Order = tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Column:
    """A column, the attribute that maps it, and the name of its type if the database knows it by one."""

    attribute: str
    name: str
    kind: Kind
    nullable: bool
    type_name: str = ""


@dataclass(frozen=True)
class Entity:
    """A mapped class with its table."""

    name: str
    table: str
    key: tuple[Column, ...]
    others: tuple[Column, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        return (*self.key, *self.others)


@dataclass(frozen=True)
class Reference:
    """A foreign key with the relationships on both of its sides; a unique one leads back to at most one row."""

    owner: int
    target: int
    columns: tuple[Column, ...]
    unique: bool
    forward: str | None
    backward: str | None
    order: Order

    @property
    def required(self) -> bool:
        return not any(column.nullable for column in self.columns)


@dataclass(frozen=True)
class Association:
    """A many-to-many relationship; ``position`` is a column of the association table that orders it."""

    left: int
    right: int
    table: str
    left_columns: tuple[str, ...]
    right_columns: tuple[str, ...]
    position: str | None
    forward: str
    backward: str | None
    orders: tuple[Order, Order]


@dataclass(frozen=True)
class View:
    """A viewonly relationship: rows with an equal value in some column, and another value than one in another."""

    owner: int
    target: int
    attribute: str
    equal: tuple[str, str]
    unlike: tuple[str, Any] | None
    order: Order


@dataclass(frozen=True)
class Schema:
    """Mapped classes and the links between them."""

    database: str
    entities: tuple[Entity, ...]
    references: tuple[Reference, ...]
    associations: tuple[Association, ...]
    views: tuple[View, ...]

    def columns(self, index: int) -> tuple[Column, ...]:
        """All columns of a class, its foreign keys among them."""
        owned = [column for link in self.references if link.owner == index for column in link.columns]
        return (*self.entities[index].columns, *owned)

    def edges(self, index: int) -> Iterator[Edge]:
        """All relationships of a class."""
        for ref in self.references:
            if ref.owner == index and ref.forward:
                yield Edge(ref.forward, ref.target, many=False, required=ref.required)
            if ref.target == index and ref.backward:
                yield Edge(ref.backward, ref.owner, many=not ref.unique)
        for link in self.associations:
            if link.left == index:
                yield Edge(link.forward, link.right, many=True)
            if link.right == index and link.backward:
                yield Edge(link.backward, link.left, many=True)
        yield from (Edge(view.attribute, view.target, many=True) for view in self.views if view.owner == index)


@dataclass(frozen=True)
class Edge:
    """A relationship as a response model sees it."""

    attribute: str
    target: int
    many: bool
    required: bool = False


@dataclass
class _Inventor:
    """Holds the names that are taken while a schema is drawn."""

    draw: st.DrawFn
    database: str

    def __post_init__(self) -> None:
        # The oracle adds a number to the name of a table that it has twice, and PostgreSQL cuts that off again.
        self.tables = Namer(self.draw, database_names, MAX_BYTES - 4)
        self.classes = Namer(self.draw, attribute_names)
        self.columns: list[Namer] = []
        self.attributes: list[Namer] = []

    def entity(self) -> Entity:
        self.columns.append(Namer(self.draw, database_names))
        self.attributes.append(Namer(self.draw, attribute_names))
        index = len(self.columns) - 1
        key_count = 2 if self.draw(st.integers(0, 5)) == 5 else 1
        key = tuple(self.column(index, self.draw(key_kinds), nullable=False) for _ in range(key_count))
        count = self.draw(st.sampled_from((0, 1, 2, 3, 4, 5)))
        others = tuple(
            self.column(index, self.draw(kinds(self.database)), nullable=self.draw(st.booleans())) for _ in range(count)
        )
        return Entity(self.classes(), self.tables(), key, others)

    def column(self, index: int, kind: Kind, *, nullable: bool) -> Column:
        # Numbered, for PostgreSQL has types of its own.
        type_name = short(f"{len(self.columns)} {self.tables()}") if kind.named else ""
        return Column(self.attributes[index](), self.columns[index](), kind, nullable, type_name)

    def order(self, entity: Entity) -> Order:
        before = [column for column in entity.others if column.kind.compared]
        chosen = self.draw(st.lists(st.sampled_from(before), max_size=1)) if before else []
        return tuple((column.attribute, self.draw(st.booleans())) for column in (*chosen, *entity.key))

    def reference(self, entities: list[Entity]) -> Reference:
        owner = self.draw(st.integers(0, len(entities) - 1))
        target = self.draw(st.integers(0, owner))
        nullable = owner == target or self.draw(st.booleans())
        columns = tuple(self.column(owner, key.kind, nullable=nullable) for key in entities[target].key)
        sides = self.draw(st.sampled_from(("both", "both", "forward", "backward")))
        return Reference(
            owner,
            target,
            columns,
            unique=self.draw(st.integers(0, 3)) == 3,
            forward=self.attributes[owner]() if sides != "backward" else None,
            backward=self.attributes[target]() if sides != "forward" else None,
            order=self.order(entities[owner]),
        )

    def association(self, entities: list[Entity]) -> Association:
        left, right = (self.draw(st.integers(0, len(entities) - 1)) for _ in range(2))
        names = Namer(self.draw, database_names)
        return Association(
            left,
            right,
            self.tables(),
            names.many(len(entities[left].key)),
            names.many(len(entities[right].key)),
            position=names() if self.draw(st.booleans()) else None,
            forward=self.attributes[left](),
            backward=self.attributes[right]() if self.draw(st.booleans()) else None,
            orders=(self.order(entities[right]), self.order(entities[left])),
        )

    def view(self, entities: list[Entity]) -> View | None:
        owner, target = (self.draw(st.integers(0, len(entities) - 1)) for _ in range(2))
        pairs = [
            (ours.attribute, theirs.attribute)
            for ours in entities[owner].columns
            for theirs in entities[target].columns
            if ours.kind is theirs.kind and ours.kind.compared
        ]
        if not pairs:
            return None
        filters = [column for column in entities[target].columns if column.kind.compared]
        unlike = self.draw(st.none() | st.sampled_from(filters))
        return View(
            owner,
            target,
            self.attributes[owner](),
            self.draw(st.sampled_from(pairs)),
            unlike and (unlike.attribute, self.draw(unlike.kind.values)),
            self.order(entities[target]),
        )


@st.composite
def schemas(draw: st.DrawFn, database: str) -> Schema:
    """Draw a schema of one to four classes."""
    invent = _Inventor(draw, database)
    entities = [invent.entity() for _ in range(draw(st.sampled_from((1, 1, 2, 2, 2, 3, 3, 4))))]
    references = [invent.reference(entities) for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2, 3))))]
    associations = [invent.association(entities) for _ in range(draw(st.sampled_from((0, 0, 0, 1))))]
    views = [invent.view(entities) for _ in range(draw(st.sampled_from((0, 0, 0, 1))))]
    return Schema(
        database, tuple(entities), tuple(references), tuple(associations), tuple(view for view in views if view)
    )
