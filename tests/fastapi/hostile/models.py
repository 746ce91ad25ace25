"""A table with a column of each type, and what its application takes and gives."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Annotated, Any, get_args, get_type_hints

import sqlalchemy as sa
from pydantic import AllowInfNan, BaseModel, ConfigDict
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from querywright import Document, ExactDecimal, IdempotencyKeys, UTCDateTime, Versioned

__all__ = ["FIELDS", "SECRET", "Found", "Kind", "Sample", "SampleIn", "SampleOut", "keys"]

# In a column that no response model has.
SECRET = "swordfish"  # noqa: S105 - nobody's


class Kind(enum.Enum):
    ONE = "one"
    TWO = "two"


class Base(DeclarativeBase):
    metadata = MetaData()


keys = IdempotencyKeys(Base.metadata, "vault_keys")


class Sample(Versioned, Base):
    """A column of each type that Querywright has, and of each that applications usually have."""

    __tablename__ = "vault_samples"

    id: Mapped[int] = mapped_column(primary_key=True)
    secret: Mapped[str] = mapped_column(sa.String(20), default=SECRET)
    small: Mapped[int | None] = mapped_column(sa.SmallInteger)
    whole: Mapped[int | None] = mapped_column(sa.Integer)
    big: Mapped[int | None] = mapped_column(sa.BigInteger)
    double: Mapped[float | None] = mapped_column(sa.Double)
    price: Mapped[Decimal | None] = mapped_column(ExactDecimal(12, 2))
    amount: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 4))
    name: Mapped[str | None] = mapped_column(sa.String(20))
    text: Mapped[str | None] = mapped_column(sa.Text)
    note: Mapped[str | None] = mapped_column(sa.Text)
    code: Mapped[str | None] = mapped_column(sa.String().with_variant(sa.String(700), "mysql", "mariadb"), unique=True)
    flag: Mapped[bool | None] = mapped_column(sa.Boolean)
    blob: Mapped[bytes | None] = mapped_column(sa.LargeBinary)
    day: Mapped[dt.date | None] = mapped_column(sa.Date)
    clock: Mapped[dt.time | None] = mapped_column(sa.Time)
    local: Mapped[dt.datetime | None] = mapped_column(sa.DateTime)
    zoned: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    moment: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
    span: Mapped[dt.timedelta | None] = mapped_column(sa.Interval)
    kind: Mapped[Kind | None] = mapped_column(sa.Enum(Kind, native_enum=False, length=20, validate_strings=True))
    uid: Mapped[uuid.UUID | None] = mapped_column(sa.Uuid)
    data: Mapped[Any] = mapped_column(sa.JSON, nullable=True)
    document: Mapped[Any] = mapped_column(Document, nullable=True)


AnyDecimal = Annotated[Decimal, AllowInfNan(True)]


class Values(BaseModel):
    """What an application would write that leaves all checks to its database."""

    model_config = ConfigDict(from_attributes=True, ser_json_bytes="base64", val_json_bytes="base64")

    small: int | None = None
    whole: int | None = None
    big: int | None = None
    double: float | None = None
    price: AnyDecimal | None = None
    amount: AnyDecimal | None = None
    name: str | None = None
    text: str | None = None
    # Pydantic checks nothing here.
    note: Any = None
    code: str | None = None
    flag: bool | None = None
    blob: bytes | None = None
    day: dt.date | None = None
    clock: dt.time | None = None
    local: dt.datetime | None = None
    zoned: dt.datetime | None = None
    moment: dt.datetime | None = None
    span: dt.timedelta | None = None
    uid: uuid.UUID | None = None
    data: Any = None
    document: Any = None


class SampleIn(Values):
    kind: str | None = None


class SampleOut(Values):
    id: int
    version: int
    kind: Kind | None = None


class Found(BaseModel):
    """All that a search gives."""

    id: int


_DOCUMENTS = {"data", "document"}
_HINTS = get_type_hints(SampleIn, include_extras=True)
# What each column is compared with.
FIELDS: dict[str, Any] = {
    name: next(iter(get_args(_HINTS[name])), _HINTS[name]) for name in SampleIn.model_fields if name not in _DOCUMENTS
}
