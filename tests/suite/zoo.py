"""Mapped classes with everything beside plain columns: inheritance, composites, hybrids, proxies, composite keys."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import sqlalchemy
from sqlalchemy import ForeignKey, ForeignKeyConstraint, MetaData, String, and_, func
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    column_property,
    composite,
    foreign,
    mapped_column,
    relationship,
    remote,
    synonym,
)

from querywright.models import NAMING_CONVENTION, TYPE_ANNOTATION_MAP


class ZooBase(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    # MySQL and MariaDB have no VARCHAR without a length.
    type_annotation_map: ClassVar[dict[Any, Any]] = {**TYPE_ANNOTATION_MAP, str: String(50)}


@dataclasses.dataclass
class Place:
    x: int | None
    y: int | None


# What SQLAlchemy 2.1 does by itself where an annotation accepts None; 2.0 never has None.
NONE_IF_EMPTY: dict[str, Any] = (
    {} if sqlalchemy.__version__.startswith("2.0.") else {"return_none_on": lambda *values: set(values) == {None}}
)


class Zoo(ZooBase):
    """Its key has two columns."""

    __tablename__ = "zoos"

    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(50))
    x: Mapped[int | None]
    y: Mapped[int | None]

    place: Mapped[Place] = composite(Place, "x", "y")
    spot: Mapped[Place] = composite(Place, "x", "y", **NONE_IF_EMPTY)
    title: Mapped[str] = synonym("name")
    code: Mapped[str] = column_property(country + "-" + name)

    animals: Mapped[list[Animal]] = relationship(back_populates="zoo", order_by="Animal.id")
    keepings: Mapped[list[Keeping]] = relationship(back_populates="zoo", order_by="Keeping.since, Keeping.keeper_id")
    keepers: AssociationProxy[list[Keeper]] = association_proxy("keepings", "keeper")
    animal_names: AssociationProxy[list[str]] = association_proxy("animals", "name")
    heavy: Mapped[list[Animal]] = relationship(
        primaryjoin=lambda: and_(
            Zoo.country == remote(foreign(Animal.country)),
            Zoo.number == remote(foreign(Animal.zoo_number)),
            remote(foreign(Animal.weight)) > 100,
        ),
        viewonly=True,
        order_by="Animal.weight.desc(), Animal.id",
    )
    cats: Mapped[list[Cat]] = relationship(viewonly=True, order_by="Cat.id")

    @hybrid_property
    def shout(self) -> str:
        return self.name.upper()

    @shout.inplace.expression
    @classmethod
    def _shout(cls) -> Any:
        return func.upper(cls.name)

    @property
    def plain(self) -> str:
        return self.name


class Keeper(ZooBase):
    __tablename__ = "keepers"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Keeping(ZooBase):
    """An association object."""

    __tablename__ = "keepings"
    __table_args__ = (ForeignKeyConstraint(["country", "zoo_number"], ["zoos.country", "zoos.number"]),)

    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    zoo_number: Mapped[int] = mapped_column(primary_key=True)
    keeper_id: Mapped[int] = mapped_column(ForeignKey("keepers.id"), primary_key=True)
    since: Mapped[int]

    zoo: Mapped[Zoo] = relationship(back_populates="keepings")
    keeper: Mapped[Keeper] = relationship()


class Animal(ZooBase):
    """The head of a hierarchy: cats have a table of their own, dogs share this one."""

    __tablename__ = "animals"
    __table_args__ = (ForeignKeyConstraint(["country", "zoo_number"], ["zoos.country", "zoos.number"]),)
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str]
    weight: Mapped[int]
    country: Mapped[str | None] = mapped_column(String(2))
    zoo_number: Mapped[int | None]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("animals.id"))

    zoo: Mapped[Zoo | None] = relationship(back_populates="animals")
    parent: Mapped[Animal | None] = relationship(remote_side=[id], back_populates="young")
    young: Mapped[list[Animal]] = relationship(back_populates="parent", order_by="Animal.id")


class Cat(Animal):
    __tablename__ = "cats"
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "cat"}

    id: Mapped[int] = mapped_column(ForeignKey("animals.id"), primary_key=True)
    lives: Mapped[int]
    toys: Mapped[list[Toy]] = relationship(order_by="Toy.id")


class Dog(Animal):
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "dog"}

    tricks: Mapped[str | None]


class Toy(ZooBase):
    __tablename__ = "toys"

    id: Mapped[int] = mapped_column(primary_key=True)
    cat_id: Mapped[int] = mapped_column(ForeignKey("cats.id"))
    name: Mapped[str]


def a_zoo() -> list[object]:
    """Rows in an order in which they can be inserted."""
    return [
        Zoo(country="de", number=1, name="Tierpark", x=3, y=None),
        Zoo(country="de", number=2, name="Empty", x=None, y=None),
        Zoo(country="fr", number=1, name="Jardin", x=1, y=2),
        Keeper(id=1, name="Ada"),
        Keeper(id=2, name="Bo"),
        Keeping(country="de", zoo_number=1, keeper_id=2, since=1990),
        Keeping(country="de", zoo_number=1, keeper_id=1, since=2000),
        Keeping(country="fr", zoo_number=1, keeper_id=1, since=2010),
        Cat(id=1, name="Tom", weight=4, lives=9, country="de", zoo_number=1),
        Dog(id=2, name="Rex", weight=120, tricks="sit", country="de", zoo_number=1),
        Animal(id=3, name="Jumbo", weight=4000, country="de", zoo_number=1),
        Cat(id=4, name="Kit", weight=1, lives=8, country="fr", zoo_number=1, parent_id=1),
        Dog(id=5, name="Pup", weight=2, tricks=None, parent_id=2),
        Toy(id=1, cat_id=1, name="mouse"),
        Toy(id=2, cat_id=1, name="ball"),
    ]
