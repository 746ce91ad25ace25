"""psycopg: with every call bounded and every moment checked.

psycopg has no limit of its own but for connecting.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

import psycopg
from psycopg import generators, waiting
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.types.datetime import DatetimeDumper
from sqlalchemy import Dialect, Engine, event
from typing_extensions import override

from querywright.engine.completion import to_the_end
from querywright.engine.drivers.driver import Rows, State, unwrapped
from querywright.engine.drivers.libpq import ACTIVE, INERROR, INTRANS, Libpq, shut, unusual
from querywright.engine.drivers.reading import OBJECT, Reader
from querywright.engine.limits import Limits
from querywright.engine.tls import Tls
from querywright.settings import DatabaseSettings

__all__ = ["ASYNC", "SYNC", "BoundedAsyncConnection", "BoundedConnection"]

# Seconds between two looks at the clock; psycopg's own choice.
_INTERVAL = 0.1
T = TypeVar("T")
Steps = Generator[Any, Any, T]


class _Bounded(psycopg.BaseConnection[Any]):
    limits: ClassVar[Limits]
    _waits = False
    _ended = False

    def _end_wait(self) -> None:
        self._waits = False
        if self._ended:
            self.pgconn.finish()

    def _may_finish(self) -> bool:
        """Return whether nobody waits for the server: psycopg's C code would go on with memory that finish() frees.

        Whoever waits has an error at once, and closes the connection then.
        """
        self._ended = True
        if self._waits:
            # The wait may have ended since.
            with suppress(psycopg.Error):
                shut(self.pgconn.socket)
        return not self._waits

    def _bounded(self, steps: Steps[T], limit: float | None) -> Steps[T]:
        """Run a generator of psycopg's protocol until nothing has come for so many seconds.

        psycopg resumes it with what is ready, or every tenth of a second with nothing.
        """
        silent_since = 0.0
        error: type[psycopg.Error] = psycopg.OperationalError
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                if ready is None:
                    # Begun to wait anew: psycopg was interrupted, has sent a cancel request, and expects this error.
                    limit, silent_since, error = self.limits.connect, 0.0, psycopg.errors.QueryCanceled
                if ready:
                    silent_since = 0.0
                elif limit is not None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                    now = time.monotonic()
                    silent_since = silent_since or now
                    if now - silent_since >= limit:
                        self.pgconn.finish()
                        raise error("the server did not answer in time")
                wanted = steps.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result

    def _exec_command(self, *args: Any, **options: Any) -> Any:
        """Bound BEGIN, COMMIT and ROLLBACK even where statements have no limit."""
        steps = super()._exec_command(*args, **options)
        return steps if self.limits.statement else self._bounded(steps, self.limits.command)

    def _set_read_only_gen(self, value: bool | None) -> Any:  # noqa: FBT001 - psycopg's own
        # SQLAlchemy takes it back by False, which psycopg sends as READ WRITE: that lifts the default of a role, and a
        # standby refuses it.
        return super()._set_read_only_gen(value or None)

    def _set_deferrable_gen(self, value: bool | None) -> Any:  # noqa: FBT001 - as above
        return super()._set_deferrable_gen(value or None)

    def _quickly(self, command: str) -> Steps[None]:
        return self._bounded(self._run_all(command), self.limits.connect)

    def _run_all(self, command: str) -> Steps[None]:
        """Run one command or several, in one message."""
        self.pgconn.send_query(command.encode())
        results = yield from generators.execute(self.pgconn)
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                raise error_from_result(result)


class BoundedConnection(_Bounded, psycopg.Connection[Any]):
    """A synchronous connection whose calls all end.

    Attributes:
        limits: How long each call may take.
    """

    def wait(self, gen: Steps[T], *args: Any, **options: Any) -> T:
        """Wait for the server, not longer than the limit."""
        self._waits = True
        try:
            return super().wait(self._bounded(gen, self.limits.statement), *args, **options)
        finally:
            self._end_wait()

    def close(self) -> None:
        """Close, at once or when the thread that waits for the server has had its error."""
        if self._may_finish():
            super().close()

    def quickly(self, command: str) -> None:
        """Run what never takes long, outside of a transaction and not longer than the limit for connecting."""
        with self.lock:
            self.wait(self._quickly(command))

    def _try_cancel(self, *, timeout: float = 5.0) -> None:
        super()._try_cancel(timeout=min(timeout, self.limits.connect))


class BoundedAsyncConnection(_Bounded, psycopg.AsyncConnection[Any]):
    """An asynchronous connection whose calls all end.

    Attributes:
        limits: How long each call may take.
    """

    async def wait(  # type: ignore[override] # newer versions have a timeout as well
        self, gen: Steps[T], interval: float = _INTERVAL, **options: Any
    ) -> T:
        """Wait for the server, not longer than the limit.

        As psycopg's own, but a cancellation that comes while the first one is obeyed does not interrupt that: psycopg
        would close the connection and warn of it, before 3.3.9 keep it in a state of which it knows nothing. anyio
        cancels at every await.
        """
        steps = self._bounded(gen, self.limits.statement)
        self._waits = True
        try:
            return await waiting.wait_async(steps, self.pgconn.socket, interval, **options)
        except asyncio.CancelledError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                await to_the_end(self._interrupt(steps, interval))
            raise
        finally:
            self._end_wait()

    async def close(self) -> None:
        """Close, at once or when the task that waits for the server has had its error."""
        if self._may_finish():
            await super().close()

    async def _interrupt(self, steps: Steps[Any], interval: float) -> None:
        """Cancel the statement on the server and read its end, or close the connection."""
        try:
            await self._try_cancel(timeout=self.limits.connect)
            await waiting.wait_async(steps, self.pgconn.socket, interval)
        except psycopg.errors.QueryCanceled:
            pass
        except Exception:  # noqa: BLE001 - the cancellation is what the caller hears of
            self.pgconn.finish()

    async def quickly(self, command: str) -> None:
        """Run what never takes long, outside of a transaction and not longer than the limit for connecting."""
        async with self.lock:
            await self.wait(self._quickly(command))

    async def set_autocommit(self, value: bool) -> None:  # noqa: FBT001 - psycopg's own
        """As psycopg's own, and the next three: but they wait for nothing, so that no cancellation comes after them.

        On a busy event loop psycopg lets others run then: the caller would hear that it was not set.
        """
        await self._at_once(self._set_autocommit_gen(value))

    async def set_isolation_level(self, value: psycopg.IsolationLevel | None) -> None:
        """Set the isolation level of transactions to come."""
        await self._at_once(self._set_isolation_level_gen(value))

    async def set_read_only(self, value: bool | None) -> None:  # noqa: FBT001 - psycopg's own
        """Set whether transactions to come only read."""
        await self._at_once(self._set_read_only_gen(value))

    async def set_deferrable(self, value: bool | None) -> None:  # noqa: FBT001 - psycopg's own
        """Set whether transactions to come may wait until they collide with none."""
        await self._at_once(self._set_deferrable_gen(value))

    async def _at_once(self, steps: Steps[None]) -> None:
        async with self.lock:
            for _ in steps:
                raise psycopg.NotSupportedError("a pipeline is open")

    async def _try_cancel(self, *, timeout: float = 5.0) -> None:
        await super()._try_cancel(timeout=min(timeout, self.limits.connect))


class _MomentDumper(DatetimeDumper):
    """Refuses a moment that has no date in UTC: PostgreSQL would store a year that Python cannot read again."""

    def dump(self, obj: dt.datetime) -> Any:
        """Write a moment.

        Raises:
            OverflowError: It lies before the year 1 or behind 9999.
        """
        if not dt.MINYEAR < obj.year < dt.MAXYEAR:
            obj.astimezone(dt.timezone.utc)
        return super().dump(obj)


class _Psycopg(Libpq):
    decided = frozenset({"autocommit", "cursor_factory", "row_factory"})
    readers: ClassVar[Mapping[str, Reader]] = {**Libpq.readers, "context": OBJECT}

    @override
    def known_arguments(self) -> set[str]:
        ours = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
        return ours | set(inspect.signature(psycopg.connect).parameters)

    @override
    def arguments(self, settings: DatabaseSettings, session: Mapping[str, Any]) -> dict[str, Any]:
        ours = super().arguments(settings, session)
        return ours | ({"prepare_threshold": None} if settings.pooler else {})

    @override
    def opening(self, dialect: Dialect, limits: Limits, tls: Tls) -> Callable[..., Any]:
        bounded: Any = type("BoundedConnection", (BoundedConnection,), {"limits": limits})
        return bounded.connect  # type: ignore[no-any-return]

    @override
    def install(self, engine: Engine) -> None:
        event.listen(engine, "connect", lambda _, record: _adapt(record.driver_connection))

    @override
    def state(self, dialect: Dialect, lent: Any) -> State:
        driver = unwrapped(lent)
        level = driver.isolation_level.name.replace("_", " ") if driver.isolation_level else None
        settings = (driver.autocommit, unusual(dialect, level), bool(driver.read_only), bool(driver.deferrable))
        rows = (driver.row_factory, driver.cursor_factory)
        status = driver.pgconn.transaction_status
        return State((*settings, *rows, status == ACTIVE), status in {INTRANS, INERROR})

    @override
    def commits_each(self, lent: Any) -> bool:
        return bool(unwrapped(lent).autocommit)

    @override
    def is_closed(self, lent: Any) -> bool:
        return bool(unwrapped(lent).closed)

    @override
    def socket_of(self, lent: Any) -> int | None:
        return int(unwrapped(lent).pgconn.socket)

    @override
    def cut(self, lent: Any) -> None:
        with suppress(psycopg.Error):
            shut(unwrapped(lent).pgconn.socket)

    @override
    def has_lost(self, lent: Any) -> bool:
        # The server would answer the COMMIT with ROLLBACK, and psycopg would not tell.
        return bool(unwrapped(lent).pgconn.transaction_status == INERROR)


class _AsyncPsycopg(_Psycopg):
    @override
    def opening(self, dialect: Dialect, limits: Limits, tls: Tls) -> Callable[..., Any]:
        bounded: Any = type("BoundedConnection", (BoundedAsyncConnection,), {"limits": limits})
        return bounded.connect  # type: ignore[no-any-return]

    @override
    def run_quickly(self, lent: Any, command: str) -> None:
        lent.run_async(lambda driver: driver.quickly(command))

    @override
    def fetch(self, lent: Any, sql: str, parameters: Any) -> Rows:
        rows: Rows = lent.run_async(lambda driver: _fetchall(driver, sql, parameters))
        return rows


async def _fetchall(connection: Any, sql: str, parameters: Any) -> Rows:
    async with connection.cursor() as cursor:
        await cursor.execute(sql, parameters)
        rows: Rows = await cursor.fetchall()
    return rows


def _adapt(connection: psycopg.BaseConnection[Any]) -> None:
    """Let a new connection refuse what could not be read again."""
    connection.adapters.register_dumper(dt.datetime, _MomentDumper)


SYNC = _Psycopg()
ASYNC = _AsyncPsycopg()
