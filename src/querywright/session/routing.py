"""Choose where to read: a replica that has what the client must see, or else the primary (PostgreSQL)."""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.util import greenlet_spawn

from querywright.engine.dialect import AUTOCOMMIT_OPTIONS
from querywright.engine.reports import report_of
from querywright.errors import ConfigurationError, DatabaseUnavailable, InvalidRequest
from querywright.session.aio import AsyncDatabase
from querywright.session.database import Database

__all__ = ["AsyncReplicas", "Replicas"]

_log = logging.getLogger("querywright")
AnyDatabase = TypeVar("AnyDatabase", bound=Database | AsyncDatabase)

# Of the WAL that is on the primary's disk: the insert position can be ahead of all that replicas are sent.
_POSITION = text("SELECT CAST(pg_current_wal_flush_lsn() AS text)")
_HAS_REPLAYED = text(
    "SELECT pg_is_in_recovery() AND coalesce(pg_last_wal_replay_lsn() >= CAST(CAST(:after AS text) AS pg_lsn), true)"
)
# How PostgreSQL writes a position: two hexadecimal numbers.
_WRITTEN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")


class _Routing(Generic[AnyDatabase]):
    """What both kinds have in common; written for synchronous engines."""

    def __init__(
        self,
        primary: AnyDatabase,
        *replicas: AnyDatabase,
        fallback: bool = True,
        rest: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for db in (primary, *replicas):
            if db.engine.dialect.name != "postgresql":
                raise ConfigurationError(f"{db!r} has no positions to compare.", hint="Replicas are for PostgreSQL.")
        self.primary = primary
        self.replicas = replicas
        self._fallback = fallback
        self._rest = rest
        self._clock = clock
        self._turns = itertools.count()
        self._resting: dict[int, float] = {}

    def _position(self) -> str:
        with _engine(self.primary).connect() as connection:
            connection.execution_options(**AUTOCOMMIT_OPTIONS["postgresql"])
            return str(connection.execute(_POSITION).scalar_one())

    def _reader(self, after: str | None) -> AnyDatabase:
        if after is not None and not _WRITTEN.fullmatch(after):
            raise InvalidRequest("This is no position that was given out.")
        for number in self._in_turn():
            try:
                if _has_replayed(_engine(self.replicas[number]), after):
                    return self.replicas[number]
            except (SQLAlchemyError, OSError) as error:
                self._resting[number] = self._clock() + self._rest
                _log.warning("%r is left alone for %g s: %s", self.replicas[number], self._rest, report_of(error))
        if self._fallback:
            return self.primary
        raise DatabaseUnavailable("No replica has what was written; none may be up.")

    def _in_turn(self) -> Iterator[int]:
        """List the replicas that are not left alone for a while, each time beginning with another."""
        count = len(self.replicas)
        first = next(self._turns)
        for step in range(count):
            number = (first + step) % count
            if self._resting.get(number, 0.0) <= self._clock():
                yield number


def _engine(db: Database | AsyncDatabase) -> Engine:
    return db.engine.sync_engine if isinstance(db, AsyncDatabase) else db.engine


def _has_replayed(engine: Engine, after: str | None) -> bool:
    with engine.connect() as connection:
        connection.execution_options(**AUTOCOMMIT_OPTIONS["postgresql"])
        return bool(connection.execute(_HAS_REPLAYED, {"after": after}).scalar_one())


class Replicas(_Routing[Database]):
    """A primary and its replicas, for clients that must see what they have written.

    A replica is behind its primary by some time, and nobody knows how much. So a client that has written is given the
    primary's position, brings it along with its next request, and is only sent to a replica that has come this far.

    Args:
        primary: Takes the writes.
        *replicas: Take reads, in turns.
        fallback: Whether the primary takes the reads that no replica can take; otherwise they are refused.
        rest: Seconds for which a replica that did not answer is left alone.
        clock: The time in seconds.

    Raises:
        ConfigurationError: A database is not PostgreSQL.
    """

    def position(self) -> str:
        """Say how far the primary has come; to be asked after a commit, and with ``synchronous_commit`` on."""
        return self._position()

    def reader(self, after: str | None = None) -> Database:
        """Choose the database to read from.

        Args:
            after: The position that a client brought along, if it has written before.

        Raises:
            InvalidRequest: That is no position.
            DatabaseUnavailable: No replica has come this far, and the primary is not to take its place.
        """
        return self._reader(after)


class AsyncReplicas(_Routing[AsyncDatabase]):
    """The same as `Replicas`, to await."""

    async def position(self) -> str:
        """Say how far the primary has come; to be asked after a commit, and with ``synchronous_commit`` on."""
        return await greenlet_spawn(self._position)

    async def reader(self, after: str | None = None) -> AsyncDatabase:
        """Choose the database to read from.

        Args:
            after: The position that a client brought along, if it has written before.

        Raises:
            InvalidRequest: That is no position.
            DatabaseUnavailable: No replica has come this far, and the primary is not to take its place.
        """
        return await greenlet_spawn(self._reader, after)
