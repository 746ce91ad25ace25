"""What an outbox needs of each database: the order of a key's transactions, and one clock for all relays."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from querywright.errors import ConfigurationError
from querywright.models.types import UTCDateTime

__all__ = ["OutboxDialect", "dialect_of", "own_clock"]


@dataclass(frozen=True)
class OutboxDialect:
    """What one database does.

    Attributes:
        order_key: Lets the transactions that add to one key of a table follow each other, until they end.
        clock: Tells the time that leases and retries are measured with.
    """

    order_key: Callable[[Session, str, str], object]
    clock: Callable[[Session], dt.datetime]


def dialect_of(session: Session) -> OutboxDialect:
    """Look up what the database of a session does.

    Raises:
        ConfigurationError: There is no outbox for it.
    """
    name = session.get_bind().dialect.name
    if name not in _DIALECTS:
        hint = f"There is one for {' and '.join(_DIALECTS)}."
        raise ConfigurationError(f"There is no outbox on {name}.", hint=hint)
    return _DIALECTS[name]


def own_clock(_session: Session) -> dt.datetime:
    """Return the time of this machine."""
    return dt.datetime.now(dt.timezone.utc)


def _server_clock(session: Session) -> dt.datetime:
    # Leases would overlap if each relay trusted the clock of its own machine.
    return session.execute(select(func.clock_timestamp(type_=UTCDateTime()))).scalar_one()


def _lock_key(session: Session, table: str, key: str) -> None:
    """Wait for other transactions that have added to this key.

    Without it, a position is drawn before its row can be seen: of two transactions the one with the later position
    could commit first, and be published first.
    """
    # A text that is not Unicode is refused by the driver a moment later.
    digest = hashlib.blake2b(f"{table}\0{key}".encode(errors="surrogatepass"), digest_size=8).digest()
    session.execute(select(func.pg_advisory_xact_lock(int.from_bytes(digest, "big", signed=True))))


def _has_one_writer(_session: Session, _table: str, _key: str) -> None:
    """Do nothing: SQLite's writing transactions follow each other."""


_DIALECTS = {
    "postgresql": OutboxDialect(_lock_key, _server_clock),
    # All relays of a SQLite file are on one machine.
    "sqlite": OutboxDialect(_has_one_writer, own_clock),
}
