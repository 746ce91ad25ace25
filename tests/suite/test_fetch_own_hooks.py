"""Whatever a model or dataclass does to its values by itself is seen: each equals Pydantic's own output."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    TypeAdapter,
    WrapSerializer,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
)
from pydantic.alias_generators import to_camel
from sqlalchemy import select
from typing_extensions import Self

from querywright import ShapeError
from tests.suite.models import Author, Book, Out
from tests.suite.own_data import (
    SHOUTING,
    Box,
    BoxDict,
    CamelDict,
    CheckedInit,
    Constants,
    Decorated,
    DecoratedBelow,
    Given,
    GivenForNothing,
    Initialised,
    Mate,
    MateDict,
    Ordered,
    OwnInit,
    PostInitialised,
    ShoutingMore,
    Slotted,
    TwoNames,
    Upper,
    Validated,
)
from tests.suite.support import AnyDatabase, add, resolve, run_sync, session

AUTHORS = select(Author).order_by(Author.id)


@pytest.fixture
async def authors(db: AnyDatabase) -> AnyDatabase:
    await add(db, Author(id=1, name="Ada"), Author(id=2, name="Bo", mentor_id=1, email="b@x.y"))
    await add(db, Book(id=1, author_id=1, title="One"), Book(id=2, author_id=2, title="Two"))
    return db


class Inited(Out):
    id: int
    name: str

    def __init__(self, **data: Any) -> None:
        super().__init__(**{**data, "name": "by init"})


class InitedBase(Inited):
    email: str | None = Field(alias="email")


class Initeds(Out):
    name: str
    mentor: Inited | None
    pupils: list[Inited]


class Newed(Out):
    id: int

    def __new__(cls, *_arguments: Any, **_more: Any) -> Self:
        made: Self = super().__new__(cls)
        return made


class Built(Out):
    id: int
    name: str

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # noqa: PLC0415 - beside its only use

        return core_schema.no_info_after_validator_function(cls.louder, handler(source))

    @classmethod
    def louder(cls, value: Built) -> Built:
        value.name += "!"
        return value


class Mixin:
    def model_post_init(self, _context: Any) -> None:
        self.name = "mixed"


class Mixed(Mixin, Out):
    id: int
    name: str


class MixedBehind(Out, Mixin):
    id: int
    name: str


class Private(Out):
    id: int
    _seen: int = PrivateAttr(default=3)


class PrivateAndMore(Out):
    id: int
    name: str
    _seen: str = PrivateAttr(default="private")

    def model_post_init(self, _context: Any) -> None:
        self.name = self._seen


class Inherited(Out):
    id: int
    name: str

    @field_validator("name")
    @classmethod
    def double(cls, name: str) -> str:
        return name * 2

    @field_serializer("id")
    def as_text(self, value: int) -> str:
        return str(value)


class Inheriting(Inherited):
    email: str | None


class Configured(Out):
    model_config = ConfigDict(from_attributes=True, str_strip_whitespace=True, str_to_lower=True)
    id: int
    name: str


class ConfiguredBelow(Configured):
    email: str | None


class Name(RootModel[str]):
    model_config = SHOUTING


class Sealed(RootModel[str]):
    @model_serializer
    def seal(self) -> str:
        return "sealed"


class Rooted(Out):
    name: Name
    email: Annotated[str | None, AfterValidator(lambda email: email and email[0])]


class Roots(Out):
    id: int
    name: Sealed


class Wrapper(Out):
    id: int
    name: str
    email: str | None

    @model_serializer(mode="wrap")
    def more(self, handler: Any) -> dict[str, Any]:
        return {**handler(self), "secret": self.name}


class Plain(Out):
    id: int
    name: str

    @model_serializer
    def everything(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "secret": "secret"}


class Computed(Out):
    id: int
    name: str = Field(exclude=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def secret(self) -> str:
        return f"secret of {self.name}"


Careless = Annotated[Computed, PlainSerializer(lambda value: {"id": value.id, "secret": value.name})]
CarelessList = Annotated[list[Computed], WrapSerializer(lambda value, handler: [*handler(value), {"secret": 1}])]


class Titles(Out):
    id: int
    title: Annotated[str, AfterValidator(str.upper)]


class Nested(Out):
    id: int
    mentor: Careless | None
    pupils: CarelessList
    books: list[Titles]


class Texts(Out):
    id: int
    name: str

    @model_serializer
    def as_text(self) -> str:
        return f"{self.id} {self.name}"


class Outer(Out):
    id: int
    mentor: Texts | None


class Camels(Out):
    """Its settings hold for what is inside and has none of its own."""

    model_config = ConfigDict(from_attributes=True, alias_generator=to_camel, validate_by_name=True)
    id: int
    mentor_id: int | None
    pupils: list[Mate]
    mentor: MateDict | None


class Case:
    """A model, and for those that Pydantic does not make of objects the keys of the dict that it makes them of."""

    def __init__(self, model: Any, *, exact: bool = False, **keys: str) -> None:
        self.model, self.exact, self.keys = model, exact, keys

    def expected(self, rows: list[Any]) -> list[Any]:
        given = [{key: getattr(row, name) for key, name in self.keys.items()} for row in rows] if self.keys else rows
        return TypeAdapter(list[self.model]).validate_python(given, from_attributes=True)  # type: ignore[name-defined]


def same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


CASES = [
    Case(Inited, exact=True),
    Case(InitedBase, exact=True),
    Case(Initeds, exact=True),
    Case(Newed),
    Case(Built),
    Case(Mixed),
    Case(MixedBehind),
    Case(Private, exact=True),
    Case(PrivateAndMore),
    Case(Inheriting),
    Case(ConfiguredBelow),
    Case(Rooted),
    Case(Roots),
    Case(Wrapper),
    Case(Plain),
    Case(Computed),
    Case(Nested),
    Case(RootModel[Wrapper]),
    Case(Initialised, **same("id", "email")),
    Case(PostInitialised, **same("id")),
    Case(Given, **same("id", "name", "email")),
    Case(GivenForNothing, exact=True, **same("id", "name")),
    Case(Constants, **same("id", "name", "email")),
    Case(Ordered, **same("id", "name", "email", "mentor_id")),
    Case(Slotted, exact=True, **same("id", "name")),
    Case(OwnInit, exact=True, **same("id", "name")),
    Case(Decorated, **same("id", "name")),
    Case(DecoratedBelow, **same("id", "name", "email")),
    Case(Validated, **same("id", "name")),
    Case(Box[int], exact=True, **same("id", "name")),
    Case(Upper, ID="id", NAME="name", EMAIL="email"),
    Case(CheckedInit, id="id", mail="email"),
    Case(CamelDict, exact=True, id="id", mentorId="mentor_id"),
    Case(TwoNames, exact=True, ID="id", MENTOR_ID="mentor_id"),
    Case(ShoutingMore, **same("id", "name", "email")),
    Case(BoxDict[int], id="id", n="name"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.model.__name__))
async def test_what_a_class_does_itself_is_seen(authors: AnyDatabase, case: Case) -> None:
    async with session(authors) as opened:
        expected = await run_sync(opened, lambda sync: case.expected(list(sync.scalars(AUTHORS))))
    query = authors.fetch(case.model, AUTHORS)
    assert query.explain_plan().exact is case.exact
    assert await resolve(query.all()) == expected
    for options in ({}, {"by_alias": False}, {"exclude_none": True}, {"by_alias": False, "exclude_none": True}):
        # As text, for the order of the keys counts.
        written = json.dumps(json.loads(await resolve(query.json(**options))))
        adapter = TypeAdapter(list[case.model])  # type: ignore[name-defined]
        assert written == json.dumps(json.loads(adapter.dump_json(expected, **{"by_alias": True, **options})))
    whole = json.loads(await resolve(query.json()))
    narrow = authors.fetch(case.model, AUTHORS, fields=next(iter(whole[0])))
    assert json.loads(await resolve(narrow.json())) == [dict(list(row.items())[:1]) for row in whole]


async def test_what_is_inside_takes_over_settings(authors: AnyDatabase) -> None:
    expected = [
        {"id": 1, "mentorId": None, "pupils": [{"id": 2, "mentorId": 1}], "mentor": None},
        {"id": 2, "mentorId": 1, "pupils": [], "mentor": {"id": 1, "mentorId": None}},
    ]
    query = authors.fetch(Camels, AUTHORS)
    found = await resolve(query.all())
    assert json.loads(await resolve(query.json())) == expected
    assert json.loads(TypeAdapter(list[Camels]).dump_json(found, by_alias=True)) == expected


async def test_a_serializer_gives_no_more_than_was_asked_for(authors: AnyDatabase) -> None:
    """Pydantic leaves to a serializer what it writes, whatever is to be included."""
    query = authors.fetch(Nested, AUTHORS, fields="id,mentor.id,pupils.id,books.title")
    expected = [
        {"id": 1, "mentor": None, "pupils": [{"id": 2}, {}], "books": [{"title": "ONE"}]},
        {"id": 2, "mentor": {"id": 1}, "pupils": [{}], "books": [{"title": "TWO"}]},
    ]
    assert json.loads(await resolve(query.json())) == expected
    assert json.loads(b"".join([piece async for piece in pieces(query)])) == expected
    assert json.loads(await resolve(query.json_page(size=5)))["items"] == expected


async def pieces(query: Any) -> AsyncIterator[bytes]:
    found = query.stream_json()
    if hasattr(found, "__aiter__"):
        async for piece in found:
            yield piece
    else:
        for piece in found:
            yield piece


@pytest.mark.parametrize(("model", "fields"), [(Texts, "id"), (Outer, "id,mentor.id")])
async def test_no_fields_are_chosen_of_a_text(authors: AnyDatabase, model: Any, fields: str) -> None:
    with pytest.raises(ShapeError, match="it is not written as an object"):
        await resolve(authors.fetch(model, AUTHORS, fields=fields).json())
    whole = json.loads(await resolve(authors.fetch(Outer, AUTHORS, fields="mentor").json()))
    assert whole == [{"mentor": None}, {"mentor": "1 Ada"}]
