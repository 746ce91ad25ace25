"""A3: every call of a driver ends, even when the network swallows packets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from querywright import AsyncDatabase, CommitOutcomeUnknown, Database
from querywright.engine import classify, pool_snapshot
from querywright.errors import DatabaseUnavailable, PoolTimeout, TransactionLost
from tests.conftest import POSTGRES, SYNC
from tests.faults.clients import Within
from tests.faults.proxy import Proxy
from tests.faults.report import Figures
from tests.mariadb import PrivateMariaDB
from tests.suite.support import AnyDatabase, AnySession, resolve, session

# Seconds. psycopg, as libpq, gives a connection at least two to be opened.
LIMITS = {"connect_timeout": 0.5, "statement_timeout": 0.5, "pool_timeout": 1.0, "ping_after_idle": 0.0}
# Without a bound a call would wait for the proxy, so for ever, and the test with it.
SLOW = 15.0

MARIADB = ("mariadb+pymysql", "mariadb+aiomysql")

pytestmark = pytest.mark.drivers(*POSTGRES)


@asynccontextmanager
async def opened(url: str, driver: str, **options: Any) -> AsyncIterator[AnyDatabase]:
    db = Database(url, **options) if driver in SYNC else AsyncDatabase(url, **options)
    try:
        yield db
    finally:
        await resolve(db.dispose())


async def run(db_session: AnySession, work: Callable[[Session], Any]) -> Any:
    """Run ORM code where it does not hold up the other calls: in a thread, if it is synchronous."""
    if isinstance(db_session, Session):
        return await asyncio.to_thread(work, db_session)
    return await db_session.run_sync(work)


@pytest.fixture
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.node.callspec.params["url"]
    return name


def query(opened: Session) -> Any:
    return opened.execute(text("SELECT 1"))


def engine_of(db: AnyDatabase) -> Any:
    return db.engine.sync_engine if isinstance(db, AsyncDatabase) else db.engine


# What to do in the blackhole with a session that is in a transaction.
IN_TRANSACTION = {"query": query, "commit": Session.commit, "rollback": Session.rollback, "close": Session.close}


async def timed(db_session: AnySession, work: Callable[[Session], Any]) -> tuple[float, BaseException | None]:
    """Do something and close the session; return how long that took and how it ended."""
    started = time.monotonic()
    error = None
    try:
        await run(db_session, work)
    except BaseException as caught:  # noqa: BLE001 - a cancellation as well
        error = caught
    await run(db_session, Session.close)
    return time.monotonic() - started, error


async def in_blackhole(
    db: AnyDatabase, proxy: Proxy, works: dict[str, Callable[[Session], Any]]
) -> dict[str, tuple[float, BaseException | None]]:
    """Begin a transaction for each work, and one more to leave an idle connection behind; then break the network."""
    begun = [db.session() for _ in range(len(works) + 1)]
    for one in begun:
        await run(one, query)
    await run(begun.pop(), Session.close)
    fresh = [db.session(), db.session()]
    proxy.blackhole()
    jobs = [timed(one, work) for one, work in zip(begun, works.values(), strict=True)]
    jobs += [timed(one, query) for one in fresh]
    results = await asyncio.gather(*jobs)
    return dict(zip((*works, "checkout of an idle connection", "checkout of a new connection"), results, strict=True))


def note(figures: Figures, results: dict[str, tuple[float, BaseException | None]]) -> None:
    figures.slowest = max(seconds for seconds, _ in results.values())
    figures.notes.append("seconds: " + ", ".join(f"{name} {seconds:.2f}" for name, (seconds, _) in results.items()))


def require_told(results: dict[str, tuple[float, BaseException | None]]) -> None:
    """Check that who got no answer was told; what became of a COMMIT, nobody knows."""
    assert isinstance(results["commit"][1], CommitOutcomeUnknown)
    for name in {*results} - {"commit", "rollback", "close"}:
        assert isinstance(classify(results[name][1]), DatabaseUnavailable), name  # type: ignore[arg-type]


async def recovers(db: AnyDatabase, proxy: Proxy) -> None:
    proxy.pass_()
    async with session(db) as again:
        await run(again, query)
    assert pool_snapshot(engine_of(db)).checked_out == 0


async def test_a3_blackhole_bounds_every_call(
    proxy: Proxy, url: str, driver: str, figures: Figures, caplog: pytest.LogCaptureFixture, within: Within
) -> None:
    async with opened(proxy.url(url), driver, **LIMITS) as db:
        results = await in_blackhole(db, proxy, IN_TRANSACTION)
        await recovers(db, proxy)
    note(figures, results)
    require_told(results)
    within(figures.slowest or 0, SLOW)
    assert not caplog.records


@pytest.mark.drivers(*MARIADB)
async def test_a3_blackhole_bounds_every_call_of_mariadb(
    mariadb: PrivateMariaDB, url: str, driver: str, figures: Figures, within: Within
) -> None:
    # PyMySQL takes whole seconds to connect.
    limits = LIMITS | {"connect_timeout": 1.0}
    with Proxy(mariadb.port) as proxy:
        async with opened(proxy.url(url), driver, **limits) as db:
            results = await in_blackhole(db, proxy, IN_TRANSACTION)
            await recovers(db, proxy)
    note(figures, results)
    require_told(results)
    within(figures.slowest or 0, SLOW)


async def test_a3_blackhole_bounds_commands_where_statements_have_no_limit(
    proxy: Proxy, url: str, driver: str, figures: Figures, monkeypatch: pytest.MonkeyPatch, within: Within
) -> None:
    monkeypatch.setattr("querywright.engine.limits._COMMAND", 0.5)
    works = {name: work for name, work in IN_TRANSACTION.items() if name != "query"}
    async with opened(proxy.url(url), driver, **{**LIMITS, "statement_timeout": 0}) as db:
        results = await in_blackhole(db, proxy, works)
        await recovers(db, proxy)
    note(figures, results)
    within(figures.slowest or 0, SLOW)


async def test_a3_blackhole_bounds_dispose(proxy: Proxy, url: str, driver: str, within: Within) -> None:
    async with opened(proxy.url(url), driver, **LIMITS) as db:
        async with session(db) as one, session(db) as other:
            await run(one, query)
            await run(other, query)
        proxy.blackhole()
        started = time.monotonic()
        await resolve(db.dispose())
        within(time.monotonic() - started, SLOW)
        await recovers(db, proxy)


@pytest.mark.drivers("postgresql+psycopg async", "postgresql+asyncpg")
@pytest.mark.parametrize("limited", [True, False], ids=["", "no statement_timeout"])
async def test_a3_blackhole_bounds_a_cancellation(
    proxy: Proxy, url: str, figures: Figures, within: Within, *, limited: bool
) -> None:
    limits = LIMITS | {"statement_timeout": 30.0 if limited else 0.0}
    async with AsyncDatabase(proxy.url(url), **limits) as db:

        async def sleep() -> None:
            async with db.session() as one:
                await one.execute(text("SELECT pg_sleep(60)"))

        task = asyncio.create_task(sleep())
        await sleepers(url, "count(*)", until=1)
        proxy.blackhole()
        started = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        figures.slowest = time.monotonic() - started
        await recovers(db, proxy)
    # The cancel request was swallowed too.
    await sleepers(url, "count(pg_terminate_backend(pid))", until=0)
    within(figures.slowest, SLOW)


async def sleepers(url: str, what: str, *, until: int) -> None:
    """Ask the server for the backends that sleep, until there are so many."""
    query = f"SELECT {what} FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'"
    async with AsyncDatabase(url) as db, db.session() as watcher:
        while await watcher.scalar(text(query)) != until:
            await watcher.rollback()


async def test_the_pool_says_why_there_is_no_connection(url: str, driver: str) -> None:
    async with opened(url, driver, pool_size=1, max_overflow=1, pool_timeout=0.05) as db:
        async with session(db) as one, session(db) as other:
            await run(one, query)
            await run(other, query)
            _, error = await timed(db.session(), query)
        known = classify(error)  # type: ignore[arg-type]
    assert isinstance(known, PoolTimeout)
    assert (known.size, known.overflow, known.checked_out, known.seconds) == (1, 1, 2, 0.05)
    assert "Waited 0.05 s while 2 of 2 were checked out" in str(known)
    assert "2" not in known.message


@pytest.mark.drivers("postgresql+asyncpg")
async def test_a_commit_answered_with_rollback_is_an_error(url: str, driver: str) -> None:
    async with opened(url, driver) as db, session(db) as one:
        with pytest.raises(DBAPIError):
            await run(one, lambda sync: sync.execute(text("SELECT 1/0")))
        with pytest.raises(TransactionLost):
            await run(one, Session.commit)
        await run(one, Session.rollback)
        assert (await run(one, query)).scalar() == 1
