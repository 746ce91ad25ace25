"""A6: the answer to a COMMIT is lost; it is found out what became of it, or said that nobody knows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from sqlalchemy import MetaData, func, select, text
from sqlalchemy.exc import DBAPIError

from querywright import AsyncDatabase, CommitOutcomeUnknown, Database, DatabaseUnavailable, IdempotencyKeys
from querywright.engine import classify, pool_snapshot
from querywright.events import UnitRetried, subscribed
from querywright.testing import EmbeddedPostgres
from tests.faults.clients import Base, Receipt
from tests.faults.proxy import Proxy
from tests.faults.report import Figures
from tests.suite.support import AnyDatabase, block, resolve, session, transaction

metadata = MetaData()
keys = IdempotencyKeys(metadata)
DRIVERS = ("postgresql+asyncpg", "postgresql+psycopg async", "postgresql+psycopg")
pytestmark = pytest.mark.parametrize("driver", DRIVERS)


@pytest.fixture
async def far(driver: str, postgres: EmbeddedPostgres, proxy: Proxy) -> AsyncIterator[AnyDatabase]:
    """A database behind the proxy, with an empty table of receipts."""
    name, _, asynchronous = driver.partition("+")[2].partition(" ")
    url = proxy.url(postgres.url(name))
    kind = AsyncDatabase if asynchronous or name == "asyncpg" else Database
    with Database(postgres.url("psycopg")) as near:
        for tables in (Base.metadata, metadata):
            tables.drop_all(near.engine)
            tables.create_all(near.engine)
        db: AnyDatabase = kind(url, connect_timeout=2, statement_timeout=2)
        yield db
        await resolve(db.dispose())
        for tables in (Base.metadata, metadata):
            tables.drop_all(near.engine)


async def count(db: AnyDatabase, key: str) -> int:
    async with transaction(db, read_only=True) as tx:
        return int(await resolve(tx.scalar(select(func.count()).where(Receipt.key == key))))


async def run(
    db: AnyDatabase,
    name: str,
    on_commit: Callable[[], object] = list,
    on_rollback: Callable[[], object] = list,
    **options: Any,
) -> None:
    def write(tx: Any) -> None:
        tx.add(Receipt(key=name))
        tx.on_commit(on_commit)
        tx.on_rollback(on_rollback)

    async def write_async(tx: Any) -> None:
        write(tx)

    if isinstance(db, Database):
        db.run(write, **options)
    else:
        await db.run(write_async, **options)


def leaked(db: AnyDatabase) -> int:
    return pool_snapshot(db.engine if isinstance(db, Database) else db.engine.sync_engine).checked_out


@pytest.mark.parametrize("reaches_server", [True, False])
async def test_a6_a_transaction_says_that_nobody_knows(
    far: AnyDatabase, proxy: Proxy, figures: Figures, *, reaches_server: bool
) -> None:
    hooks: list[str] = []
    async with transaction(far) as tx:
        tx.add(Receipt(key="before"))
    proxy.cut_commits(1, reaches_server=reaches_server)
    with pytest.raises(CommitOutcomeUnknown):
        async with transaction(far) as tx:
            tx.add(Receipt(key="one"))
            tx.on_commit(hooks.append, "commit")
            tx.on_rollback(hooks.append, "rollback")
    assert await count(far, "one") == int(reaches_server)
    assert hooks == []
    figures.sent, figures.leaked = 1, leaked(far)
    assert figures.leaked == 0


@pytest.mark.parametrize("how", ["commit", "begin"])
@pytest.mark.parametrize("reaches_server", [True, False])
async def test_a6_a_session_that_is_committed_by_hand_says_the_same(
    far: AnyDatabase, proxy: Proxy, how: str, *, reaches_server: bool
) -> None:
    hooks: list[str] = []
    await count(far, "one")
    proxy.cut_commits(1, reaches_server=reaches_server)
    async with session(far) as opened:
        with pytest.raises(CommitOutcomeUnknown):
            async with block(opened.begin()) if how == "begin" else nullcontext():
                opened.on_commit(hooks.append, "commit")
                opened.on_rollback(hooks.append, "rollback")
                opened.add(Receipt(key="one"))
            await resolve(opened.commit())
    assert await count(far, "one") == int(reaches_server)
    assert hooks == []
    assert leaked(far) == 0


async def test_a6_who_has_only_read_lost_a_connection(far: AnyDatabase, proxy: Proxy) -> None:
    await count(far, "one")
    proxy.cut_commits(1)
    with pytest.raises(DBAPIError) as caught:
        await count(far, "one")
    assert isinstance(classify(caught.value), DatabaseUnavailable)


@pytest.mark.parametrize("reaches_server", [True, False])
@pytest.mark.parametrize("keyed", [True, False], ids=["key", "status"])
async def test_a6_a_unit_of_work_is_done_once(
    far: AnyDatabase,
    proxy: Proxy,
    figures: Figures,
    sized: Callable[[int, int], int],
    *,
    reaches_server: bool,
    keyed: bool,
) -> None:
    figures.sent = sized(5, 100)
    figures.acknowledged = figures.lost = figures.doubled = 0
    for number in range(figures.sent):
        proxy.cut_commits(1, reaches_server=reaches_server)
        await run(far, str(number), key=keys(str(number)) if keyed else None)
        figures.acknowledged += 1
        written = await count(far, str(number))
        figures.lost += written < 1
        figures.doubled += written > 1
    figures.leaked = leaked(far)
    assert (figures.lost, figures.doubled, figures.leaked) == (0, 0, 0)


@pytest.mark.parametrize("reaches_server", [True, False])
@pytest.mark.parametrize("times", [1, 2, 4])
@pytest.mark.parametrize("keyed", [True, False], ids=["key", "status"])
async def test_a6_hooks_of_a_commit_without_an_answer(
    far: AnyDatabase, proxy: Proxy, *, keyed: bool, times: int, reaches_server: bool
) -> None:
    """With a key, the attempt that finds the result of an earlier one may get no answer either."""
    hooks: list[str] = []
    proxy.cut_commits(times, reaches_server=reaches_server)
    await run(
        far,
        "one",
        lambda: hooks.append("commit"),
        lambda: hooks.append("rollback"),
        key=keys("k") if keyed else None,
        deadline=60,
    )
    proxy.cut_commits(0)
    committed = ["commit"] if reaches_server else [*["rollback"] * times, "commit"]
    assert hooks == committed
    assert await count(far, "one") == 1
    # Whoever asks later has done nothing.
    if keyed:
        await run(far, "one", lambda: hooks.append("commit"), key=keys("k"))
    assert hooks == committed


async def test_a6_hooks_of_a_unit_that_somebody_else_has_done(far: AnyDatabase, proxy: Proxy) -> None:
    """The COMMIT has not come through, and another process is quicker than the next attempt."""
    hooks: list[str] = []
    url = far.engine.url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    proxy.cut_commits(1, reaches_server=False)
    with Database(url) as other, subscribed(UnitRetried, lambda _: other.run(lambda tx: 7, key=keys("k"))):
        await run(far, "one", lambda: hooks.append("commit"), lambda: hooks.append("rollback"), key=keys("k"))
    assert hooks == ["rollback"]
    assert await count(far, "one") == 0


FOREIGN = """
CREATE EXTENSION IF NOT EXISTS postgres_fdw;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{host}', port '{port}', dbname '{database}');
CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere OPTIONS (user '{user}', password_required 'false');
CREATE FOREIGN TABLE counter (n integer) SERVER elsewhere OPTIONS (table_name 'remote_counter');
"""


@pytest.fixture
def counter(postgres: EmbeddedPostgres, new_postgres_database: Callable[[], str]) -> Iterator[Callable[[], int]]:
    """A table of another database that is seen in the usual one; reads its only number."""
    name = new_postgres_database()
    with Database(postgres.url("psycopg")) as near, Database(postgres.url("psycopg", name)) as remote:
        with remote.transaction() as tx:
            tx.execute(text("CREATE TABLE remote_counter AS SELECT 1 AS n"))
        url = remote.engine.url
        where = {"host": url.host or url.query["host"], "port": url.port or url.query["port"], "user": url.username}
        with near.transaction() as tx:
            tx.execute(text(FOREIGN.format(database=name, **where)))

        def read() -> int:
            with remote.transaction(read_only=True) as tx:
                return int(tx.scalar(text("SELECT n FROM remote_counter")) or 0)

        yield read
        with near.transaction() as tx:
            tx.execute(text("DROP EXTENSION postgres_fdw CASCADE"))


@pytest.mark.parametrize("reaches_server", [True, False])
async def test_a6_what_was_written_elsewhere_is_written_once(
    far: AnyDatabase, proxy: Proxy, counter: Callable[[], int], *, reaches_server: bool
) -> None:
    """A transaction that writes through foreign tables only has no number on this server."""
    raised = text("UPDATE counter SET n = n + 1")

    async def asynchronous(tx: Any) -> None:
        await tx.execute(raised)

    for number in range(2, 5):
        proxy.cut_commits(1, reaches_server=reaches_server)
        if isinstance(far, Database):
            far.run(lambda tx: tx.execute(raised))
        else:
            await far.run(asynchronous)
        assert counter() == number
