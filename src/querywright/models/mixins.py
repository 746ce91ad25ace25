"""Mixins that most tables want: when a row was written, a key that needs no round trip, a version to lock by."""

from __future__ import annotations

import datetime as dt
import os
import secrets
import time
import uuid
from typing import Any, ClassVar

from sqlalchemy import func
from sqlalchemy.orm import Mapped, Mapper, mapped_column

from querywright.errors import ConfigurationError
from querywright.models.types import UTCDateTime

__all__ = ["Timestamps", "UUIDKey", "Versioned", "uuid7"]

_RANDOM_A_BITS = 12
_RANDOM_B_BITS = 62
# Leaves as many to count to in an INTEGER.
_FIRST_VERSIONS = 2**30


def uuid7() -> uuid.UUID:
    """Make a UUID that sorts by creation time (RFC 9562, section 5.7).

    The millisecond clock is followed by 12 bits of its fraction (section 6.2, method 3) and 62 random bits, so
    inserts land at the right edge of an index instead of anywhere in it.

    Example:
        >>> uuid7().version
        7
    """
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = (rest << _RANDOM_A_BITS) // 1_000_000
    random = int.from_bytes(os.urandom(8), "big") >> (64 - _RANDOM_B_BITS)
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | random)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)


class UUIDKey:
    """A primary key ``id`` of type UUIDv7, made in Python: known before the INSERT, in index order.

    Example:
        >>> from querywright import Base
        >>> class Ticket(UUIDKey, Base):
        ...     __tablename__ = "ticket"
        >>> Ticket.__table__.primary_key.columns.keys()
        ['id']
    """

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7, sort_order=-1)


class Timestamps:
    """``created_at`` and ``updated_at``, aware and in UTC, also for rows written by plain SQL.

    Example:
        >>> from querywright import Base
        >>> class Article(Timestamps, UUIDKey, Base):
        ...     __tablename__ = "article"
        >>> Article.__table__.columns.keys()
        ['id', 'created_at', 'updated_at']
    """

    created_at: Mapped[dt.datetime] = mapped_column(
        UTCDateTime(), default=_now, server_default=func.now(), sort_order=1000
    )
    updated_at: Mapped[dt.datetime] = mapped_column(
        UTCDateTime(), default=_now, onupdate=_now, server_default=func.now(), sort_order=1001
    )


def _next_version(version: int | None = None) -> int:
    return secrets.randbelow(_FIRST_VERSIONS) + 1 if version is None else version + 1


class Versioned:
    """A ``version`` that counts the flushes of a row, so that nobody overwrites what they have not read.

    It begins with a random number: a row that gets the key of a deleted one, as SQLite gives it again, is another row,
    and has none of its versions. Rows of plain SQL begin with 1, unless that says otherwise.
    A flush updates or deletes the row only if it still has the version that was read, and raises `StaleData`
    otherwise. UPDATE statements of your own have to count by themselves: ``.values(version=Post.version + 1)``.
    ``__mapper_args__`` of the class or of other mixins are kept.

    Example:
        >>> from querywright import Base
        >>> class Draft(Versioned, UUIDKey, Base):
        ...     __tablename__ = "draft"
        >>> Draft.__mapper__.version_id_col.name
        'version'
    """

    version: Mapped[int] = mapped_column(default=_next_version, server_default="1", sort_order=1002)

    __mapper_args__: ClassVar[dict[str, Any]] = {"version_id_col": version, "version_id_generator": _next_version}

    def __init_subclass__(cls, **options: Any) -> None:
        """Combine with other ``__mapper_args__``, of which Python's attribute lookup would find only the first."""
        mapper: Mapper[Any] | None = getattr(cls, "__mapper__", None)
        if mapper is None:
            counted = {"version_id_generator": _next_version, **cls.__mapper_args__}
            cls.__mapper_args__ = {**counted, "version_id_col": cls.version}
        elif mapper.version_id_col is None:
            message = f"{cls.__name__} is mapped without its version."
            raise ConfigurationError(
                message, hint="Name Versioned before the declarative base: class Post(Versioned, Base)."
            )
        super().__init_subclass__(**options)
