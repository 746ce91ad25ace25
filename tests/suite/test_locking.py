"""Locks on rows and on names, each in a race of two connections; nobody sleeps to win."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from querywright import (
    AsyncDatabase,
    AsyncRepository,
    ConfigurationError,
    LockNotAvailable,
    Repository,
    advisory_lock,
    lock_key,
)
from tests.conftest import POSTGRES
from tests.suite.bank import Account, Loan
from tests.suite.support import AnyDatabase, add, resolve, run_sync, transaction

SQLITE = ("sqlite+pysqlite", "sqlite+aiosqlite")
SECONDS = 20


def accounts(tx: Any) -> Any:
    return (AsyncRepository if isinstance(tx, AsyncSession) else Repository)(Account, tx)


def beside(db: AnyDatabase, work: Callable[[], Coroutine[Any, Any, Any]]) -> Awaitable[Any]:
    """Begin work at once, in a task, or in a thread if the database blocks."""
    running = work() if isinstance(db, AsyncDatabase) else asyncio.to_thread(asyncio.run, work())
    return asyncio.wait_for(asyncio.ensure_future(running), SECONDS)


async def somebody_waits(db: AnyDatabase) -> None:
    """Return when a connection waits for a lock; PostgreSQL has no event for that."""
    async with transaction(db, nested="new") as tx:
        while not await resolve(tx.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.mark.drivers(*POSTGRES)
async def test_an_update_lock_keeps_others_waiting_and_reads_afresh(bank: AnyDatabase) -> None:
    await add(bank, Account(id=1, owner="Ada", balance=1))

    async def second() -> int:
        async with transaction(bank) as tx:
            account = await resolve(accounts(tx).get(1))
            assert account.balance == 1
            assert await resolve(accounts(tx).get(1, lock="update")) is account
            account.balance += 1
            return account.balance

    async with transaction(bank) as tx:
        account = await resolve(accounts(tx).one(1, lock="update"))
        other = asyncio.ensure_future(beside(bank, second))
        await asyncio.sleep(0)
        await somebody_waits(bank)
        account.balance = 10
    # Neither has lost the other's change, though neither knew of it when it read first.
    assert await other == 11


@pytest.mark.drivers(*POSTGRES)
async def test_nowait_and_skip_locked(bank: AnyDatabase) -> None:
    await add(bank, *(Account(id=n, owner="Ada") for n in (1, 2, 3)))
    async with transaction(bank) as tx:
        await resolve(accounts(tx).get(2, lock="update"))
        for verb in ("get", "one", "find"):
            with pytest.raises(LockNotAvailable) as caught:
                async with transaction(bank, nested="new") as other:
                    criterion = Account.id == 2 if verb == "find" else 2
                    await resolve(getattr(accounts(other), verb)(criterion, lock="update", nowait=True))
            assert caught.value.sqlstate == "55P03"
        async with transaction(bank, nested="new") as other:
            assert await resolve(accounts(other).get(2, lock="update", skip_locked=True)) is None
            found = await resolve(accounts(other).find(order_by=Account.id, limit=2, lock="update", skip_locked=True))
            assert [account.id for account in found] == [1, 3]
    async with transaction(bank) as tx:
        assert await resolve(accounts(tx).get(2, lock="update", nowait=True)) is not None


@pytest.mark.drivers(*POSTGRES)
async def test_share_locks_share(bank: AnyDatabase) -> None:
    await add(bank, Account(id=1, owner="Ada"))
    async with transaction(bank) as tx:
        await resolve(accounts(tx).get(1, lock="share"))
        async with transaction(bank, nested="new") as other:
            assert await resolve(accounts(other).get(1, lock="share", nowait=True)) is not None
        with pytest.raises(LockNotAvailable):
            async with transaction(bank, nested="new") as other:
                await resolve(accounts(other).get(1, lock="update", nowait=True))


@pytest.mark.drivers(*POSTGRES)
async def test_the_lock_timeout_is_said_as_such(bank: AnyDatabase, url: str) -> None:
    impatient = type(bank)(url, lock_timeout=0.05)
    await add(bank, Account(id=1, owner="Ada"))
    async with transaction(bank) as tx:
        await resolve(accounts(tx).get(1, lock="update"))
        await resolve(advisory_lock(tx, "report"))
        with pytest.raises(LockNotAvailable):
            async with transaction(impatient) as other:
                await resolve(accounts(other).get(1, lock="update"))
        with pytest.raises(LockNotAvailable):
            async with transaction(impatient) as other:
                await resolve(advisory_lock(other, "report"))
    await resolve(impatient.dispose())


@pytest.mark.drivers(*POSTGRES)
async def test_locks_of_a_subclass_and_of_what_is_read_eagerly(bank: AnyDatabase) -> None:
    """Account reads its entries along, Loan has two tables."""
    await add(bank, Loan(id=1, rate=1))
    async with transaction(bank) as tx:
        loans: Any = (AsyncRepository if isinstance(tx, AsyncSession) else Repository)(Loan, tx)
        assert (await resolve(loans.get(1, lock="update"))).rate == 1


async def test_a_locked_read_keeps_pending_changes(bank: AnyDatabase) -> None:
    """It reads afresh, so what is not written yet has to be written before."""
    await add(bank, Account(id=1, owner="Ada"))
    async with transaction(bank) as tx:
        account = await resolve(accounts(tx).get(1))
        account.owner = "Bo"
        assert (await resolve(accounts(tx).get(1, lock="update"))).owner == "Bo"


@pytest.mark.parametrize(
    "options",
    [
        {"lock": "update", "nowait": True, "skip_locked": True},
        {"nowait": True},
        {"skip_locked": True},
        {"lock": "exclusive"},
    ],
)
@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite")
async def test_contradictions_are_refused(bank: AnyDatabase, options: dict[str, Any]) -> None:
    async with transaction(bank) as tx:
        for verb, arguments in (("get", [1]), ("one", [1]), ("find", [])):
            with pytest.raises(ConfigurationError):
                await resolve(getattr(accounts(tx), verb)(*arguments, **options))


@pytest.mark.drivers(*SQLITE, *POSTGRES)
async def test_a_read_only_transaction_cannot_lock_rows(bank: AnyDatabase) -> None:
    async with transaction(bank, read_only=True) as tx:
        with pytest.raises(ConfigurationError, match="read-only"):
            await resolve(accounts(tx).get(1, lock="share"))


@pytest.mark.drivers(*SQLITE)
async def test_sqlite_has_one_writer_and_needs_no_locks(bank: AnyDatabase, url: str) -> None:
    impatient = type(bank)(url, busy_timeout=0)
    await add(bank, Account(id=1, owner="Ada"))
    async with transaction(bank) as tx:
        assert (await resolve(accounts(tx).get(1, lock="update"))).owner == "Ada"
        await resolve(advisory_lock(tx, "report"))
        await resolve(advisory_lock(tx, "report", wait=False))
        for attempt in (lambda tx: accounts(tx).get(1, lock="share"), lambda tx: advisory_lock(tx, "another")):
            with pytest.raises(LockNotAvailable):
                async with transaction(impatient) as other:
                    await resolve(attempt(other))
    async with transaction(impatient, read_only=True) as tx:
        with pytest.raises(ConfigurationError, match="read-only"):
            await resolve(advisory_lock(tx, "report"))
    await resolve(impatient.dispose())


@pytest.mark.drivers("mariadb+pymysql", "mariadb+aiomysql")
async def test_mariadb_has_no_advisory_locks_for_transactions(bank: AnyDatabase) -> None:
    async with transaction(bank) as tx:
        with pytest.raises(ConfigurationError, match="no advisory locks"):
            await resolve(advisory_lock(tx, "report"))


@pytest.mark.drivers(*POSTGRES)
async def test_an_advisory_lock_keeps_others_waiting_until_the_transaction_ends(bank: AnyDatabase) -> None:
    order: list[str] = []

    async def second() -> None:
        async with transaction(bank) as tx:
            await resolve(advisory_lock(tx, "invoice", 7))
            order.append("second")

    async with transaction(bank) as tx:
        await resolve(advisory_lock(tx, "invoice", 7))
        # Once more is no deadlock.
        await resolve(advisory_lock(tx, "invoice", 7))
        other = asyncio.ensure_future(beside(bank, second))
        await asyncio.sleep(0)
        await somebody_waits(bank)
        order.append("first")
    await other
    assert order == ["first", "second"]


@pytest.mark.drivers(*POSTGRES)
async def test_an_advisory_lock_without_waiting(bank: AnyDatabase) -> None:
    async with transaction(bank) as tx:
        await resolve(advisory_lock(tx, "invoice", 7))
        async with transaction(bank, nested="new") as other:
            with pytest.raises(LockNotAvailable):
                await resolve(advisory_lock(other, "invoice", 7, wait=False))
            # The transaction goes on.
            await resolve(advisory_lock(other, "invoice", 8, wait=False))
    with contextlib.suppress(RuntimeError):
        async with transaction(bank) as tx:
            await resolve(advisory_lock(tx, "invoice", 7, wait=False))
            raise RuntimeError
    # A rollback frees it, too, and the connection that comes back to the pool holds none.
    async with transaction(bank) as tx:
        held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        assert await resolve(tx.scalar(held)) == 0


@pytest.mark.drivers(*POSTGRES)
async def test_an_advisory_lock_outside_a_transaction_is_refused(bank: AnyDatabase) -> None:
    engine = bank.engine.execution_options(isolation_level="AUTOCOMMIT")
    opened: Any = AsyncSession(engine) if isinstance(bank, AsyncDatabase) else bank.session()
    if not isinstance(bank, AsyncDatabase):
        opened.bind = engine
    with pytest.raises(ConfigurationError, match="autocommit"):
        await run_sync(opened, lambda sync: advisory_lock(sync, "report"))
    await resolve(opened.close())


ORDER = uuid.UUID("018f3a6c-0000-7000-8000-000000000001")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (("invoice", 7), 5510175796183128694),
        (("invoice", "7"), 5510175796183128694),
        (("invoice7",), 1333064834164438688),
        (("7", "invoice"), 5550624989426596173),
        (("ä",), 5589902366900630889),
        (("order", ORDER), -3890124530127450674),
    ],
)
def test_keys_stay_what_they_are(name: tuple[Any, ...], key: int) -> None:
    """Another version, or process, must mean the same lock by the same name."""
    assert lock_key(*name) == key
    assert -(2**63) <= lock_key(*name) < 2**63


@pytest.mark.parametrize("name", [(), (None,), (True,), (1.5,), (b"x",), (("a", "b"),)])
def test_what_does_not_name_a_lock(name: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigurationError, match="does not name a lock"):
        lock_key(*name)
