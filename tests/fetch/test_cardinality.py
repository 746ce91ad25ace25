"""A key proves one row only where a value equals no more than one of its values."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from sqlalchemy import BigInteger, ForeignKey, Integer, String, Unicode, func, select
from sqlalchemy.orm import DeclarativeBase, aliased, mapped_column, relationship

from querywright.fetching.mapping.cardinality import leads_to_one, may_repeat


def related(near: Any, far: Any) -> Any:
    """Map two classes, one of which refers to a unique column of the other."""

    class Base(DeclarativeBase):
        pass

    class Country(Base):
        __tablename__ = "countries"

        id = mapped_column(Integer, primary_key=True)
        code = mapped_column(far, unique=True, nullable=False)

    class City(Base):
        __tablename__ = "cities"

        id = mapped_column(Integer, primary_key=True)
        code = mapped_column(near)
        country = relationship(Country, primaryjoin=code == Country.code, foreign_keys=code)

    return City.country.property


@pytest.mark.parametrize(
    ("near", "far", "one"),
    [
        (String(2), Unicode(2), True),
        (BigInteger(), Integer(), True),
        (String(2, collation="NOCASE"), String(2, collation="NOCASE"), True),
        # 'de' NOCASE equals both 'de' and 'DE'.
        (String(2, collation="NOCASE"), String(2), False),
        # 1 equals both '1' and '01'.
        (Integer(), String(2), False),
    ],
)
def test_values_that_equal_one_key(near: Any, far: Any, *, one: bool) -> None:
    assert leads_to_one(related(near, far)) is one


def test_a_part_of_a_key_proves_nothing() -> None:
    class Base(DeclarativeBase):
        pass

    class Rate(Base):
        __tablename__ = "rates"
        currency = mapped_column(String(3), primary_key=True)
        day = mapped_column(Integer, primary_key=True)

    class Order(Base):
        __tablename__ = "orders"
        id = mapped_column(Integer, primary_key=True)
        currency = mapped_column(String(3))
        day = mapped_column(Integer)
        rate = relationship(
            Rate, primaryjoin=currency == Rate.currency, foreign_keys=currency, viewonly=True, uselist=False
        )
        rate_of_day = relationship(
            Rate,
            primaryjoin=(currency == Rate.currency) & (day == Rate.day),
            foreign_keys=[currency, day],
            viewonly=True,
        )

    assert not leads_to_one(Order.rate.property)
    assert leads_to_one(Order.rate_of_day.property)


def test_keys_of_concrete_classes_repeat() -> None:
    class Base(DeclarativeBase):
        pass

    class Animal(Base):
        __tablename__ = "animals"
        id = mapped_column(Integer, primary_key=True)

    class Cat(Animal):
        __tablename__ = "cats"
        __mapper_args__: ClassVar[dict[str, Any]] = {"concrete": True}
        id = mapped_column(Integer, primary_key=True)

    class Owner(Base):
        __tablename__ = "owners"
        id = mapped_column(Integer, primary_key=True)
        animal_id = mapped_column(Integer, ForeignKey("animals.id"))
        cat_id = mapped_column(Integer, ForeignKey("cats.id"))
        animal = relationship(Animal)
        cat = relationship(Cat)

    assert not leads_to_one(Owner.animal.property)
    assert not leads_to_one(Owner.cat.property)


@pytest.mark.parametrize(
    ("column", "once"),
    [
        (lambda log: log.id, True),
        (lambda log: func.row_number().over(order_by=log.id), True),
        (lambda log: func.generate_series(1, 3), False),
    ],
    ids=["a column", "a window", "a function that may return rows"],
)
def test_a_subquery_holds_each_row_once(column: Any, *, once: bool) -> None:
    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id = mapped_column(Integer, primary_key=True)

    class Log(Base):
        __tablename__ = "logs"
        id = mapped_column(Integer, primary_key=True)
        user_id = mapped_column(Integer, ForeignKey("users.id"))

    selected = aliased(Log, select(Log, column(Log).label("number")).subquery())
    User.logs = relationship(selected, primaryjoin=User.id == selected.user_id, viewonly=True)
    assert may_repeat(User.__mapper__.relationships["logs"]) is not once
