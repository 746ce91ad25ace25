"""The declarative base: named constraints and a type for every common annotation."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from typing import Any, ClassVar

from sqlalchemy import Double, Enum, MetaData, Uuid
from sqlalchemy.orm import DeclarativeBase

from querywright.models.types import Document, ExactDecimal, UTCDateTime

__all__ = ["NAMING_CONVENTION", "TYPE_ANNOTATION_MAP", "Base"]

# Without names, a constraint cannot be dropped or changed by a migration
# (https://alembic.sqlalchemy.org/en/latest/naming.html).
NAMING_CONVENTION = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


TYPE_ANNOTATION_MAP: dict[Any, Any] = {
    dt.datetime: UTCDateTime(),
    decimal.Decimal: ExactDecimal(),
    # SQLAlchemy's Float has six digits on MySQL and MariaDB.
    float: Double(),
    uuid.UUID: Uuid(),
    # A string: a native enum type cannot lose a value without a table rewrite, a check constraint not gain one.
    enum.Enum: Enum(enum.Enum, native_enum=False, length=64, validate_strings=True),
    dict[str, Any]: Document(),
    dict: Document(),
    list[Any]: Document(),
    list: Document(),
}


class Base(DeclarativeBase):
    """SQLAlchemy's declarative base with named constraints and a complete type map.

    ``datetime`` becomes an aware UTC timestamp on every database, ``Decimal`` an exact number, ``UUID`` the
    native type where there is one, an enum the name of its member, ``dict`` and ``list`` JSON (JSONB on PostgreSQL).
    A base of one's own gets the same from ``metadata = MetaData(naming_convention=NAMING_CONVENTION)`` and
    ``type_annotation_map = TYPE_ANNOTATION_MAP``.

    Example:
        >>> from querywright import Timestamps, UUIDKey
        >>> class Invoice(UUIDKey, Timestamps, Base):
        ...     __tablename__ = "invoice"
        >>> Invoice.__table__.primary_key.name
        'pk_invoice'
        >>> Invoice.__table__.c.created_at.type
        UTCDateTime(timezone=True)
    """

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = TYPE_ANNOTATION_MAP
