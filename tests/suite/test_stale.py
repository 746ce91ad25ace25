"""Optimistic locking: nobody overwrites what they have not read, and the error says which rows those are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from querywright import AsyncDatabase, Database, StaleData, StaleRow
from querywright.engine import pool_snapshot
from querywright.session import stale
from tests.suite.bank import Account, Branch, Card, Entry, Loan, Remark
from tests.suite.support import AnyDatabase, add, resolve, session, transaction


async def read(db: AnyDatabase, entity: type[Any], *keys: Any) -> list[Any]:
    """Load objects, and let go of their session."""
    async with session(db) as opened:
        return [await resolve(opened.get(entity, key)) for key in keys]


async def change(db: AnyDatabase, *statements: Any) -> None:
    """Be somebody else."""
    async with transaction(db, nested="new") as tx:
        for statement in statements:
            await resolve(tx.execute(statement))


def bump(entity: type[Any], *criteria: Any) -> Any:
    return update(entity).where(*criteria).values(version=entity.version + 1)


@asynccontextmanager
async def failing(db: AnyDatabase, *rows: StaleRow) -> AsyncIterator[Any]:
    """A transaction that has to fail because of these rows; nothing of it may stay."""
    with pytest.raises(StaleData) as caught:
        async with transaction(db) as tx:
            yield tx
    assert set(caught.value.rows) == set(rows)
    assert len(caught.value.rows) == len(rows)
    assert isinstance(caught.value, StaleDataError)
    assert isinstance(caught.value.__cause__, StaleDataError)


async def test_an_update_of_a_changed_row(bank: AnyDatabase) -> None:
    await add(bank, Account(id=1, owner="Ada"), Account(id=2, owner="Bo"))
    first, second = await read(bank, Account, 1, 2)
    await change(bank, bump(Account, Account.id == 2))
    async with failing(bank, StaleRow("Account", (2,), 1)) as tx:
        tx.add_all([first, second])
        first.owner = second.owner = "Cy"
    assert [row.owner for row in await read(bank, Account, 1, 2)] == ["Ada", "Bo"]


async def test_the_message_names_row_and_version() -> None:
    error = StaleData((StaleRow("Account", (2,), 1), StaleRow("Branch", ("de", 7), None)))
    assert error.message == "A row of Account or Branch was changed or deleted by somebody else after it was read."
    assert "Expected Account 2 (version 1), Branch de, 7." in str(error)
    assert str(StaleData()).startswith("A row was changed")


async def test_an_update_of_a_deleted_row(bank: AnyDatabase) -> None:
    await add(bank, Account(id=1, owner="Ada"))
    (account,) = await read(bank, Account, 1)
    await change(bank, delete(Account))
    async with failing(bank, StaleRow("Account", (1,), 1)) as tx:
        tx.add(account)
        account.balance = 7


async def test_a_delete_of_a_changed_row(bank: AnyDatabase) -> None:
    await add(bank, Account(id=1, owner="Ada"), Account(id=2, owner="Bo"))
    rows = await read(bank, Account, 1, 2)
    await change(bank, bump(Account, Account.id == 1))
    async with failing(bank, StaleRow("Account", (1,), 1)) as tx:
        for row in rows:
            await resolve(tx.delete(row))
    assert len(await read(bank, Account, 1, 2)) == 2


async def test_several_rows_of_several_classes(bank: AnyDatabase) -> None:
    """Also those that the flush did not come to."""
    await add(
        bank, Account(id=1, owner="Ada"), Account(id=2, owner="Bo"), Card(id=1, number="1"), Remark(id=1, text="old")
    )
    accounts, (card,), (remark,) = [await read(bank, *what) for what in ((Account, 1, 2), (Card, 1), (Remark, 1))]
    revision = card.revision
    await change(bank, bump(Account, Account.id == 2), update(Card).values(revision="another"), delete(Remark))
    async with failing(
        bank, StaleRow("Account", (2,), 1), StaleRow("Card", (1,), revision), StaleRow("Remark", (1,), None)
    ) as tx:
        tx.add_all([*accounts, card, remark])
        accounts[0].owner = accounts[1].owner = card.number = remark.text = "new"


async def test_a_composite_key(bank: AnyDatabase) -> None:
    await add(bank, Branch(country="de", number=1, name="Kiel"), Branch(country="dk", number=1, name="Ribe"))
    rows = await read(bank, Branch, ("de", 1), ("dk", 1))
    await change(bank, bump(Branch, Branch.country == "dk"))
    async with failing(bank, StaleRow("Branch", ("dk", 1), 1)) as tx:
        tx.add_all(rows)
        for row in rows:
            row.name = "Ulm"


async def test_joined_inheritance(bank: AnyDatabase) -> None:
    """A change of the subclass's table alone counts in the table that has the version."""
    await add(bank, Loan(id=1, rate=1), Loan(id=2, rate=1))
    rows = await read(bank, Loan, 1, 2)
    async with transaction(bank) as tx:
        (await resolve(tx.get(Loan, 2))).rate = 5
    async with failing(bank, StaleRow("Loan", (2,), 1)) as tx:
        tx.add_all(rows)
        for row in rows:
            row.rate = 9


async def test_rows_that_only_the_flush_knows_of(bank: AnyDatabase) -> None:
    """Children whose foreign key changes, or who become orphans, are not modified before the flush."""
    await add(bank, Account(id=1, owner="Ada", entries=[Entry(id=1), Entry(id=2)]), Account(id=2, owner="Bo"))
    first, second = await read(bank, Account, 1, 2)
    await change(bank, bump(Entry, Entry.id == 2))
    async with failing(bank, StaleRow("Entry", (2,), 1)) as tx:
        tx.add_all([first, second])
        second.entries.append(first.entries[1])
        second.owner = "Cy"
    first, second = await read(bank, Account, 1, 2)
    await change(bank, bump(Entry, Entry.id == 1))
    async with failing(bank, StaleRow("Entry", (1,), 1)) as tx:
        tx.add_all([first, second])
        first.entries.clear()
        second.owner = "Cy"


async def test_what_the_transaction_itself_wrote_is_not_stale(bank: AnyDatabase) -> None:
    """Its rollback takes back what it had counted and inserted."""
    await add(bank, Account(id=1, owner="Ada"), Account(id=2, owner="Bo"))
    first, second = await read(bank, Account, 1, 2)
    await change(bank, bump(Account, Account.id == 2))
    async with failing(bank, StaleRow("Account", (2,), 1)) as tx:
        third = Account(id=3, owner="Cy")
        tx.add_all([first, second, third])
        first.owner = "Di"
        await resolve(tx.flush())
        first.owner = second.owner = third.owner = "Ed"


async def flush(tx: Any) -> None:
    await resolve(tx.flush())


async def query(tx: Any) -> None:
    await resolve(tx.execute(select(Account.id)))


async def commit(tx: Any) -> None:
    await resolve(tx.commit())


@pytest.mark.parametrize("write", [flush, query, commit])
async def test_every_way_to_flush(bank: AnyDatabase, write: Callable[[Any], Any]) -> None:
    await add(bank, Account(id=1, owner="Ada"), Account(id=2, owner="Bo"))
    rows = await read(bank, Account, 1, 2)
    await change(bank, bump(Account, Account.id == 2))
    async with session(bank) as opened:
        opened.add_all(rows)
        for row in rows:
            row.owner = "Cy"
        with pytest.raises(StaleData) as caught:
            await write(opened)
        assert caught.value.rows == (StaleRow("Account", (2,), 1),)
        await resolve(opened.rollback())
        # The session goes on, and reads again what it had.
        (await resolve(opened.get(Account, 2))).owner = "Di"
        await resolve(opened.commit())
    assert (await read(bank, Account, 2))[0].version == 3
    assert pool_snapshot(engine_of(bank)).checked_out == 0


def engine_of(db: AnyDatabase) -> Any:
    return db.engine if isinstance(db, Database) else db.engine.sync_engine


# SQLite has one writer at a time, who cannot be overtaken within a transaction. MariaDB reads from its snapshot.
@pytest.mark.drivers("postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg")
async def test_after_a_savepoint_the_transaction_goes_on(bank: AnyDatabase) -> None:
    await add(bank, *(Account(id=n, owner="Ada") for n in (1, 2, 3)))
    async with transaction(bank) as tx:
        first, second, third = [await resolve(tx.get(Account, key)) for key in (1, 2, 3)]
        first.owner = "Cy"
        await resolve(tx.flush())
        await change(bank, bump(Account, Account.id == 2))
        with pytest.raises(StaleData) as caught:
            async with transaction(bank, nested="savepoint"):
                first.owner = second.owner = third.owner = "Di"
        assert caught.value.rows == (StaleRow("Account", (2,), 1),)
    assert [row.owner for row in await read(bank, Account, 1, 2, 3)] == ["Cy", "Ada", "Ada"]


async def test_the_question_needs_no_second_connection(bank: AnyDatabase, url: str) -> None:
    """Or as many sessions as the pool has connections would wait for each other."""
    small = type(bank)(url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    await add(bank, Account(id=1, owner="Ada"), Account(id=2, owner="Bo"))
    rows = await read(bank, Account, 1, 2)
    await change(bank, bump(Account, Account.id == 2))
    async with failing(small, StaleRow("Account", (2,), 1)) as tx:
        tx.add_all(rows)
        rows[0].owner = rows[1].owner = "Cy"
    await resolve(small.dispose())


async def test_a_plain_session_is_left_alone(bank: AnyDatabase) -> None:
    await add(bank, Account(id=1, owner="Ada"))
    (account,) = await read(bank, Account, 1)
    await change(bank, bump(Account))
    if isinstance(bank, AsyncDatabase):
        plain: Any = AsyncSession(bank.engine)
        async with plain:
            await expect_plain_error(plain, account)
    else:
        plain = Session(bank.engine)
        with plain:
            await expect_plain_error(plain, account)


async def expect_plain_error(plain: Any, account: Account) -> None:
    plain.add(account)
    account.owner = "Bo"
    with pytest.raises(StaleDataError) as caught:
        await resolve(plain.flush())
    assert not isinstance(caught.value, StaleData)


async def test_more_rows_than_one_question_holds(bank: AnyDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stale, "_BATCH", 2)
    await add(bank, *(Account(id=n, owner="Ada") for n in range(1, 6)))
    rows = await read(bank, Account, *range(1, 6))
    await change(bank, bump(Account, Account.id.in_([2, 5])))
    async with failing(bank, StaleRow("Account", (2,), 1), StaleRow("Account", (5,), 1)) as tx:
        tx.add_all(rows)
        for row in rows:
            row.owner = "Bo"


async def test_a_row_written_by_plain_sql_has_a_version(bank: AnyDatabase) -> None:
    await change(bank, text("INSERT INTO branches (country, number, name) VALUES ('fr', 1, 'Brest')"))
    (branch,) = await read(bank, Branch, ("fr", 1))
    assert branch.version == 1


INCREMENTS = 32
TASKS = 8


async def test_concurrent_increments_with_retry_add_up(bank: AnyDatabase) -> None:
    """Each reads in one transaction and writes in another, as a form in a browser does."""
    await add(bank, Account(id=1, owner="Ada"))
    conflicts = 0

    async def increment() -> None:
        nonlocal conflicts
        while True:
            (account,) = await read(bank, Account, 1)
            # Others get their turn between the reading and the writing.
            await asyncio.sleep(0)
            with suppress(StaleData):
                async with transaction(bank) as tx:
                    tx.add(account)
                    account.balance += 1
                return
            conflicts += 1

    async def several() -> None:
        for _ in range(INCREMENTS // TASKS):
            await increment()

    if isinstance(bank, AsyncDatabase):
        await asyncio.gather(*(several() for _ in range(TASKS)))
    else:
        await asyncio.gather(*(asyncio.to_thread(asyncio.run, several()) for _ in range(TASKS)))
    (account,) = await read(bank, Account, 1)
    assert (account.balance, account.version) == (INCREMENTS, INCREMENTS + 1)
