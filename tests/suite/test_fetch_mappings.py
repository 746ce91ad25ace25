"""Every kind of attribute and relationship that SQLAlchemy maps fills a response model as the ORM would."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, RootModel, TypeAdapter
from sqlalchemy import select

from querywright import ShapeError
from tests.suite.models import Out
from tests.suite.support import AnyDatabase, by_orm, resolve, statements
from tests.suite.zoo import Animal, Cat, Dog, Keeping, Zoo


class NamedOut(Out):
    name: str


class PlaceOut(Out):
    y: int | None
    x: int | None


class ZooOut(Out):
    country: str
    number: int
    title: str
    code: str
    shout: str
    place: PlaceOut
    animals: list[NamedOut]
    heavy: list[NamedOut]
    keepers: list[NamedOut]
    animal_names: list[str]


class HeightOut(Out):
    y: int | None


class SpotOut(Out):
    """Of the place it shows only one column, both decide whether there is one."""

    spot: HeightOut | None
    animals: list[NamedOut]


class ZooOfSpots(Out):
    zoo: SpotOut | None


class CatOut(Out):
    id: int
    name: str
    lives: int
    toys: list[NamedOut]
    zoo: NamedOut | None
    parent: NamedOut | None


class ZooOfCats(Out):
    name: str
    cats: list[CatOut]


class DogOut(Out):
    name: str
    tricks: str | None
    young: list[NamedOut]


class KeepingOut(Out):
    since: int
    zoo: NamedOut
    keeper: NamedOut


class GrandparentOut(Out):
    name: str
    parent: NamedOut | None
    young: list[DogOrAnyOut]


class DogOrAnyOut(Out):
    name: str
    young: list[NamedOut]


SHAPES: list[tuple[Any, Any]] = [
    (ZooOut, select(Zoo).order_by(Zoo.country, Zoo.number)),
    (SpotOut, select(Zoo).order_by(Zoo.country, Zoo.number)),
    (ZooOfSpots, select(Animal).order_by(Animal.id)),
    (CatOut, select(Cat).order_by(Cat.id)),
    (CatOut, select(Cat).where(Cat.lives > 8, Cat.name != "x").order_by(Cat.name).limit(1)),
    (ZooOfCats, select(Zoo).order_by(Zoo.country, Zoo.number)),
    (DogOut, select(Dog).order_by(Dog.id)),
    (KeepingOut, select(Keeping).order_by(Keeping.since)),
    (GrandparentOut, select(Animal).order_by(Animal.id)),
]


@pytest.mark.parametrize("number", range(len(SHAPES)))
async def test_equals_orm_and_pydantic(zoo: AnyDatabase, number: int) -> None:
    model, statement = SHAPES[number]
    expected = await by_orm(zoo, model, statement)
    assert expected
    assert await resolve(zoo.fetch(model, statement).all()) == expected
    with statements() as seen:
        text = await resolve(zoo.fetch(model, statement).json())
    assert len(seen) == 1
    assert json.loads(text) == json.loads(TypeAdapter(list[model]).dump_json(expected))


class JustAnimal(Out):
    kind: Literal["animal"]
    weight: int


class CatVariant(Out):
    kind: Literal["cat"]
    lives: int
    toys: list[NamedOut]
    young: list[NamedOut]


class DogVariant(Out):
    kind: Literal["dog"]
    tricks: str | None
    parent: NamedOut | None


AnyAnimal = Annotated[JustAnimal | CatVariant | DogVariant, Field(discriminator="kind")]


class Animals(RootModel[AnyAnimal]):
    pass


class ZooOfAll(Out):
    name: str
    animals: list[AnyAnimal]


class FamilyOut(Out):
    id: int
    parent: AnyAnimal | None


class AliasedCat(Out):
    of: Literal["cat"] = Field(validation_alias="kind")
    lives: int


class AliasedDog(Out):
    of: Literal["dog"] = Field(validation_alias="kind")
    tricks: str | None


class AliasedAnimals(RootModel[AliasedCat | AliasedDog | JustAnimal]):
    pass


@pytest.mark.parametrize(
    ("model", "statement"),
    [
        (AliasedAnimals, select(Animal).order_by(Animal.id)),
        (ZooOfAll, select(Zoo).order_by(Zoo.country, Zoo.number)),
        (FamilyOut, select(Animal).order_by(Animal.id)),
        (Animals, select(Animal).order_by(Animal.id.desc())),
    ],
)
async def test_each_subclass_has_its_own_model(zoo: AnyDatabase, model: Any, statement: Any) -> None:
    expected = await by_orm(zoo, model, statement)
    assert await resolve(zoo.fetch(model, statement).all()) == expected
    text = await resolve(zoo.fetch(model, statement).json())
    assert json.loads(text) == json.loads(TypeAdapter(list[model]).dump_json(expected))


class NoLiteral(Out):
    kind: str


class WrongLiteral(Out):
    kind: Literal["bird"]


@pytest.mark.drivers("sqlite+pysqlite")
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (RootModel[NoLiteral | CatVariant], r"NoLiteral does not say which kind it is for. Declare kind: Literal"),
        (RootModel[WrongLiteral | CatVariant], r"no class has the kind 'bird'. There are 'animal', 'cat', 'dog'"),
    ],
)
async def test_unions_that_do_not_fit_are_refused(db: AnyDatabase, model: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        await resolve(db.fetch(model, select(Animal)).all())


class PlainOut(Out):
    plain: str


@pytest.mark.drivers("sqlite+pysqlite")
async def test_what_only_python_knows_is_refused(db: AnyDatabase) -> None:
    with pytest.raises(ShapeError, match=r"PlainOut.plain: Zoo.plain is neither a column nor a relationship. Mark the"):
        await resolve(db.fetch(PlainOut, select(Zoo)).all())
