"""The plan of a fetch as frozen data: what fills each field, and how it is written as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeEngine

__all__ = [
    "Aggregate", "Embedded", "Encoding", "Field", "Groups", "Node", "Plan", "RelatedRows", "Scalar", "Shape",
    "ToMany", "ToOne", "Variants", "walk",
]  # fmt: skip


class Encoding(Enum):
    """How the values of a column are written as JSON."""

    INTEGER = "integer"
    TEXT = "text"
    BOOLEAN = "boolean"
    FLOAT = "float"
    DECIMAL = "decimal"
    TIMESTAMP = "timestamp"
    UTC_TIMESTAMP = "timestamp in UTC"
    DATE = "date"
    TIME = "time"
    UUID = "UUID"
    ENUM = "enum"
    JSON = "JSON"
    ARRAY = "array"
    # What follows is written only for Python to read, which writes the JSON that a client gets.
    BYTES = "bytes"
    INTERVAL = "interval"
    NAME = "name of an enum's member"
    NETWORK = "network address"
    RANGE = "range"
    CUSTOM = "custom type"


# The name of an attribute, or a function that makes an expression of the mapped class.
Source = str | Callable[[Any], Any]


class _Node:
    """What every node tells of itself."""

    @property
    def inner(self) -> tuple[Node, ...]:
        """The nodes directly inside it."""
        return ()

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes whose fields lie one level inside it."""
        return ()


class _Related(_Node):
    """What a node of a relationship tells of itself."""

    target: Node

    @property
    def inner(self) -> tuple[Node, ...]:
        """The nodes directly inside it."""
        return (self.target,)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes whose fields lie one level inside it."""
        return self.target.shapes


@dataclass(frozen=True)
class Scalar(_Node):
    """One value of a row.

    Attributes:
        source: Where it comes from.
        encoding: How it is written.
        type: The type of the column or expression.
        nullable: Whether the field accepts ``null``.
        path: Where the field is, from the root model.
    """

    source: Source
    encoding: Encoding
    type: TypeEngine[Any]
    nullable: bool
    path: str


@dataclass(frozen=True)
class RelatedRows:
    """Which rows of a relationship, and in which order; without ``order_by`` in the relationship's own.

    Attributes:
        where: Makes a condition of the related class.
        order_by: Each makes something to order by of the related class.
        limit: At most this many rows of each parent.
        distinct: Whether a row that is related twice comes once.
    """

    where: Callable[[Any], ColumnElement[bool]] | None = None
    order_by: tuple[Callable[[Any], ColumnElement[Any]], ...] = ()
    limit: int | None = None
    distinct: bool = False


@dataclass(frozen=True)
class ToOne(_Related):
    """What the one row has that a relationship leads to.

    Attributes:
        relationship: The name of the relationship.
        target: What of that row is wanted.
        nullable: Whether the field accepts ``null``.
        rows: Which row, if the relationship leads to many.
    """

    relationship: str
    target: Node
    nullable: bool
    rows: RelatedRows | None = None

    @property
    def is_row(self) -> bool:
        """Whether it is a row, and not a value of one."""
        return isinstance(self.target, (Shape, Variants))


@dataclass(frozen=True)
class ToMany(_Related):
    """A list of what each row has that a relationship leads to.

    Attributes:
        relationship: The name of the relationship.
        target: What of each row is wanted.
        rows: Which rows.
        path: Where an element is, from the root model.
    """

    relationship: str
    target: Node
    rows: RelatedRows
    path: str
    nullable: ClassVar[bool] = False


@dataclass(frozen=True)
class Groups(_Related):
    """A dict of the rows that a relationship leads to, by a value that each has.

    Attributes:
        relationship: The name of the relationship.
        key: The value.
        target: What of each row is wanted.
        rows: Which rows.
        single: Whether each value has one row, or a list of them.
        path: Where an element is, from the root model.
    """

    relationship: str
    key: Scalar
    target: Node
    rows: RelatedRows
    single: bool
    path: str
    nullable: ClassVar[bool] = False


@dataclass(frozen=True)
class Aggregate(_Node):
    """One value computed of all rows that a relationship leads to.

    Attributes:
        relationship: The name of the relationship.
        function: ``count``, ``sum``, ``min``, ``max``, ``avg`` or ``exists``.
        of: What is aggregated; ``None`` counts rows.
        rows: Which rows.
        value: How the result is written.
    """

    relationship: str
    function: str
    of: Source | None
    rows: RelatedRows
    value: Scalar

    @property
    def nullable(self) -> bool:
        """Whether the field accepts ``null``."""
        return self.value.nullable

    @property
    def inner(self) -> tuple[Node, ...]:
        """The nodes directly inside it."""
        return (self.value,)


@dataclass(frozen=True)
class Embedded(_Node):
    """An object made of some columns of the row itself: a composite.

    Attributes:
        shape: Its fields.
        columns: The attributes that make it ``null`` if all of them are NULL; none if it never is.
    """

    shape: Shape
    columns: tuple[str, ...] = ()
    nullable: ClassVar[bool] = False

    @property
    def inner(self) -> tuple[Node, ...]:
        """The nodes directly inside it."""
        return (self.shape,)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes whose fields lie one level inside it."""
        return (self.shape,)


@dataclass(frozen=True)
class Variants(_Node):
    """One of several shapes: each row has that of its own class in an inheritance hierarchy.

    Attributes:
        path: Where the field is, from the root model.
        mapper: The mapped class at the head of the hierarchy.
        discriminator: The attribute that tells the class.
        cases: The values it has for each shape, and the shape.
    """

    path: str
    mapper: Mapper[Any]
    discriminator: Scalar
    cases: tuple[tuple[tuple[Any, ...], Shape], ...]
    nullable: ClassVar[bool] = False

    @property
    def inner(self) -> tuple[Node, ...]:
        """The nodes directly inside it."""
        return self.shapes

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes whose fields lie one level inside it."""
        return tuple(shape for _, shape in self.cases)


@dataclass(frozen=True)
class Field:
    """One field of a response model.

    Attributes:
        name: Its name in the model.
        path: Where it is, from the root model.
        key: Its key in the JSON a client reads.
        input_key: Its key in the JSON the model validates.
        value: What fills it.
        source: What that is, in words.
        excluded: Whether clients do not see it.
        reason: Why SQL cannot write it as Pydantic does; empty if it can.
        convert: Whether its values have to become those of Python before the model validates them.
        shown: Whether clients see of each row the very value that its column has.
    """

    name: str
    path: str
    key: str
    input_key: str
    value: Node
    source: str
    excluded: bool = False
    reason: str = ""
    convert: bool = False
    shown: bool = False


@dataclass(frozen=True)
class Shape(_Node):
    """What of a mapped class a response model wants.

    Attributes:
        path: Where the model is, from the root model.
        model: The response model.
        mapper: The mapped class that fills it.
        fields: One for each field of the model, in its order.
        reason: Why the model itself has to write its JSON; empty if SQL can.
        attributes: Whether the model is made of an object with attributes, and not of a dict.
    """

    path: str
    model: Any
    mapper: Mapper[Any]
    fields: tuple[Field, ...]
    reason: str = ""
    attributes: bool = False
    nullable: ClassVar[bool] = False

    @property
    def inner(self) -> tuple[Node, ...]:
        """The nodes directly inside it."""
        return tuple(field.value for field in self.fields)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes whose fields lie one level inside it."""
        return (self,)


Node = Scalar | ToOne | ToMany | Groups | Aggregate | Embedded | Variants | Shape


def walk(node: Node) -> Iterator[Node]:
    """Visit a node and all that is inside it."""
    yield node
    for part in node.inner:
        yield from walk(part)


# Compared by identity: plans are kept, and to hash all that is in one would cost more than to find it.
@dataclass(frozen=True, eq=False)
class Plan:
    """A whole plan, and what follows from all its fields.

    Attributes:
        root: What of each row is wanted.
        model: The response model.
        mapper: The mapped class that the statement selects.
        exact: Whether SQL alone writes the JSON that Pydantic would write. If not, each row is validated and
            dumped by the model: slower, and the same bytes.
        convert: Whether the model validates values of Python, and not JSON.
        documents: Whether there is a column of JSON in it, at any level.
        depth: How many lists lie inside each other.
    """

    root: Shape | Variants
    model: Any
    mapper: Mapper[Any]
    exact: bool
    convert: bool
    documents: bool
    depth: int
