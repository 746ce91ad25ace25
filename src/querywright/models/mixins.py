"""Mixins that most tables want: when a row was written, and a key that needs no round trip."""

from __future__ import annotations

import datetime as dt
import os
import time
import uuid

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from querywright.models.types import UTCDateTime

__all__ = ["Timestamps", "UUIDKey", "uuid7"]

_RANDOM_A_BITS = 12
_RANDOM_B_BITS = 62


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
