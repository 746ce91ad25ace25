"""What an outbox needs of its database: the order of a key's transactions, and one clock for all relays."""

from __future__ import annotations

import datetime as dt

from sqlalchemy.orm import Session

from querywright.engine.databases.backend import Backend
from querywright.engine.databases.lookup import BACKENDS, backend_of
from querywright.errors import ConfigurationError
from querywright.session.units.locks import lock_key

__all__ = ["clock_of", "keep_order", "own_clock", "require_outbox"]

# Keeps the locks of outboxes apart from those of applications.
_OUTBOX = "querywright.outbox"


def require_outbox(session: Session) -> Backend:
    """Refuse a database for which there is no outbox.

    Raises:
        ConfigurationError: There is none.
    """
    backend = backend_of(session.get_bind().dialect)
    if backend.clock is None:
        known = [each.name for each in BACKENDS.values() if each.clock is not None]
        hint = f"There is one for {' and '.join(known)}."
        raise ConfigurationError(f"There is no outbox on {backend.name}.", hint=hint)
    return backend


def keep_order(session: Session, table: str, key: str) -> None:
    """Wait for other transactions that have added to a key of a table, until they end.

    Without it, a position is drawn before its row can be seen: of two transactions the one with the later position
    could commit first, and be published first.
    """
    lock = require_outbox(session).advisory_lock
    assert lock is not None  # noqa: S101 - all that have a clock have it
    lock(session.connection(), lock_key(_OUTBOX, table, key), True)


def clock_of(session: Session) -> dt.datetime:
    """Return the time that leases and retries are measured with.

    Raises:
        ConfigurationError: There is no outbox on this database.
    """
    clock = require_outbox(session).clock
    assert clock is not None  # noqa: S101 - or there would be no outbox
    return clock(session.connection())


def own_clock(_session: Session) -> dt.datetime:
    """Return the time of this machine."""
    return dt.datetime.now(dt.timezone.utc)
