"""A validation alias that is an attribute says what a field shows, as it does where Pydantic reads an object."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, AliasChoices, AliasPath, BaseModel, ConfigDict, Field, TypeAdapter
from sqlalchemy import select
from typing_extensions import TypedDict

from querywright import Many
from tests.suite.models import Author, Book, Out, Profile
from tests.suite.support import AnyDatabase, add, by_orm, resolve

AUTHORS = select(Author).order_by(Author.id)
SWAPPED = {"name": "email", "id": "shouted"}


class TitleOut(Out):
    title: str


class TextOut(Out):
    text: str


class Swapped(Out):
    name: str | None = Field(validation_alias="email")
    email: str = Field(alias="name")


class NoAttribute(Out):
    address: str | None = Field(validation_alias="email")
    called: str = Field(validation_alias=AliasChoices("nothing", AliasPath("missing", "name"), "name"))


class ByEitherName(Out):
    model_config = ConfigDict(populate_by_name=True, from_attributes=True)
    id: str = Field(validation_alias="shouted")
    name: str = Field(alias="nothing")


class Generated(Out):
    model_config = ConfigDict(alias_generator=lambda name: SWAPPED.get(name, name), from_attributes=True)
    id: str
    name: str | None


class Related(Out):
    pupils: list[TitleOut] = Field(validation_alias="books")
    mentor: TextOut | None = Field(validation_alias="profile")


class Validated(Out):
    id: Annotated[str, AfterValidator(str.upper)] = Field(validation_alias="name")
    name: str | None = Field(validation_alias="email")


class Dictionary(TypedDict):
    id: Annotated[str, Field(validation_alias="name")]


class Nested(Out):
    mentor: Swapped | None
    pupils: list[Generated]


class Twice(Out):
    id: int
    key: int = Field(validation_alias="id")


@pytest.fixture
async def two(db: AnyDatabase) -> AnyDatabase:
    await add(db, Author(id=1, name="first", email="a@x.y"))
    await add(db, Author(id=2, name="second", mentor_id=1))
    await add(db, Book(id=1, author_id=2, title="one"), Book(id=2, author_id=2, title="two"))
    await add(db, Profile(id=1, author_id=1, text="about"))
    return db


@pytest.mark.parametrize("model", [Swapped, NoAttribute, ByEitherName, Generated, Related, Validated, Nested, Twice])
async def test_fields_show_what_pydantic_reads(two: AnyDatabase, model: Any) -> None:
    expected = await by_orm(two, model, AUTHORS)
    written = TypeAdapter(list[model]).dump_json(expected, by_alias=True)
    for strategy in ("auto", "statement", "levels"):
        fetched = two.fetch(model, AUTHORS, strategy=strategy)
        assert await resolve(fetched.all()) == expected
        assert await resolve(fetched.json()) == written


async def test_dictionaries_show_the_same(two: AnyDatabase) -> None:
    fetched = two.fetch(Dictionary, AUTHORS)
    assert await resolve(fetched.json()) == b'[{"id":"first"},{"id":"second"}]'
    assert await resolve(fetched.all()) == [{"id": "first"}, {"id": "second"}]


class LastBook(BaseModel):
    pupils: Annotated[list[TitleOut], Many(limit=1)] = Field(validation_alias="books")


async def test_markers_that_name_no_relationship_take_the_alias(two: AnyDatabase) -> None:
    rows = await resolve(two.fetch(LastBook, AUTHORS).json())
    assert rows == b'[{"pupils":[]},{"pupils":[{"title":"two"}]}]'
