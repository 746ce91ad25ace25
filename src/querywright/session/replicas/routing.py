"""Choose where to read: a replica that has what the client must see, or else the primary (PostgreSQL).

Each replica is asked how far it has come. One that keeps silent is waited for once, by all who ask at that time and not
longer than ``patience``; from then on it is asked again from time to time, while nobody waits, until it has answered.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from threading import Thread
from typing import Any, Generic, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.util import await_only, greenlet_spawn

from querywright.engine.databases.lookup import backend_of
from querywright.engine.reports import report_of
from querywright.errors import ConfigurationError, DatabaseUnavailable
from querywright.session.aio import AsyncDatabase
from querywright.session.database import Database
from querywright.session.replicas.standing import Position, foreign, position_of, replayed_by

__all__ = ["AsyncReplicas", "Replicas"]

_log = logging.getLogger("querywright")
AnyDatabase = TypeVar("AnyDatabase", bound=Database | AsyncDatabase)
_FAILURES = (SQLAlchemyError, OSError)


class _Routing(Generic[AnyDatabase]):
    """What both kinds have in common; written for synchronous engines."""

    def __init__(
        self,
        primary: AnyDatabase,
        *replicas: AnyDatabase,
        fallback: bool = True,
        rest: float = 5.0,
        patience: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for db in (primary, *replicas):
            if not backend_of(db.engine.dialect).has_standbys:
                raise ConfigurationError(f"{db!r} has no positions to compare.", hint="Replicas are for PostgreSQL.")
        self.primary = primary
        self.replicas = replicas
        self._fallback = fallback
        self._rest = rest
        self._patience = patience
        self._clock = clock
        self._turns = itertools.count()
        # By the numbers of replicas that have not answered last time, when they are asked again.
        self._resting: dict[int, float] = {}
        # By the same, since when a replica has not answered: who comes later need not wait as long as the first.
        self._silent_since: dict[int, float] = {}
        self._latest: Position | None = None
        # The event loop keeps no task alive by itself.
        self._asking: set[asyncio.Task[Any]] = set()

    def _position(self) -> str:
        self._latest = position_of(_engine(self.primary))
        return str(self._latest)

    def _reader(self, after: str | None) -> AnyDatabase:
        wanted = None if after is None else Position.read(after)
        for number in self._in_turn():
            position = self._asked(number)
            if position is not None and (wanted is None or position.includes(wanted)):
                return self.replicas[number]
        if wanted is not None:
            self._require_given_out(wanted)
        if self._fallback:
            return self.primary
        raise DatabaseUnavailable("No replica has what was written; none may be up.")

    def _require_given_out(self, wanted: Position) -> None:
        """Refuse a position that the primary has never reached: whoever invents one would keep all replicas idle."""
        if self._latest is None or not self._latest.knows(wanted):
            with suppress(*_FAILURES):
                self._position()
                if self._latest is not None and not self._latest.knows(wanted):
                    raise foreign()

    def _in_turn(self) -> Iterator[int]:
        """List the replicas that are not left alone for a while, each time beginning with another."""
        count = len(self.replicas)
        first = next(self._turns)
        for step in range(count):
            number = (first + step) % count
            until = self._resting.get(number)
            if until is None:
                yield number
            elif until <= self._clock():
                self._resting[number] = self._clock() + self._rest
                self._begin(number)

    def _asked(self, number: int) -> Position | None:
        since = self._silent_since.setdefault(number, self._clock())
        asking = self._begin(number)
        if not self._ends_in_time(asking, since + self._patience - self._clock()):
            self._leave_alone(number, f"no answer within {self._patience:g} s")
            return None
        position: Position | None = asking.result()
        return position

    def _ask(self, number: int) -> Position | None:
        begun = self._clock()
        try:
            position = replayed_by(_engine(self.replicas[number]))
        except _FAILURES as error:
            self._leave_alone(number, report_of(error))
            return None
        finally:
            self._silent_since.pop(number, None)
        if self._clock() - begun <= self._patience and self._resting.pop(number, None) is not None:
            _log.info("%r answers again.", self.replicas[number])
        return position

    def _leave_alone(self, number: int, reason: str) -> None:
        was_asked = number not in self._resting
        self._resting[number] = self._clock() + self._rest
        if was_asked:
            # Once, however many wait for it and however long it stays so.
            message = "%r is left alone, and asked again every %g s: %s"
            _log.warning(message, self.replicas[number], self._rest, reason)

    def _begin(self, number: int) -> Any:
        """Begin to ask a replica, beside the caller."""
        raise NotImplementedError

    def _ends_in_time(self, asking: Any, seconds: float) -> bool:
        """Wait for the answer as long as is worth it."""
        raise NotImplementedError


def _engine(db: Database | AsyncDatabase) -> Engine:
    return db.engine.sync_engine if isinstance(db, AsyncDatabase) else db.engine


class Replicas(_Routing[Database]):
    """A primary and its replicas, for clients that must see what they have written.

    A replica is behind its primary by some time, and nobody knows how much. So a client that has written is given the
    primary's position, brings it along with its next request, and is only sent to a replica that has come this far.

    Args:
        primary: Takes the writes.
        *replicas: Take reads, in turns.
        fallback: Whether the primary takes the reads that no replica can take; otherwise they are refused.
        rest: Seconds for which a replica that did not answer is left alone.
        patience: Seconds that a replica may take to answer; one that did not is asked again while nobody waits for it.
        clock: The time in seconds.

    Raises:
        ConfigurationError: A database is not PostgreSQL.
    """

    def position(self) -> str:
        """Return how far the primary has come; to be asked after a commit, and with ``synchronous_commit`` on."""
        return self._position()

    def reader(self, after: str | None = None) -> Database:
        """Choose the database to read from.

        Args:
            after: The position that a client brought along, if it has written before.

        Raises:
            InvalidRequest: That is no position, or none that the primary has reached.
            DatabaseUnavailable: No replica has come this far, and the primary is not to take its place.
        """
        return self._reader(after)

    def _begin(self, number: int) -> Future[Position | None]:
        asking: Future[Position | None] = Future()

        def ask() -> None:
            try:
                asking.set_result(self._ask(number))
            except BaseException as error:  # noqa: BLE001 - it is raised where the answer is read
                asking.set_exception(error)

        # No thread of a pool: the interpreter would wait for it at its end.
        Thread(target=ask, name="querywright-replica", daemon=True).start()
        return asking

    def _ends_in_time(self, asking: Future[Position | None], seconds: float) -> bool:
        with suppress(TimeoutError, FutureTimeoutError):
            asking.exception(max(0.0, seconds))
        return asking.done()


class AsyncReplicas(_Routing[AsyncDatabase]):
    """The same as `Replicas`, to await."""

    async def position(self) -> str:
        """Return how far the primary has come; to be asked after a commit, and with ``synchronous_commit`` on."""
        return await greenlet_spawn(self._position)

    async def reader(self, after: str | None = None) -> AsyncDatabase:
        """Choose the database to read from.

        Args:
            after: The position that a client brought along, if it has written before.

        Raises:
            InvalidRequest: That is no position, or none that the primary has reached.
            DatabaseUnavailable: No replica has come this far, and the primary is not to take its place.
        """
        return await greenlet_spawn(self._reader, after)

    def _begin(self, number: int) -> asyncio.Task[Position | None]:
        asking = asyncio.get_running_loop().create_task(greenlet_spawn(self._ask, number))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        return asking

    def _ends_in_time(self, asking: asyncio.Task[Position | None], seconds: float) -> bool:
        # Not cancelled: to cancel the statement, the driver would ask the server again.
        await_only(asyncio.wait({asking}, timeout=max(0.0, seconds)))
        return asking.done()
