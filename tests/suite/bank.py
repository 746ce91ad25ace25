"""Mapped classes that several people change at once: versions of every kind, inheritance, cascades, composite keys."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from sqlalchemy import ForeignKey, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from querywright import Versioned
from querywright.models import NAMING_CONVENTION, TYPE_ANNOTATION_MAP


class BankBase(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    # MySQL and MariaDB have no VARCHAR without a length.
    type_annotation_map: ClassVar[dict[Any, Any]] = {**TYPE_ANNOTATION_MAP, str: String(50)}


class Account(Versioned, BankBase):
    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]
    balance: Mapped[int] = mapped_column(default=0)

    # One-sided: an entry that is moved or removed is not itself modified before the flush.
    entries: Mapped[list[Entry]] = relationship(cascade="all, delete-orphan", order_by="Entry.id", lazy="joined")


class Entry(Versioned, BankBase):
    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    amount: Mapped[int] = mapped_column(default=0)


class Branch(Versioned, BankBase):
    __tablename__ = "branches"

    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]


class Contract(Versioned, BankBase):
    __tablename__ = "contracts"
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_on": "kind", "polymorphic_identity": "contract"}

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]


class Loan(Contract):
    __tablename__ = "loans"
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "loan"}

    id: Mapped[int] = mapped_column(ForeignKey("contracts.id"), primary_key=True)
    rate: Mapped[int]


class Card(BankBase):
    """Its version is not the mixin's."""

    __tablename__ = "cards"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str]
    revision: Mapped[str] = mapped_column(String(32))

    __mapper_args__: ClassVar[dict[str, Any]] = {
        "version_id_col": revision,
        "version_id_generator": lambda _: uuid.uuid4().hex,
    }


class Remark(BankBase):
    """It has no version."""

    __tablename__ = "remarks"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
