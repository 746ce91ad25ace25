"""Which lists have pages without a secret: those whose order the model shows, value by value, as it is stored."""

from __future__ import annotations

import datetime as dt
import enum
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
import sqlalchemy as sa
from msgspec import Struct
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NaiveDatetime,
    StringConstraints,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from sqlalchemy import MetaData, Text, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, composite, mapped_column

from querywright import Database, Path, ShapeError
from tests.suite.models import Author, Book, NameOut, Out


@pytest.fixture
def plain(url: str) -> Iterator[Database]:
    """A database without a secret."""
    with Database(url) as database:
        yield database


class OwnBase(DeclarativeBase):
    metadata = MetaData()


class Color(str, enum.Enum):
    red = "red"
    blue = "blue"


class Size(enum.Enum):
    SMALL = "s"


class Lowered(sa.TypeDecorator[str]):
    impl = Text
    cache_ok = True

    def process_result_value(self, value: Any, _dialect: Any) -> Any:
        return value and value.lower()


class Masked(Text):
    def column_expression(self, column: Any) -> Any:
        return func.substr(column, 1, 1)


class Pair:
    def __init__(self, left: int, right: int) -> None:
        self.left, self.right = left, right


class Paint(OwnBase):
    __tablename__ = "cursor_paint"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    price: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2))
    at: Mapped[dt.datetime]
    color: Mapped[Color]
    size: Mapped[Size]
    lowered: Mapped[str] = mapped_column(Lowered)
    masked: Mapped[str] = mapped_column(Masked)
    left: Mapped[int]
    right: Mapped[int]
    pair: Mapped[Pair] = composite("left", "right")


class IdOut(BaseModel):
    id: int


def out(**fields: Any) -> Any:
    return type("PaintOut", (IdOut,), {"__annotations__": fields})


class Computed(IdOut):
    name: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def shout(self) -> str:
        return self.name.upper()


class OtherChecked(IdOut):
    name: str
    left: int

    @field_validator("left")
    @classmethod
    def check(cls, value: int) -> int:
        return value + 1

    @field_serializer("left")
    def write(self, value: int) -> str:
        return "left"


class Rewritten(IdOut):
    name: str

    @field_serializer("name")
    def write(self, value: str) -> str:
        return value[:1]


class Validated(IdOut):
    name: str

    @field_validator("name", mode="before")
    @classmethod
    def check(cls, value: str) -> str:
        return value[:1]


class Serialized(IdOut):
    name: str

    @model_serializer
    def write(self) -> dict[str, Any]:
        return {"id": self.id}


class Blanked(IdOut):
    name: str

    @model_validator(mode="after")
    def blank(self) -> Any:
        self.name = ""
        return self


class Lower(IdOut):
    model_config = ConfigDict(str_to_lower=True)
    name: str


class PairOut(BaseModel):
    left: int
    right: int = Field(exclude=True)


class PaintStruct(Struct):
    id: int
    name: str


SHOWN = [
    (out(name=str), Paint.name),
    (out(name=Annotated[str, Field(alias="called")]), Paint.name.desc()),
    (out(name=Annotated[str, Field(max_length=50, pattern=".*")]), Paint.name),
    (out(name=Literal["a", "b"]), Paint.name),
    (out(name=Any), Paint.name),
    (out(label=Annotated[str, Path("name")]), Paint.name),
    (out(price=Decimal), Paint.price),
    (out(at=dt.datetime), Paint.at),
    (out(at=NaiveDatetime), Paint.at),
    (out(color=Color), Paint.color),
    (out(pair=PairOut), Paint.left),
    (Computed, Paint.name),
    (OtherChecked, Paint.name),
    (PaintStruct, Paint.name),
    (IdOut, Paint.id.desc()),
]
HIDDEN = [
    (IdOut, Paint.name),
    (out(name=Annotated[str, Field(exclude=True)]), Paint.name),
    (out(name=Annotated[str, AfterValidator(lambda text: text[:1])]), Paint.name),
    (out(name=Annotated[str, StringConstraints(to_lower=True)]), Paint.name),
    (out(price=float), Paint.price),
    (out(at=dt.date), Paint.at),
    (out(size=Size), Paint.size),
    (out(lowered=str), Paint.lowered),
    (out(masked=str), Paint.masked),
    (out(pair=PairOut), Paint.right),
    (out(name=str), func.lower(Paint.name)),
    (Rewritten, Paint.name),
    (Validated, Paint.name),
    (OtherChecked, Paint.left),
    (Serialized, Paint.id),
    (Blanked, Paint.name),
    (Lower, Paint.name),
]


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg")
@pytest.mark.parametrize(("model", "order"), SHOWN)
def test_what_a_model_shows(plain: Database, model: Any, order: Any) -> None:
    OwnBase.metadata.create_all(plain.engine)
    try:
        moment = dt.datetime(2026, 1, 2, 3)  # noqa: DTZ001 - the column has none
        values = {
            "name": "a",
            "price": 1,
            "at": moment,
            "color": "red",
            "size": "SMALL",
            "lowered": "A",
            "masked": "ab",
        }
        with plain.transaction() as tx:
            tx.execute(sa.insert(Paint), [{"id": n, "left": n, "right": n, **values} for n in (1, 2, 3)])
        fetched = plain.fetch(model, select(Paint).order_by(order))
        first = json.loads(fetched.json_page(size=2))
        second = json.loads(fetched.json_page(size=2, after=first["next"]))
        assert sorted(row["id"] for row in first["items"] + second["items"]) == [1, 2, 3]
    finally:
        OwnBase.metadata.drop_all(plain.engine)


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg")
@pytest.mark.parametrize(("model", "order"), HIDDEN)
def test_what_a_model_does_not_show(plain: Database, model: Any, order: Any) -> None:
    with pytest.raises(ShapeError, match="does not show"):
        plain.fetch(model, select(Paint).order_by(order)).page(size=2)


@pytest.mark.drivers("sqlite+pysqlite")
def test_what_tells_rows_apart_counts_as_well(plain: Database) -> None:
    class NoKey(Out):
        name: str

    class BookOut(Out):
        id: int
        name: Annotated[str, Path("author.name")]

    with pytest.raises(ShapeError, match=r"tell equal rows apart by authors\.id, which the model does not show"):
        plain.fetch(NoKey, select(Author).order_by(Author.name)).page(size=2)
    # Of a row that is joined, or another of the same class.
    other = aliased(Author)
    for model, statement in (
        (BookOut, select(Book).join(Book.author).order_by(Author.name)),
        (NameOut, select(Author).join(Author.books).order_by(Author.name)),
        (NameOut, select(Author).join(other, other.id == Author.mentor_id).order_by(other.name)),
    ):
        with pytest.raises(ShapeError, match="does not show"):
            plain.fetch(model, statement).page(size=2)
