"""One run of a relay: claim, publish, settle; one transaction settles what has ended and claims what comes next."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import Table
from sqlalchemy.orm import Session

from querywright.backoff import backoff
from querywright.engine.databases.errors import classify
from querywright.engine.reports import report_of
from querywright.errors import CommitOutcomeUnknown, DatabaseUnavailable
from querywright.events import MessagePublished, RelayPaused, emit
from querywright.outbox.claiming import Claimed, Turn, claim, purge, settle
from querywright.outbox.delivery import Claim, Outcome, RelayOptions, settlement
from querywright.outbox.messages import Message
from querywright.session import AsyncDatabase, Database

__all__ = ["Bench", "Worker"]

_log = logging.getLogger("querywright")
Result = TypeVar("Result")

# Seconds: background work backs off further than a request would (DBConnection's defaults are 1 and 30).
_RECONNECT_BASE = 1.0
_RECONNECT_CAP = 30.0
_PURGE_EVERY = 10.0


@dataclass(frozen=True)
class Bench:
    """What a worker works with; see `querywright.outbox.Relay`."""

    table: Table
    db: Database | AsyncDatabase
    publish: Callable[[Message], Any]
    options: RelayOptions
    clock: Callable[[Session], dt.datetime]
    random: Callable[[], float]

    async def transact(self, work: Callable[[Session], Result]) -> Result:
        """Run synchronous work in a transaction of either kind of database."""
        if isinstance(self.db, AsyncDatabase):
            async with self.db.transaction() as tx:
                return await tx.run_sync(work)
        return await asyncio.to_thread(_in_transaction, self.db, work)


class Worker:
    """One run of a relay, on one event loop."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._publishing: dict[asyncio.Task[Outcome], Claim] = {}
        self._unsettled: list[Outcome] = []
        # Its own: slow brokers must not take the threads that statements run in.
        self._threads = ThreadPoolExecutor(bench.options.concurrency, thread_name_prefix="querywright-relay")
        self._closing = False
        self._turn: Turn = "others"
        self._published = 0
        self._failures = 0
        self._purged_at = float("-inf")

    def wake(self) -> None:
        """Look for messages now; may be called from any thread."""
        # A loop that was closed without ending its tasks.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._changed.set)

    def abandon(self) -> None:
        """Take no more messages, and give back those in flight."""
        self._closing = True
        for task in self._publishing:
            task.cancel()
        self._changed.set()

    def _finish(self) -> None:
        """Take no more messages, and finish those in flight."""
        self._closing = True
        self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until told to stop."""
        self._closing |= stop.is_set()
        stopping = self._loop.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._finish())
        try:
            async with self._giving_back():
                while not self._closing:
                    await self._wait(await self._exchange_or_pause())
        finally:
            stopping.cancel()

    async def drain(self) -> int:
        """Publish until nothing is due."""
        async with self._giving_back():
            while await self._exchange() or self._publishing:
                if self._publishing:
                    await self._wait(None)
        return self._published

    @asynccontextmanager
    async def _giving_back(self) -> AsyncIterator[None]:
        """Settle what is in flight when the block ends, and give it back if it fails."""
        try:
            yield
        except BaseException:
            self.abandon()
            raise
        finally:
            self._closing = True
            if self._publishing:
                # Bounded, for a publish may ignore its cancellation.
                await asyncio.wait(self._publishing, timeout=self._bench.options.lease)
            try:
                await self._exchange()
            except Exception as error:
                # What could not be written down is published again when its lease ends.
                if not _is_temporary(error):
                    raise
            finally:
                self._threads.shutdown(wait=False, cancel_futures=True)

    async def _exchange_or_pause(self) -> float:
        """Exchange, and return the seconds to wait before the next time, also if the database cannot be reached."""
        try:
            await self._exchange()
        except Exception as error:
            if not _is_temporary(error):
                raise
            self._failures += 1
            delay = backoff(self._failures, base=_RECONNECT_BASE, cap=_RECONNECT_CAP, random=self._bench.random)
            _log.warning("A relay waits %.1f s for its database: %s", delay, report_of(error))
            emit(RelayPaused(type(error).__name__, delay))
            return delay
        self._failures = 0
        return self._bench.options.poll

    async def _exchange(self) -> bool:
        """Settle what has ended and claim as much as can be published at once, in one transaction.

        Returns:
            Whether it found anything to do; if so, the next of a key may be due.
        """
        self._collect()
        outcomes = tuple(self._unsettled)
        free = self._free()
        if not outcomes and not free:
            return False
        started = time.monotonic()
        got = await self._bench.transact(lambda session: self._settle_and_claim(session, outcomes, free))
        del self._unsettled[: len(outcomes)]
        if got.claims:
            self._turn = "others" if got.suspected else "suspected"
        for claimed in got.claims:
            self._begin(claimed, started + self._bench.options.lease)
        for event in got.events:
            self._published += isinstance(event, MessagePublished)
            emit(event)
        if got.more:
            self._changed.set()
        return bool(got.claims or got.events)

    def _free(self) -> int:
        """Count the messages that may join those in flight; a suspected one stays alone."""
        alone = bool(self._publishing) and self._turn == "others"
        return 0 if self._closing or alone else self._bench.options.concurrency - len(self._publishing)

    def _settle_and_claim(self, session: Session, outcomes: tuple[Outcome, ...], free: int) -> Claimed:
        bench, options = self._bench, self._bench.options
        now = bench.clock(session)
        settlements = [settlement(outcome, now=now, options=options, random=bench.random) for outcome in outcomes]
        events = settle(session, bench.table, settlements)
        turn = "busy" if self._publishing else self._turn
        claimed = claim(session, bench.table, free, now=now, options=options, turn=turn) if free else Claimed()
        if options.retain and time.monotonic() - self._purged_at >= _PURGE_EVERY:
            self._purged_at = time.monotonic()
            purge(session, bench.table, now - dt.timedelta(seconds=options.retain))
        return replace(claimed, events=events + claimed.events)

    def _collect(self) -> None:
        for task in [task for task in self._publishing if task.done()]:
            claimed = self._publishing.pop(task)
            # A task that is cancelled before its first step does not even begin.
            self._unsettled.append(Outcome(claimed, "released") if task.cancelled() else task.result())

    def _begin(self, claimed: Claim, deadline: float) -> None:
        """Start publishing; what was claimed while the relay was told to stop is given back at once."""
        if self._closing:
            self._unsettled.append(Outcome(claimed, "released"))
            return
        task = self._loop.create_task(self._publish(claimed, deadline))
        task.add_done_callback(lambda _: self._changed.set())
        self._publishing[task] = claimed

    async def _publish(self, claimed: Claim, deadline: float) -> Outcome:
        """Publish one message, as long as nobody else may."""
        seconds = min(self._bench.options.timeout, deadline - time.monotonic())
        try:
            await asyncio.wait_for(self._call(claimed.message), seconds)
        except asyncio.CancelledError as error:
            # Unless the relay ends it, a cancellation comes from inside of publish.
            return Outcome(claimed, "released") if self._closing else Outcome(claimed, "failed", type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whatever it is, the message has not been published
            return Outcome(claimed, "failed", type(error).__name__)
        return Outcome(claimed, "published")

    async def _call(self, message: Message) -> None:
        publish = self._bench.publish
        if _is_async(publish):
            await publish(message)
            return
        result = await self._loop.run_in_executor(self._threads, publish, message)
        if inspect.isawaitable(result):
            await result

    async def _wait(self, seconds: float | None) -> None:
        """Wait until a message was published, someone calls, or the time is over."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
        self._changed.clear()


def _in_transaction(db: Database, work: Callable[[Session], Result]) -> Result:
    with db.transaction() as tx:
        return work(tx)


def _is_async(publish: Callable[..., object]) -> bool:
    """Recognise coroutine functions, and objects whose ``__call__`` is one."""
    return inspect.iscoroutinefunction(publish) or inspect.iscoroutinefunction(getattr(publish, "__call__", None))  # noqa: B004 - its kind is asked


def _is_temporary(error: Exception) -> bool:
    # After a COMMIT without an answer, what was claimed comes back with the end of its lease.
    return isinstance(classify(error) or error, (DatabaseUnavailable, CommitOutcomeUnknown))
