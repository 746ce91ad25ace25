"""A library that owns every kind of column and relationship the suite needs, and its response models."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, MetaData, Numeric, String, Table, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column, relationship

from querywright import ExactDecimal, UUIDKey
from querywright.models import NAMING_CONVENTION, TYPE_ANNOTATION_MAP


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    # MySQL and MariaDB have no VARCHAR without a length.
    type_annotation_map: ClassVar[dict[Any, Any]] = {**TYPE_ANNOTATION_MAP, str: Text()}


class Genre(enum.Enum):
    NOVEL = "novel"
    POEM = "poem"
    ESSAY = 'an "essay"'


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


book_tags = Table(
    "book_tags",
    Base.metadata,
    Column("book_id", ForeignKey("books.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Numeric(asdecimal=False), nullable=False, default=0),
)


class Author(Base):
    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str | None] = mapped_column(String(100), unique=True)
    mentor_id: Mapped[int | None] = mapped_column(ForeignKey("authors.id"))
    deleted: Mapped[bool] = mapped_column(default=False)

    shouted: Mapped[str] = column_property(name + "!")

    mentor: Mapped[Author | None] = relationship(remote_side=[id], back_populates="pupils")
    pupils: Mapped[list[Author]] = relationship(back_populates="mentor", order_by="Author.id")
    books: Mapped[list[Book]] = relationship(back_populates="author", order_by="Book.id.desc()")
    profile: Mapped[Profile | None] = relationship(back_populates="author")


class Profile(Base):
    __tablename__ = "profiles"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"), unique=True)
    text: Mapped[str]

    author: Mapped[Author] = relationship(back_populates="profile")


class Book(Base):
    __tablename__ = "books"
    __table_args__ = (CheckConstraint("pages > 0", name="pages"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    title: Mapped[str] = mapped_column(String(200))
    pages: Mapped[int] = mapped_column(default=1)
    deleted: Mapped[bool] = mapped_column(default=False)

    author: Mapped[Author] = relationship(back_populates="books")
    tags: Mapped[list[Tag]] = relationship(secondary=book_tags, order_by=book_tags.c.position.desc())


class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)

    books: Mapped[list[Book]] = relationship(secondary=book_tags, order_by=Book.id, viewonly=True)


class Everything(UUIDKey, Base):
    """One column of each type, and the same again nullable."""

    __tablename__ = "everything"

    number: Mapped[int]
    text: Mapped[str]
    flag: Mapped[bool]
    ratio: Mapped[float]
    price: Mapped[Decimal] = mapped_column(ExactDecimal(12, 2))
    moment: Mapped[dt.datetime]
    local: Mapped[dt.datetime] = mapped_column(DateTime())
    day: Mapped[dt.date]
    genre: Mapped[Genre]
    level: Mapped[Level]
    data: Mapped[dict[str, Any]]
    items: Mapped[list[Any]]

    number_or_none: Mapped[int | None]
    text_or_none: Mapped[str | None]
    flag_or_none: Mapped[bool | None]
    ratio_or_none: Mapped[float | None]
    price_or_none: Mapped[Decimal | None] = mapped_column(ExactDecimal(9, 0))
    moment_or_none: Mapped[dt.datetime | None]
    local_or_none: Mapped[dt.datetime | None] = mapped_column(DateTime())
    day_or_none: Mapped[dt.date | None]
    key_or_none: Mapped[uuid.UUID | None]
    genre_or_none: Mapped[Genre | None]
    level_or_none: Mapped[Level | None]
    data_or_none: Mapped[dict[str, Any] | None]


class Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class EverythingOut(Out):
    id: uuid.UUID
    number: int
    text: str
    flag: bool
    ratio: float
    price: Decimal
    moment: dt.datetime
    local: dt.datetime
    day: dt.date
    genre: Genre
    level: Level
    data: dict[str, Any]
    items: list[Any]
    number_or_none: int | None
    text_or_none: str | None
    flag_or_none: bool | None
    ratio_or_none: float | None
    price_or_none: Decimal | None
    moment_or_none: dt.datetime | None
    local_or_none: dt.datetime | None
    day_or_none: dt.date | None
    key_or_none: uuid.UUID | None
    genre_or_none: Genre | None
    level_or_none: Level | None
    data_or_none: dict[str, Any] | None


class TagOut(Out):
    name: str


class NameOut(Out):
    id: int
    name: str


class ProfileOut(Out):
    text: str


class BookOut(Out):
    id: int
    title: str
    author: NameOut
    tags: list[TagOut]


class MentorOut(Out):
    name: str
    mentor: NameOut | None
    books: list[BookOut]


class AuthorOut(Out):
    id: int
    name: str
    email: str | None
    mentor: MentorOut | None
    pupils: list[NameOut]
    books: list[BookOut]
    profile: ProfileOut | None
