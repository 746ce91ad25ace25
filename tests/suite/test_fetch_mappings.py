"""Every kind of attribute and relationship that SQLAlchemy maps fills a response model as the ORM would."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field, RootModel, TypeAdapter
from sqlalchemy import ForeignKey, String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from querywright import ShapeError
from tests.suite.models import Out
from tests.suite.support import AnyDatabase, add, by_orm, resolve, run_sync, statements, transaction
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


class Vehicles(DeclarativeBase):
    pass


class Vehicle(Vehicles):
    __tablename__ = "vehicles"
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))


class Car(Vehicle):
    __tablename__ = "cars"
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "car"}
    id: Mapped[int] = mapped_column(ForeignKey("vehicles.id"), primary_key=True)
    doors: Mapped[int]


class Taxi(Car):
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "taxi"}


class Van(Car):
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "van"}


class JustVehicle(Out):
    kind: Literal["vehicle"]


class CarOut(Out):
    kind: Literal["taxi", "car", "van"]
    doors: int


class SmallCarOut(Out):
    kind: Literal["taxi", "car"]
    doors: int


class VanOut(Out):
    kind: Literal["van"]
    id: int


@pytest.mark.parametrize("model", [RootModel[JustVehicle | CarOut], RootModel[JustVehicle | VanOut | SmallCarOut]])
async def test_a_model_for_several_subclasses_has_what_all_of_them_have(db: AnyDatabase, model: Any) -> None:
    statement = select(Vehicle).order_by(Vehicle.id)
    async with transaction(db) as tx:
        await run_sync(tx, lambda sync: Vehicles.metadata.create_all(sync.connection()))
    try:
        await add(db, Vehicle(id=1), Car(id=2, doors=5), Taxi(id=3, doors=4), Van(id=4, doors=3))
        expected = await by_orm(db, model, statement)
        assert await resolve(db.fetch(model, statement).all()) == expected
        assert await resolve(db.fetch(model, statement).json()) == TypeAdapter(list[model]).dump_json(expected)
    finally:
        async with transaction(db) as tx:
            await run_sync(tx, lambda sync: Vehicles.metadata.drop_all(sync.connection()))


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
