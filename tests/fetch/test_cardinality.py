"""A key proves one row only where a value equals no more than one of its values."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import BigInteger, Integer, String, Unicode
from sqlalchemy.orm import DeclarativeBase, mapped_column, relationship

from querywright.fetching.mapping.cardinality import leads_to_one


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
