"""Clients that never tire: each sends one request after another, and remembers what it was told."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import anyio
from sqlalchemy import Engine, NullPool, String, create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from typing_extensions import Self

from querywright import AsyncDatabase, AsyncSession, CommitOutcomeUnknown, Database
from querywright.engine import pool_snapshot
from tests.faults.report import Figures

T = TypeVar("T")
AnyDatabase = Database | AsyncDatabase
# Chooses between a size for every day and the full one.
Sized = Callable[[int, int], int]
# Fails if these seconds are more than those, where time is judged.
Within = Callable[[float, float], None]

# After a refusal a client thinks for this many seconds, as one that heeds Retry-After would for longer.
_THINK = 0.02
# Seconds that only a machine on its knees takes.
PATIENT = 120.0
_threads = anyio.CapacityLimiter(64)


class Base(DeclarativeBase):
    pass


class Receipt(Base):
    """One write of one client. The key is not unique, so that a write done twice can be seen."""

    __tablename__ = "receipts"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(40))


@dataclass(frozen=True)
class Answer:
    """What a client was told of one request.

    Attributes:
        key: What it wrote.
        error: Why it failed; ``None`` if it succeeded.
        seconds: How long it waited.
        at: When the answer came, by `time.monotonic`.
    """

    key: str
    error: Exception | None
    seconds: float
    at: float


class Clients:
    """Run so many clients for the length of a block; at its end each finishes its last request.

    Args:
        send: Sends one request with a key of its own, and raises if it fails.
        count: How many clients.
    """

    def __init__(self, send: Callable[[str], Awaitable[object]], count: int = 64) -> None:
        self.answers: list[Answer] = []
        self._send = send
        self._count = count
        self._stopping = False
        self._succeeded = 0
        self._progress = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def acknowledged(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.error is None]

    @property
    def errors(self) -> list[Exception]:
        return [answer.error for answer in self.answers if answer.error is not None]

    @property
    def slowest(self) -> float:
        return max(answer.seconds for answer in self.answers)

    async def succeed(self, times: int) -> None:
        """Wait until so many more requests have succeeded."""
        goal = self._succeeded + times
        self._progress = time.monotonic()
        while self._succeeded < goal:
            assert time.monotonic() - self._progress < PATIENT, f"stuck; last errors: {self.errors[-3:]}"
            await asyncio.sleep(0.005)

    def recovery(self, since: float) -> float:
        """Return the seconds from a moment to the last failure after it."""
        return max((answer.at - since for answer in self.answers if answer.error is not None), default=0.0)

    async def _work(self, number: int) -> None:
        request = 0
        while not self._stopping:
            request += 1
            key = f"{number}-{request}"
            began = time.monotonic()
            error: Exception | None = None
            try:
                await self._send(key)
            except Exception as caught:  # noqa: BLE001 - the test judges it
                error = caught
            now = time.monotonic()
            self.answers.append(Answer(key, error, now - began, now))
            if error is None:
                self._succeeded += 1
                self._progress = now
            await asyncio.sleep(_THINK if error else 0)

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._work(number)) for number in range(self._count)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)


@asynccontextmanager
async def open_database(driver: str, url: Callable[[str], str], **options: Any) -> AsyncIterator[AnyDatabase]:
    """Open a database of ten connections.

    Args:
        driver: As tests name it, such as ``postgresql+psycopg async``.
        url: Makes the URL of a driver.
        options: More of its settings.
    """
    name, _, asynchronous = driver.partition("+")[2].partition(" ")
    options = {"pool_size": 10, "max_overflow": 0, "pool_timeout": 5.0, "application_name": "clients"} | options
    if asynchronous or name == "asyncpg":
        async with AsyncDatabase(url(name), **options) as db:
            yield db
    else:
        with Database(url(name), **options) as sync_db:
            yield sync_db


def insert(session: Session, key: str) -> None:
    """Write a receipt."""
    session.add(Receipt(key=key))
    session.flush()


def read(session: Session, _key: str) -> int | None:
    """Read some receipt."""
    return session.scalar(select(Receipt.id).limit(1))


async def run(db: AnyDatabase, work: Callable[..., T], *arguments: object, **options: Any) -> T:
    """Run a unit of work, written for a plain session, on either kind of database: in this task, or in a thread."""
    if isinstance(db, AsyncDatabase):

        async def unit(tx: AsyncSession, *given: object) -> T:
            return await tx.run_sync(work, *given)

        return await db.run(unit, *arguments, **options)
    return await anyio.to_thread.run_sync(partial(db.run, work, *arguments, **options), limiter=_threads)


class Witness:
    """Someone who looks at the server from outside, on connections of its own."""

    def __init__(self, url: str) -> None:
        self.engine: Engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def prepare(self) -> None:
        """Make the tables anew, and end what an earlier test has left behind."""
        self.terminate(1000)
        with self.engine.begin() as connection:
            Base.metadata.drop_all(connection)
            Base.metadata.create_all(connection)

    def add_all(self, rows: Iterable[Base]) -> None:
        with Session(self.engine) as session:
            session.add_all(rows)
            session.commit()

    def execute(self, sql: str) -> None:
        with self.engine.connect() as connection:
            connection.execute(text(sql))

    def scalar(self, sql: str) -> int:
        with self.engine.connect() as connection:
            return int(connection.scalar(text(sql)) or 0)

    def terminate(self, count: int) -> int:
        """End so many backends of clients, chosen at random; returns how many there were."""
        chosen = "SELECT pid FROM pg_stat_activity WHERE application_name = 'clients' ORDER BY random() LIMIT"
        return self.scalar(f"SELECT count(pg_terminate_backend(pid)) FROM ({chosen} {count}) AS chosen")

    def judge(self, clients: Clients, figures: Figures) -> None:
        """Compare what clients were told with what is there, and write it down."""
        with self.engine.connect() as connection:
            present = Counter(connection.scalars(select(Receipt.key)))
        figures.sent = len(clients.answers)
        figures.acknowledged = len(clients.acknowledged)
        figures.lost = sum(answer.key not in present for answer in clients.acknowledged)
        figures.doubled = sum(times > 1 for times in present.values())
        figures.slowest = clients.slowest
        unknown = [error for error in clients.errors if is_unknown(error)]
        refused = [answer for answer in clients.answers if answer.error is not None and not is_unknown(answer.error)]
        false = [answer.error for answer in refused if answer.key in present]
        figures.notes.append(f"{len(unknown)} unknown, {len(refused)} refused")
        assert not figures.lost, "acknowledged, but not there"
        assert not figures.doubled, "there twice"
        assert not false, f"reported as rolled back, but there: {false[:3]}"

    def leaked(self, db: AnyDatabase) -> int:
        """Count connections that are checked out, or open on the server and in no pool."""
        engine = db.engine.sync_engine if isinstance(db, AsyncDatabase) else db.engine
        deadline = time.monotonic() + 5
        while True:
            pool = pool_snapshot(engine)
            # A backend ends a moment after its client has closed the connection.
            beyond = self.scalar("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'clients'") - pool.idle
            if not beyond or time.monotonic() > deadline:
                return max(beyond, pool.checked_out)
            time.sleep(0.05)


def is_unknown(error: BaseException) -> bool:
    """Say whether a client was told that nobody knows what became of its write."""
    return isinstance(error, CommitOutcomeUnknown) or getattr(error, "unknown", False)
