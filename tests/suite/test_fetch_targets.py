"""Response models of every kind, and models that look at, change or compute values, equal Pydantic's own output."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar

import msgspec
import pydantic.dataclasses
import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    TypeAdapter,
    WrapValidator,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from sqlalchemy import select
from typing_extensions import NotRequired, TypeAliasType, TypedDict

from querywright import Count, ShapeError
from tests.suite.models import Author, Book, Everything, Genre, Out, Tag
from tests.suite.support import AnyDatabase, add, by_orm, resolve
from tests.suite.test_fetch_types import same
from tests.suite.test_fetch_values import a_row

Item = TypeVar("Item")
AUTHORS = select(Author).order_by(Author.id)


@pytest.fixture
async def library(db: AnyDatabase) -> AnyDatabase:
    await add(db, Author(id=1, name="Ada"), Tag(id=1, name="old"))
    await add(db, Author(id=2, name="Bo", mentor_id=1, email="bo@x.y"))
    await add(db, Book(id=1, author_id=1, title="One", pages=1), Book(id=2, author_id=1, title="Two", pages=2))
    await add(db, a_row(id=uuid.UUID(int=9)))
    return db


@dataclasses.dataclass
class BookData:
    id: int
    title: str


@dataclasses.dataclass
class AuthorData:
    name: str
    books: list[BookData]
    mentor: BookLess | None
    count: Annotated[int, Count("books")]


@dataclasses.dataclass
class BookLess:
    name: str


@pydantic.dataclasses.dataclass
class CheckedData:
    name: Annotated[str, Field(min_length=1)]
    books: list[BookData]


@dataclasses.dataclass
class LoudData:
    name: str

    def __post_init__(self) -> None:
        self.name = self.name.upper()


class BookDict(TypedDict):
    id: int
    title: str


class AuthorDict(TypedDict, total=False):
    name: str
    books: list[BookDict]
    email: NotRequired[str | None]


class BookList(RootModel[list[BookData]]):
    pass


Alias = TypeAliasType("Alias", list[BookDict])
# Of a class that comes later.
Later = TypeAliasType("Later", "list[LaterBook]")
Many = TypeAliasType("Many", list[Item], type_params=(Item,))  # type: ignore[misc]
Maybe = TypeAliasType("Maybe", Item | None, type_params=(Item,))  # type: ignore[misc]
Title = NewType("Title", str)


class Boxed(Out, Generic[Item]):
    name: str
    books: Item


class Wrapped(Out):
    books: BookList
    name: Title


class Aliased(Out):
    books: Alias


class LaterBook(TypedDict):
    title: str


class GenericAliased(Out):
    name: str
    books: Many[BookDict]
    mentor: Maybe[BookLess]


class LateAliased(Out):
    books: Later


@pytest.mark.parametrize(
    ("model", "exact"),
    [
        (AuthorData, True),
        (CheckedData, False),
        (LoudData, False),
        (AuthorDict, True),
        (Boxed[list[BookData]], True),
        (Boxed[tuple[BookDict, ...]], True),
        (Wrapped, True),
        (Aliased, True),
        (GenericAliased, True),
        (LateAliased, True),
        (RootModel[AuthorData], True),
    ],
)
async def test_models_of_every_kind(library: AnyDatabase, model: Any, *, exact: bool) -> None:
    assert library.fetch(model, AUTHORS).explain_plan().exact is exact
    found = await resolve(library.fetch(model, AUTHORS).all())
    text = await resolve(library.fetch(model, AUTHORS).json())
    assert json.loads(text) == json.loads(TypeAdapter(list[model]).dump_json(found))
    first = json.loads(text)[0]
    assert first.get("name", "Ada").title() == "Ada"
    assert [book["title"] for book in first.get("books", [{"title": "One"}])][-1] in {"One", "Two"}
    one = AUTHORS.where(Author.id == 1)
    assert type(await resolve(library.fetch(model, one).one())) is type(found[0])


class BookStruct(msgspec.Struct):
    id: int
    title: str


class AuthorStruct(msgspec.Struct, rename="camel"):
    name: str
    books: list[BookStruct]
    mentor_id: int | None


class MomentStruct(msgspec.Struct):
    id: uuid.UUID
    moment: dt.datetime
    price: Decimal
    genre: Genre
    number: Annotated[int, msgspec.Meta(ge=0)]


class TaggedStruct(msgspec.Struct, tag=True):
    name: str


async def test_structs_of_msgspec(library: AnyDatabase) -> None:
    found = await resolve(library.fetch(AuthorStruct, AUTHORS).all())
    assert found[0] == AuthorStruct("Ada", [BookStruct(2, "Two"), BookStruct(1, "One")], None)
    assert await resolve(library.fetch(AuthorStruct, AUTHORS).json()) == msgspec.json.encode(found)
    statement = select(Everything)
    [moment] = await resolve(library.fetch(MomentStruct, statement).all())
    assert (moment.id, moment.genre) == (uuid.UUID(int=9), Genre.ESSAY)
    assert (
        msgspec.json.decode(await resolve(library.fetch(MomentStruct, statement).json_one()), type=MomentStruct)
        == moment
    )
    tagged = await resolve(library.fetch(TaggedStruct, AUTHORS).json())
    assert json.loads(tagged)[0] == {"type": "TaggedStruct", "name": "Ada"}


def loud(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


class Before(Out):
    id: Annotated[str, BeforeValidator(lambda key: key.hex)]
    moment: Annotated[int, BeforeValidator(lambda moment: moment.year)]
    price: Annotated[bool, BeforeValidator(lambda price: isinstance(price, Decimal))]
    genre: Annotated[str, BeforeValidator(lambda genre: genre.name)]


class Wraps(Out):
    day: Annotated[dt.date, WrapValidator(lambda day, handler: handler(day.replace(year=2000)))]


class After(Out):
    text: Annotated[str, AfterValidator(loud)]
    moment: dt.datetime


class ByMethod(Out):
    moment: dt.datetime
    text: str

    @field_validator("moment", mode="before")
    @classmethod
    def a_day_later(cls, moment: dt.datetime) -> dt.datetime:
        return moment + dt.timedelta(days=1)

    @field_serializer("text")
    def loud(self, text: str) -> str:
        return text.upper()


class Whole(Out):
    number: int
    day: dt.date

    @model_validator(mode="after")
    def double(self) -> Whole:
        self.number *= 2
        return self

    @computed_field  # type: ignore[prop-decorator]
    @property
    def year(self) -> int:
        return self.day.year


class Serialized(Out):
    number: int

    @model_serializer
    def as_pair(self) -> dict[str, Any]:
        return {"n": self.number, "twice": self.number * 2}


class Unions(Out):
    moment: dt.datetime | str
    id: str | uuid.UUID
    number: float | str
    genre: Literal[Genre.ESSAY] | None
    price: int | Decimal
    local: Annotated[dt.datetime, Field(gt=dt.datetime(2000, 1, 1))]  # noqa: DTZ001 - naive on purpose


class Strict(Out):
    model_config = ConfigDict(from_attributes=True, strict=True)
    id: uuid.UUID
    moment: dt.datetime
    day: dt.date
    price: Decimal
    genre: Genre
    ratio: float


class Upper(Out):
    model_config = ConfigDict(from_attributes=True, str_to_upper=True, ser_json_timedelta="float")
    text: str


class Sets(Out):
    items: set[int]


@pytest.mark.parametrize("model", [Before, Wraps, After, ByMethod, Whole, Serialized, Unions, Strict, Upper])
async def test_models_that_look_at_values(library: AnyDatabase, model: type[BaseModel]) -> None:
    statement = select(Everything)
    expected = await by_orm(library, model, statement)
    found = await resolve(library.fetch(model, statement).all())
    assert same(found, expected)
    text = await resolve(library.fetch(model, statement).json())
    assert json.loads(text.replace(b"+00:00", b"Z")) == json.loads(TypeAdapter(list[model]).dump_json(expected))  # type: ignore[valid-type]


@pytest.mark.drivers("sqlite+pysqlite")
@pytest.mark.parametrize("model", [int, list[BookData], dict[str, int], RootModel[int], str | None])
async def test_what_is_no_model_is_refused(db: AnyDatabase, model: Any) -> None:
    with pytest.raises(ShapeError, match="is not a model with named fields"):
        await resolve(db.fetch(model, AUTHORS).all())


@pytest.mark.drivers("sqlite+pysqlite")
async def test_models_deeper_than_anyone_wants_are_refused(db: AnyDatabase) -> None:
    model: Any = BookData
    # Far beyond the limit, and not so far that old versions of Pydantic give up before.
    for level in range(60):
        model = pydantic.create_model(f"L{level}", pupils=(list[model], ...), id=(int, ...))
    with pytest.raises(ShapeError, match="it lies below 32 levels of models"):
        await resolve(db.fetch(model, AUTHORS).all())
