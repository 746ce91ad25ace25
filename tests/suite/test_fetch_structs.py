"""Structs of msgspec, and what is inside of them, equal what msgspec makes of ORM objects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import msgspec
import pytest
from sqlalchemy import select
from typing_extensions import TypedDict

from querywright import Path, ShapeError
from tests.suite.models import Author, Book
from tests.suite.support import AnyDatabase, add, resolve, run_sync, session, statements
from tests.suite.zoo import Animal, Cat, Dog

Item = TypeVar("Item")
AUTHORS = select(Author).order_by(Author.id)


@pytest.fixture
async def authors(db: AnyDatabase) -> AnyDatabase:
    await add(db, Author(id=1, name="Ada"), Author(id=2, name="Bo", mentor_id=1, email="b@x.y"))
    await add(db, Book(id=1, author_id=1, title="One"), Book(id=2, author_id=1, title="Two"))
    return db


class Plain(msgspec.Struct):
    id: int
    name: str
    email: str | None


class Loud(msgspec.Struct, rename="pascal"):
    id: int
    name: str
    mentor_id: int | None

    def __post_init__(self) -> None:
        self.name = self.name.upper()


class LoudBelow(Loud):
    email: str | None


class Listed(msgspec.Struct, array_like=True):
    id: int
    name: str


class ListedAndTagged(msgspec.Struct, array_like=True, tag=7):
    id: int
    name: str


class Tagged(msgspec.Struct, tag=True):
    id: int
    name: str


class Named(msgspec.Struct, tag="author", tag_field="kind", forbid_unknown_fields=True):
    id: int
    name: str


class Called(msgspec.Struct, tag=str.lower):
    id: int
    name: str


class Short(msgspec.Struct, omit_defaults=True, kw_only=True, frozen=True, gc=False):
    email: str | None = None
    id: int


class Limited(msgspec.Struct):
    id: Annotated[int, msgspec.Meta(ge=0)]
    name: str = msgspec.field(name="called", default="")


class Unset(msgspec.Struct):
    id: int
    email: str | msgspec.UnsetType | None = msgspec.UNSET


class Box(msgspec.Struct, Generic[Item]):
    id: int
    books: list[Item]


class Title(msgspec.Struct):
    title: str

    def __post_init__(self) -> None:
        self.title += "!"


@dataclass
class TitleData:
    title: str

    def __post_init__(self) -> None:
        self.title += "!"


class TitleDict(TypedDict):
    id: int
    title: str


class Lists(msgspec.Struct):
    pupils: list[ListedAndTagged]
    mentor: Listed | None


class Nested(msgspec.Struct):
    id: int
    mentor: Listed | None
    pupils: list[Named]
    books: list[TitleDict]


class NestedData(msgspec.Struct, rename="upper"):
    id: int
    books: list[TitleData]
    email: str | None


CASES = [
    (Plain, True),
    (Loud, False),
    (LoudBelow, False),
    (Listed, False),
    (ListedAndTagged, False),
    (Tagged, False),
    (Named, False),
    (Called, False),
    (Short, False),
    (Limited, False),
    (Unset, False),
    (Box[TitleDict], True),
    (Box[Title], False),
    (Lists, False),
    (Nested, False),
    (NestedData, False),
]


async def by_msgspec(db: AnyDatabase, model: Any) -> list[Any]:
    async with session(db) as opened:
        return await run_sync(opened, lambda sync: convert(sync.scalars(AUTHORS).all(), model))


def convert(rows: Any, model: Any) -> list[Any]:
    # msgspec makes a TypedDict of a dict only.
    given = [
        {name: getattr(row, name) for name in ("id", "name", "email", "mentor_id", "mentor", "pupils")}
        | {"books": [{"id": book.id, "title": book.title} for book in row.books]}
        for row in rows
    ]
    objects = [type("Row", (), each)() for each in given]
    made: list[Any] = msgspec.convert(objects, list[model], from_attributes=True)
    return made


@pytest.mark.parametrize(("model", "exact"), CASES, ids=lambda value: str(getattr(value, "__name__", value)))
async def test_structs_of_every_kind(authors: AnyDatabase, model: Any, *, exact: bool) -> None:
    query = authors.fetch(model, AUTHORS)
    expected = await by_msgspec(authors, model)
    assert query.explain_plan().exact is exact
    assert await resolve(query.all()) == expected
    assert json.dumps(json.loads(await resolve(query.json()))) == json.dumps(json.loads(msgspec.json.encode(expected)))
    first = await resolve(authors.fetch(model, AUTHORS.where(Author.id == 1)).json_one())
    assert json.loads(first) == json.loads(msgspec.json.encode(expected[0]))


@pytest.mark.parametrize(("model", "fields"), [(Loud, "Id"), (Tagged, "id"), (Short, "id"), (Limited, "id")])
async def test_a_client_gets_only_what_it_asked_for(authors: AnyDatabase, model: Any, fields: str) -> None:
    query = authors.fetch(model, AUTHORS, fields=fields)
    assert json.loads(await resolve(query.json())) == [{fields: 1}, {fields: 2}]
    page = json.loads(await resolve(query.json_page(size=1)))
    assert page["items"] == [{fields: 1}]


async def test_a_client_gets_only_what_it_asked_for_inside(authors: AnyDatabase) -> None:
    query = authors.fetch(Box[Title], AUTHORS, fields="books.title")
    assert json.loads(await resolve(query.json())) == [{"books": [{"title": "Two!"}, {"title": "One!"}]}, {"books": []}]
    query = authors.fetch(Nested, AUTHORS, fields="id,books.id,pupils.id,mentor")
    assert json.loads(await resolve(query.json())) == [
        {"id": 1, "mentor": None, "pupils": [{"id": 2}], "books": [{"id": 2}, {"id": 1}]},
        {"id": 2, "mentor": [1, "Ada"], "pupils": [], "books": []},
    ]


@pytest.mark.parametrize(("model", "fields"), [(Listed, "id"), (Nested, "mentor.id")])
async def test_no_fields_are_chosen_of_a_list(authors: AnyDatabase, model: Any, fields: str) -> None:
    with pytest.raises(ShapeError, match="it is not written as an object"):
        await resolve(authors.fetch(model, AUTHORS, fields=fields).json())


async def test_names_and_nothing_that_is_none(authors: AnyDatabase) -> None:
    """As SQL writes a Struct that changes nothing."""
    query = authors.fetch(Loud, AUTHORS)
    names = [{"id": 1, "name": "ADA", "mentor_id": None}, {"id": 2, "name": "BO", "mentor_id": 1}]
    assert json.loads(await resolve(query.json(by_alias=False))) == names
    written = json.loads(await resolve(query.json(exclude_none=True)))
    assert written == [{"Id": 1, "Name": "ADA"}, {"Id": 2, "Name": "BO", "MentorId": 1}]
    written = json.loads(await resolve(query.json(exclude_none=True, by_alias=False)))
    assert written == [{"id": 1, "name": "ADA"}, names[1]]
    inside = json.loads(await resolve(authors.fetch(NestedData, AUTHORS).json(exclude_none=True, by_alias=False)))
    assert inside == [
        {"id": 1, "books": [{"title": "Two!"}, {"title": "One!"}]},
        {"id": 2, "books": [], "email": "b@x.y"},
    ]
    narrow = authors.fetch(NestedData, AUTHORS, fields="EMAIL")
    assert json.loads(await resolve(narrow.json(exclude_none=True, by_alias=False))) == [{}, {"email": "b@x.y"}]


class PathIn(msgspec.Struct, array_like=True):
    mentor_name: Annotated[str | None, Path("mentor.name")]
    titles: Annotated[list[str], Path("books.title")]


async def test_markers_in_a_struct_that_is_a_list(authors: AnyDatabase) -> None:
    with statements() as seen:
        written = await resolve(authors.fetch(PathIn, AUTHORS).json())
    assert len(seen) == 1
    assert json.loads(written) == [[None, ["Two", "One"]], ["Ada", []]]


class CatStruct(msgspec.Struct, tag="cat", tag_field="kind"):
    id: int
    lives: int


class DogStruct(msgspec.Struct, tag="dog", tag_field="kind", forbid_unknown_fields=True):
    id: int
    tricks: str | None

    def __post_init__(self) -> None:
        self.tricks = f"{self.tricks}!"


class ZooStruct(msgspec.Struct):
    name: str
    animals: list[CatStruct | DogStruct]


async def test_tags_tell_the_structs_of_a_union_apart(zoo: AnyDatabase) -> None:
    tame = select(Animal).where(Animal.kind.in_(["cat", "dog"])).order_by(Animal.id)
    union: Any = CatStruct | DogStruct
    async with session(zoo) as opened:
        expected = await run_sync(
            opened,
            lambda sync: [
                CatStruct(row.id, row.lives) if isinstance(row, Cat) else DogStruct(row.id, row.tricks)
                for row in sync.scalars(tame)
                if isinstance(row, (Cat, Dog))
            ],
        )
    assert {type(row) for row in expected} == {CatStruct, DogStruct}
    assert await resolve(zoo.fetch(union, tame).all()) == expected
    written = await resolve(zoo.fetch(union, tame).json())
    assert json.loads(written) == json.loads(msgspec.json.encode(expected))
    narrow = await resolve(zoo.fetch(union, tame, fields="kind,lives").json())
    assert json.loads(narrow) == [
        {"kind": "cat", "lives": row.lives} if isinstance(row, CatStruct) else {"kind": "dog"} for row in expected
    ]


async def test_structs_of_a_union_need_tags(zoo: AnyDatabase) -> None:
    union: Any = CatStruct | Tagged
    with pytest.raises(ShapeError, match="Tagged does not say which kind it is for"):
        await resolve(zoo.fetch(union, select(Animal)).all())
