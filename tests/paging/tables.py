"""The tables that pages are tried on: every kind of column, relationship and inheritance, each once."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any, ClassVar

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, MetaData, Text, func
from sqlalchemy.ext.declarative import ConcreteBase
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, configure_mappers, mapped_column, relationship

from querywright import ExactDecimal, UTCDateTime
from querywright.models import TYPE_ANNOTATION_MAP, Timestamps


class Base(DeclarativeBase):
    metadata = MetaData(schema=None)
    type_annotation_map: ClassVar[dict[Any, Any]] = {**TYPE_ANNOTATION_MAP, str: Text()}


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"
    MIDDLE = "m"


def _pairs(name: str, *, key: bool) -> sa.Table:
    """An association of samples and teams; without a key it may pair two of them twice."""
    return sa.Table(
        name,
        Base.metadata,
        sa.Column("sample_id", ForeignKey("pg_sample.id"), primary_key=key, nullable=False),
        sa.Column("team_id", ForeignKey("pg_team.id"), primary_key=key, nullable=False),
    )


FRIENDS, FANS = _pairs("pg_friends", key=True), _pairs("pg_fans", key=False)


class Team(Base):
    __tablename__ = "pg_team"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    region: Mapped[str | None]
    rank: Mapped[int]


class Sample(Timestamps, Base):
    """A column of each type that the library ships or that SQLAlchemy has for all databases."""

    __tablename__ = "pg_sample"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    team_id: Mapped[int | None] = mapped_column(ForeignKey(Team.id))
    next_id: Mapped[int | None]
    text: Mapped[str]
    text_or_none: Mapped[str | None]
    short: Mapped[str] = mapped_column(sa.String(20))
    number: Mapped[int]
    number_or_none: Mapped[int | None]
    small: Mapped[int] = mapped_column(sa.SmallInteger)
    big: Mapped[int] = mapped_column(sa.BigInteger)
    flag: Mapped[bool]
    ratio: Mapped[float] = mapped_column(sa.Double)
    ratio_or_none: Mapped[float | None] = mapped_column(sa.Double)
    single: Mapped[float] = mapped_column(sa.REAL)
    loose: Mapped[float] = mapped_column(sa.Float)
    price: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2))
    price_or_none: Mapped[Decimal | None] = mapped_column(sa.Numeric(10, 2))
    exact: Mapped[Decimal] = mapped_column(ExactDecimal(12, 2))
    day: Mapped[dt.date]
    clock: Mapped[dt.time] = mapped_column(sa.Time)
    local: Mapped[dt.datetime] = mapped_column(sa.DateTime)
    moment_or_none: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
    filled: Mapped[dt.datetime] = mapped_column(sa.DateTime, server_default=func.current_timestamp())
    size: Mapped[Size]
    size_name: Mapped[Size] = mapped_column(sa.Enum(Size, native_enum=False, length=10))
    key: Mapped[uuid.UUID]
    binary: Mapped[bytes] = mapped_column(sa.LargeBinary(40))

    team: Mapped[Team | None] = relationship()
    parts: Mapped[list[Part]] = relationship(order_by="Part.id", back_populates="sample")
    friends: Mapped[list[Team]] = relationship(secondary=FRIENDS, order_by=Team.id)
    fans: Mapped[list[Team]] = relationship(secondary=FANS, order_by=Team.id)


class Part(Base):
    """Many of a sample; without a word on which sample, it belongs to none."""

    __tablename__ = "pg_part"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sample_id: Mapped[int | None] = mapped_column(ForeignKey(Sample.id))
    name: Mapped[str]
    amount: Mapped[int]
    cost: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2))

    sample: Mapped[Sample | None] = relationship(back_populates="parts")
    words: Mapped[list[Word]] = relationship(order_by="Word.word", lazy="joined")


class Word(Base):
    """Its key has two columns."""

    __tablename__ = "pg_word"

    part_id: Mapped[int] = mapped_column(ForeignKey(Part.id), primary_key=True)
    word: Mapped[str] = mapped_column(sa.String(20), primary_key=True)


class Person(Base):
    """The head of a hierarchy: workers have a table of their own, guests share this one."""

    __tablename__ = "pg_person"
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_on": "kind", "polymorphic_identity": "person"}

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(sa.String(20))
    name: Mapped[str]
    team_id: Mapped[int | None] = mapped_column(ForeignKey(Team.id))

    team: Mapped[Team | None] = relationship()


class Worker(Person):
    __tablename__ = "pg_worker"
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "worker"}

    id: Mapped[int] = mapped_column(ForeignKey(Person.id), primary_key=True)
    grade: Mapped[int | None]


class Guest(Person):
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "guest"}

    note: Mapped[str | None]


class Thing(Base):
    """The head of a hierarchy that is always read whole."""

    __tablename__ = "pg_thing"
    __mapper_args__: ClassVar[dict[str, Any]] = {
        "polymorphic_on": "kind",
        "polymorphic_identity": "thing",
        "with_polymorphic": "*",
    }

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(sa.String(20))
    name: Mapped[str]
    team_id: Mapped[int | None] = mapped_column(ForeignKey(Team.id))

    team: Mapped[Team | None] = relationship()


class Tool(Thing):
    __tablename__ = "pg_tool"
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "tool", "with_polymorphic": "*"}

    id: Mapped[int] = mapped_column(ForeignKey(Thing.id), primary_key=True)
    weight: Mapped[int] = mapped_column()
    twice: Mapped[int] = column_property(weight * 2)


class Paper(ConcreteBase, Base):
    """The head of a hierarchy whose classes have nothing in common but their names."""

    __tablename__ = "pg_paper"
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "paper", "concrete": True}

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(sa.String(20))


class Memo(Paper):
    __tablename__ = "pg_memo"
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "memo", "concrete": True}

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(sa.String(20))
    lines: Mapped[int]


configure_mappers()


class Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class IdOut(Out):
    id: int


class PartOut(Out):
    id: int
    name: str


class TeamOut(Out):
    id: int
    name: str


class SampleOut(Out):
    id: int
    text: str
    team: TeamOut | None
    parts: list[PartOut]
    friends: list[IdOut]


class PartOfOut(Out):
    id: int
    name: str
    sample: IdOut | None


class PersonOut(Out):
    id: int
    name: str
    team: TeamOut | None


class PaperOut(Out):
    id: int
    name: str


class WordOut(Out):
    part_id: int
    word: str
