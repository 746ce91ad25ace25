"""Units of work that are run again: in a new session, and only where that is safe."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, event, func, make_url, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm.exc import DetachedInstanceError
from sqlalchemy.util import await_only

from querywright import (
    AsyncDatabase,
    AsyncSession,
    ConfigurationError,
    Database,
    DatabaseUnavailable,
    NestedTransaction,
)
from querywright.engine import classify
from querywright.engine.databases.errors import sqlstate_of
from querywright.engine.pool.health import is_closed
from querywright.events import UnitRetried, subscribed
from tests.suite.models import Author, NameOut, Tag
from tests.suite.support import AnyDatabase, add, resolve, run, run_sync, transaction

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

COUNT = select(func.count()).select_from(Tag)
POSTGRES = ("postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg")


async def count(db: AnyDatabase) -> int:
    async with transaction(db, read_only=True) as tx:
        return int(await resolve(tx.scalar(COUNT)))


async def is_run_again(db: AnyDatabase, lose: Callable[[Any], object]) -> None:
    """Check that a unit of work whose first attempt loses its connection is run twice and done once."""
    attempts: list[int] = []

    def work(tx: Any) -> None:
        attempts.append(1)
        tx.add(Tag(name="once"))
        tx.flush()
        if len(attempts) == 1:
            lose(tx)

    await run(db, work)
    assert (len(attempts), await count(db)) == (2, 1)


class Colliding:
    """A unit of work that collides with another transaction so many times."""

    def __init__(self, db: AnyDatabase, times: int) -> None:
        engine = db.engine if isinstance(db, Database) else db.engine.sync_engine
        self.url = engine.url
        self.times = times
        self.sessions: list[Any] = []
        self.authors: list[Author] = []

    def __call__(self, tx: Any, name: str) -> str:
        self.sessions.append(tx)
        author = tx.get_one(Author, 1)
        self.authors.append(author)
        if len(self.sessions) <= self.times:
            # What the server says when it chooses this transaction to be undone.
            tx.execute(text("DO $$ BEGIN RAISE EXCEPTION USING errcode = '40001'; END $$"))
        author.name = name
        tx.flush()
        return author.name


@pytest.mark.drivers(*POSTGRES)
async def test_a8_each_attempt_has_a_session_of_its_own(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="before"))
    work, events, hooks = Colliding(db, 2), [], []

    def unit(tx: Any, name: str) -> str:
        tx.on_commit(hooks.append, len(work.sessions))
        return work(tx, name)

    with subscribed(UnitRetried, events.append):
        assert await run(db, unit, "after") == "after"
    assert len({id(session) for session in work.sessions}) == 3
    assert [(event.attempt, event.sqlstate) for event in events] == [(1, "40001"), (2, "40001")]
    # Hooks of failed attempts never fire, and objects of failed attempts are of no use.
    assert hooks == [2]
    with pytest.raises(DetachedInstanceError):
        _ = work.authors[0].name
    assert (await resolve(db.fetch(NameOut, select(Author)).one())).name == "after"


@pytest.mark.drivers(*POSTGRES)
async def test_the_last_attempt_says_what_happened(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="before"))
    work = Colliding(db, 99)
    with pytest.raises(DBAPIError):
        await run(db, work, "never", attempts=3)
    assert len(work.sessions) == 3


async def test_a_broken_constraint_is_not_run_again(db: AnyDatabase) -> None:
    await add(db, Tag(name="taken"))
    attempts: list[int] = []

    def work(tx: Any) -> None:
        attempts.append(1)
        tx.add(Tag(name="taken"))

    with pytest.raises(IntegrityError):
        await run(db, work)
    assert len(attempts) == 1
    with pytest.raises(IntegrityError):
        await run(db, work, also={"23505"}, attempts=2)
    assert len(attempts) == 3


@pytest.mark.drivers(*POSTGRES)
async def test_a_connection_lost_before_the_commit_is_run_again(db: AnyDatabase) -> None:
    await resolve(db.ping())
    await is_run_again(db, lambda tx: tx.execute(text("SELECT pg_terminate_backend(pg_backend_pid())")))


@pytest.mark.drivers(*POSTGRES, "mariadb+pymysql", "mariadb+aiomysql")
async def test_a_server_that_has_left_before_the_commit_has_committed_nothing(db: AnyDatabase, url: str) -> None:
    """The driver has not looked yet: the last word of the server would be taken for its answer to COMMIT."""
    on_mariadb = url.startswith("mariadb")
    sync_driver = "mariadb+pymysql" if on_mariadb else "postgresql+psycopg"
    other = create_engine(make_url(url).set(drivername=sync_driver), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    number = text("SELECT CONNECTION_ID()" if on_mariadb else "SELECT pg_backend_pid()")

    def end(tx: Any) -> None:
        mine, own = tx.scalar(number), tx.connection()
        with other.connect() as connection:
            connection.exec_driver_sql(f"KILL {mine}" if on_mariadb else f"SELECT pg_terminate_backend({mine})")
        until = time.monotonic() + 60
        while not is_closed(own):
            assert time.monotonic() < until

    with pytest.raises(DBAPIError) as caught:
        async with transaction(db) as tx:
            tx.add(Tag(name="lost"))
            await resolve(tx.flush())
            await run_sync(tx, end)
    assert isinstance(classify(caught.value), DatabaseUnavailable)
    await is_run_again(db, end)


@pytest.mark.drivers(*POSTGRES)
async def test_a_commit_that_collides_is_run_again(db: AnyDatabase) -> None:
    """Write skew: PostgreSQL refuses one of two serializable transactions, here at its COMMIT."""
    await add(db, Tag(name="one"))
    attempts: list[int] = []
    engine = db.engine if isinstance(db, Database) else db.engine.sync_engine

    def work(tx: Any) -> None:
        attempts.append(1)
        number = tx.scalar(COUNT)
        tx.add(Tag(name=f"mine {number}"))
        tx.flush()
        if len(attempts) == 1:
            with engine.execution_options(isolation_level="SERIALIZABLE").begin() as other:
                found = other.scalar(COUNT)
                other.execute(text(f"INSERT INTO tags (name) VALUES ('theirs {found}')"))

    await run(db, work, isolation="SERIALIZABLE")
    assert (len(attempts), await count(db)) == (2, 3)


@pytest.mark.drivers(*POSTGRES)
async def test_a_server_that_takes_no_writes_is_left_once(db: AnyDatabase) -> None:
    """As after a failover: every connection of the pool leads to the server that has become a standby."""
    attempts: list[int] = []

    def work(tx: Any) -> None:
        attempts.append(tx.scalar(text("SELECT pg_backend_pid()")))
        tx.execute(text("SET TRANSACTION READ ONLY"))
        tx.add(Tag(name="refused"))
        tx.flush()

    with pytest.raises(DBAPIError) as caught:
        await run(db, work)
    assert sqlstate_of(caught.value.orig) == "25006"
    assert len(set(attempts)) == 2


async def test_a_unit_of_work_is_not_run_inside_another_transaction(db: AnyDatabase) -> None:
    with pytest.raises(NestedTransaction):
        async with transaction(db):
            await run(db, lambda _tx: None)


async def test_decorated(db: AnyDatabase) -> None:
    if isinstance(db, AsyncDatabase):

        @db.transactional(attempts=2)
        async def asynchronous(tx: Any, name: str, *, suffix: str = "") -> str:
            tx.add(Tag(name=name + suffix))
            return name

        assert await asynchronous("a", suffix="!") == "a"
        assert asynchronous.__name__ == "asynchronous"
    else:

        @db.transactional()
        def synchronous(tx: Any, name: str, *, suffix: str = "") -> str:
            tx.add(Tag(name=name + suffix))
            return name

        assert synchronous("a", suffix="!") == "a"
    assert await count(db) == 1


async def test_work_that_would_come_back_undone_is_refused(db: AnyDatabase) -> None:
    def generator(tx: Any) -> Any:
        tx.add(Tag(name="undone"))
        yield 1

    async def coroutine(tx: Any) -> None:
        tx.add(Tag(name="undone"))

    async def asynchronous_generator(tx: Any) -> Any:
        tx.add(Tag(name="undone"))
        yield 1

    def plain(tx: Any) -> None:
        tx.add(Tag(name="undone"))

    async def gives_generator(tx: Any) -> Any:
        return generator(tx)

    # What a lambda or a partial hides is seen once it was called, in time to roll back.
    hidden = [generator, asynchronous_generator]
    sync_only, async_only = [coroutine, lambda tx: [coroutine(tx)][0]], [plain, gives_generator]
    works = [*hidden, *(partial(each) for each in hidden), lambda tx: [generator(tx)][0]]
    for work in [*works, *(sync_only if isinstance(db, Database) else async_only)]:
        with pytest.raises(ConfigurationError, match=r"generator|coroutine|asynchronous"):
            await resolve(db.run(work))  # type: ignore[arg-type]
    for work in hidden:
        with pytest.raises(ConfigurationError):
            db.transactional()(work)  # type: ignore[arg-type]
    assert await count(db) == 0


async def test_a_group_of_conflicts_is_run_again(db: AnyDatabase) -> None:
    await add(db, Tag(name="taken"))
    attempts: list[int] = []

    def work(tx: Any) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            try:
                tx.execute(text("INSERT INTO tags (name) VALUES ('taken')"))
            except IntegrityError as error:
                raise ExceptionGroup("tasks", [error]) from None
        tx.add(Tag(name="free"))

    await run(db, work, also={"23505"})
    assert (len(attempts), await count(db)) == (2, 2)


class _Collided(Exception):
    sqlstate = "40001"


@pytest.mark.drivers("sqlite+aiosqlite", "postgresql+psycopg async", "postgresql+asyncpg", "mariadb+aiomysql")
async def test_who_is_cancelled_during_a_commit_that_fails_is_not_run_again(db: AsyncDatabase) -> None:
    committing, refused = asyncio.Event(), asyncio.Event()
    calls: list[int] = []

    def refuse(_connection: Any) -> None:
        committing.set()
        await_only(refused.wait())
        raise DBAPIError("COMMIT", None, _Collided())

    async def work(tx: AsyncSession) -> None:
        calls.append(1)
        tx.add(Tag(name="cancelled"))

    event.listen(db.engine.sync_engine, "commit", refuse)
    task = asyncio.create_task(db.run(work))
    await committing.wait()
    task.cancel()
    await asyncio.sleep(0)
    refused.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    event.remove(db.engine.sync_engine, "commit", refuse)
    assert calls == [1]


@pytest.mark.drivers("sqlite+pysqlite")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": 0}, "at least 1 attempt"),
        ({"deadline": float("nan")}, "is nan seconds"),
        ({"deadline": -1}, "is -1 seconds"),
        ({"also": "55P03"}, "Write also={'55P03'}"),
    ],
)
async def test_what_is_no_way_to_run(db: AnyDatabase, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        await run(db, lambda _: None, **options)


@pytest.mark.drivers("sqlite+pysqlite")
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
async def test_what_is_no_limit_of_a_transaction(db: Database, seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="cannot take"), db.transaction(timeout=seconds):
        pass
