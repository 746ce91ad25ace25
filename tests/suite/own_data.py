"""Dataclasses and TypedDicts that do something to their values by themselves."""

from __future__ import annotations

import dataclasses
from dataclasses import InitVar, dataclass, field
from typing import Annotated, ClassVar, Generic, TypeVar

import pydantic.dataclasses
from pydantic import AliasGenerator, ConfigDict, Field, computed_field, field_serializer, model_validator
from pydantic.alias_generators import to_camel
from typing_extensions import NotRequired, TypedDict

Item = TypeVar("Item")
SHOUTING = ConfigDict(str_to_upper=True)


@dataclass
class Initialised:
    id: int
    name: str = field(init=False, default="by default")
    email: str | None = None


@dataclass
class PostInitialised:
    id: int
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"number {self.id}"


@dataclass
class Given:
    id: int
    name: InitVar[str]
    email: str | None = None

    def __post_init__(self, name: str) -> None:
        self.email = name


@dataclass
class GivenForNothing:
    id: int
    name: InitVar[str]


@dataclass
class Constants:
    id: int
    _: dataclasses.KW_ONLY
    name: str
    email: str | None = None
    kind: ClassVar[str] = "constant"
    names: list[str] = field(init=False, default_factory=lambda: ["made"])


@dataclass(slots=True, frozen=True)
class Slotted:
    id: int
    name: str


@dataclass
class Ordered(Constants):
    mentor_id: int | None = field(kw_only=False, default=None)


@dataclass
class OwnInit:
    id: int
    name: str

    def __init__(self, id: int, name: str) -> None:  # noqa: A002 - the name of the field
        self.id, self.name = id, name.upper()


@dataclass
class Decorated:
    id: int
    name: str

    @field_serializer("name")
    def upper(self, name: str) -> str:
        return name.upper()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def secret(self) -> str:
        return "computed"


@dataclass
class DecoratedBelow(Decorated):
    email: str | None


@dataclass
class Validated:
    id: int
    name: str

    @model_validator(mode="after")
    def change(self) -> Validated:
        self.name = "changed"
        return self


@dataclass
class Box(Generic[Item]):
    id: Item
    name: str


@pydantic.dataclasses.dataclass(config=ConfigDict(alias_generator=str.upper, str_to_lower=True))
class Upper:
    id: int
    name: str
    email: InitVar[str | None]
    made: str = field(init=False, default="MADE")


@pydantic.dataclasses.dataclass
class CheckedInit:
    id: int
    name: str = Field(init=False, default="by default")
    email: str | None = Field(default=None, alias="mail")


class CamelDict(TypedDict):
    __pydantic_config__ = ConfigDict(alias_generator=to_camel)  # type: ignore[misc]
    id: int
    mentor_id: int | None


class TwoNames(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(  # type: ignore[misc]
        alias_generator=AliasGenerator(validation_alias=str.upper, serialization_alias=str.title)
    )
    id: NotRequired[int]
    mentor_id: int | None


class ShoutingDict(TypedDict):
    __pydantic_config__ = SHOUTING  # type: ignore[misc]
    id: int
    name: str


class ShoutingMore(ShoutingDict):
    email: str | None


class BoxDict(TypedDict, Generic[Item]):
    id: Item
    name: Annotated[str, Field(alias="n", min_length=1)]


@dataclass
class Mate:
    id: int
    mentor_id: int | None


class MateDict(TypedDict):
    id: int
    mentor_id: int | None
