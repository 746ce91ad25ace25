"""The plan of a fetch as frozen data: which attribute fills which field, and how it is written as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeEngine

__all__ = ["Encoding", "Field", "Scalar", "Shape", "ToMany", "ToOne"]


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
    UUID = "UUID"
    ENUM = "enum"
    JSON = "JSON"


@dataclass(frozen=True)
class Field:
    """What every field of a response model has.

    Attributes:
        path: Where the field is, from the root model.
        attribute: The mapped attribute that fills it.
        key: Its key in the JSON a client reads.
        input_key: Its key in the JSON the model validates.
    """

    path: str
    attribute: str
    key: str
    input_key: str


@dataclass(frozen=True)
class Scalar(Field):
    """A field filled by one column.

    Attributes:
        encoding: How its values are written.
        type: The type of the column.
        nullable: Whether the field accepts ``null``.
    """

    encoding: Encoding
    type: TypeEngine[Any]
    nullable: bool


@dataclass(frozen=True)
class ToOne(Field):
    """A field filled by the row a relationship leads to.

    Attributes:
        shape: What of that row is wanted.
        nullable: Whether the field accepts ``null``.
    """

    shape: Shape
    nullable: bool


@dataclass(frozen=True)
class ToMany(Field):
    """A field filled by all rows a relationship leads to.

    Attributes:
        shape: What of each row is wanted.
    """

    shape: Shape


@dataclass(frozen=True)
class Shape:
    """What of a mapped class a response model wants.

    Attributes:
        path: Where the model is, from the root model.
        model: The response model.
        mapper: The mapped class that fills it.
        fields: One node for each field of the model, in its order.
        exact: Whether SQL alone writes the JSON that Pydantic would write. If not, each row is validated and
            dumped by the model: slower, and the same bytes.
        documents: Whether there is a column of JSON in it, at any level.
    """

    path: str
    model: type[BaseModel]
    mapper: Mapper[Any]
    fields: tuple[Field, ...]
    exact: bool
    documents: bool
