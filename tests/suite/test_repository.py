"""Repositories and units of work, of both kinds."""

# Annotations stay objects: classes inside functions cannot be found by name.

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from sqlalchemy import inspect, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from querywright import (
    AsyncDatabase,
    AsyncRepository,
    AsyncUnitOfWork,
    ConfigurationError,
    Database,
    MultipleFound,
    NotFound,
    Repository,
    UnitOfWork,
)
from tests.suite.bank import Account, Branch, Contract, Entry, Loan
from tests.suite.support import AnyDatabase, add, resolve, session, statements, transaction

Model = TypeVar("Model")
Other = TypeVar("Other")


class Accounts(Repository[Account]):
    def of(self, owner: str) -> list[Account]:
        return self.find(Account.owner == owner)


class AsyncAccounts(AsyncRepository[Account]):
    async def of(self, owner: str) -> list[Account]:
        return await self.find(Account.owner == owner)


class Bank(UnitOfWork):
    accounts: Accounts
    branches: "Repository[Branch]"
    limit: int = 100
    _note: str
    country: ClassVar[str]


class AsyncBank(AsyncUnitOfWork):
    accounts: AsyncAccounts
    branches: "AsyncRepository[Branch]"
    limit: int = 100
    _note: str
    country: ClassVar[str]


class BankWithLoans(Bank):
    loans: Repository[Loan]


class AsyncBankWithLoans(AsyncBank):
    loans: AsyncRepository[Loan]


def repository(model: Any, tx: Any) -> Any:
    return AsyncRepository(model, tx) if isinstance(tx, AsyncSession) else Repository(model, tx)


@asynccontextmanager
async def unit(db: AnyDatabase, **options: Any) -> AsyncIterator[Any]:
    if isinstance(db, AsyncDatabase):
        async with AsyncBankWithLoans(db, **options) as opened:
            yield opened
    else:
        with BankWithLoans(db, **options) as sync_opened:
            yield sync_opened


async def three_accounts(db: AnyDatabase) -> None:
    await add(db, *(Account(id=n, owner=owner, balance=n) for n, owner in enumerate(("Ada", "Bo", "Ada"), 1)))


async def test_get(bank: AnyDatabase) -> None:
    await three_accounts(bank)
    async with transaction(bank) as tx:
        accounts = repository(Account, tx)
        account = await resolve(accounts.get(2))
        assert account.owner == "Bo"
        assert await resolve(accounts.get(9)) is None
        with statements() as seen:
            assert await resolve(accounts.get(2)) is account
        assert seen == [], "it is in the session"


async def test_a_composite_key(bank: AnyDatabase) -> None:
    await add(bank, Branch(country="de", number=1, name="Kiel"))
    async with transaction(bank) as tx:
        branches = repository(Branch, tx)
        for key in (("de", 1), ["de", 1], {"number": 1, "country": "de"}):
            assert (await resolve(branches.get(key))).name == "Kiel"
            assert (await resolve(branches.one(key, lock="update"))).name == "Kiel"
            assert await resolve(branches.exists(key))
        for wrong in ("de", ("de",), ("de", 1, 2), {"country": "de"}, None):
            for verb in ("get", "one", "exists"):
                with pytest.raises(ConfigurationError, match=re.escape("The key of Branch is (country, number).")):
                    await resolve(getattr(branches, verb)(wrong))


async def test_one(bank: AnyDatabase) -> None:
    await three_accounts(bank)
    async with transaction(bank) as tx:
        accounts = repository(Account, tx)
        assert (await resolve(accounts.one(2))).owner == "Bo"
        assert (await resolve(accounts.one(Account.owner == "Bo"))).id == 2
        assert (await resolve(accounts.one(Account.owner == "Ada", Account.balance > 1, lock="update"))).id == 3
        for nothing in (9, Account.owner == "Cy"):
            with pytest.raises(NotFound, match="No Account"):
                await resolve(accounts.one(nothing))
        with pytest.raises(MultipleFound):
            await resolve(accounts.one(Account.owner == "Ada"))
        with pytest.raises(MultipleFound):
            await resolve(accounts.one())


async def test_find_exists_and_count(bank: AnyDatabase) -> None:
    await three_accounts(bank)
    async with transaction(bank) as tx:
        accounts = repository(Account, tx)
        found = await resolve(accounts.find(order_by=[Account.owner.desc(), Account.id], limit=2))
        assert [account.id for account in found] == [2, 1]
        assert [a.id for a in await resolve(accounts.find(Account.owner == "Ada", order_by=Account.id))] == [1, 3]
        assert len(await resolve(accounts.find())) == 3
        assert len(await resolve(accounts.find(text("owner = 'Bo'")))) == 1
        assert await resolve(accounts.exists(2))
        assert not await resolve(accounts.exists(9))
        assert await resolve(accounts.exists())
        assert not await resolve(accounts.exists(Account.owner == "Cy"))
        assert await resolve(accounts.count()) == 3
        assert await resolve(accounts.count(Account.owner == "Ada", Account.balance > 1)) == 1


async def test_subclasses_are_rows_too(bank: AnyDatabase) -> None:
    await add(bank, Loan(id=1, rate=2), Contract(id=2))
    async with transaction(bank) as tx:
        assert await resolve(repository(Contract, tx).count()) == 2
        assert await resolve(repository(Loan, tx).count()) == 1
        assert not await resolve(repository(Loan, tx).exists(2))
        assert await resolve(repository(Loan, tx).get(2)) is None


@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite")
async def test_what_is_no_criterion(bank: AnyDatabase) -> None:
    """SQLAlchemy would take some of these, and mean something else."""
    async with transaction(bank) as tx:
        accounts = repository(Account, tx)
        for wrong in (True, "owner = 'Ada'", Account, Account(id=1), {"owner": "Ada"}, None):
            for verb in ("find", "count"):
                with pytest.raises(ConfigurationError, match="A criterion for Account is an SQL expression, not "):
                    await resolve(getattr(accounts, verb)(wrong))
            with pytest.raises(ConfigurationError, match="A criterion"):
                await resolve(accounts.one(Account.id == 1, wrong))
        with pytest.raises(ConfigurationError, match="cannot be ordered by str"):
            await resolve(accounts.find(order_by="owner"))


async def test_add_and_delete(bank: AnyDatabase) -> None:
    async with transaction(bank) as tx:
        accounts = repository(Account, tx)
        ada = Account(id=1, owner="Ada", entries=[Entry(id=1)])
        assert accounts.add(ada) is ada
        accounts.add_all(Account(id=n, owner="Bo") for n in (2, 3))
        assert await resolve(accounts.count()) == 3
        await resolve(accounts.delete(ada))
        assert await resolve(accounts.count()) == 2
        assert await resolve(repository(Entry, tx).count()) == 0
        with pytest.raises(ConfigurationError, match="A repository of Account cannot hold Entry"):
            accounts.add_all([Account(id=4, owner="Cy"), Entry(id=2)])
        assert not await resolve(accounts.exists(4))


class Sorted(AsyncRepository[Model]):
    """Generic, with a method of its own."""

    async def newest(self) -> list[Model]:
        key: Any = inspect(self.model).primary_key[0]
        return await self.find(order_by=key.desc())


class Pair(Sorted[Model], Generic[Other, Model]):
    """Its argument is the second one."""


class Loans(Pair[int, Loan]):
    pass


class MoreLoans(Loans):
    pass


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_the_class_comes_from_the_generic_base(bank: AnyDatabase) -> None:
    await add(bank, Loan(id=1, rate=2), Loan(id=2, rate=2))
    async with transaction(bank) as tx:
        assert [row.id for row in await MoreLoans(tx).newest()] == [2, 1]
        assert [row.id for row in await Sorted(Loan, tx).newest()] == [2, 1]
        assert MoreLoans(tx).model is Loan
        assert repr(Loans(tx)) == "Loans(Loan)"

        class Units(AsyncUnitOfWork):
            loans: MoreLoans
            contracts: Sorted[Contract]
            pairs: Pair[str, Branch]

        units = Units.on(tx)
        assert [units.loans.model, units.contracts.model, units.pairs.model] == [Loan, Contract, Branch]


class Named(Repository["Account"]):
    pass


async def test_what_is_no_repository(bank: AnyDatabase) -> None:
    async with session(bank) as opened:
        kind: Any = AsyncRepository if isinstance(bank, AsyncDatabase) else Repository
        wrong_kind: Any = Repository if isinstance(bank, AsyncDatabase) else AsyncRepository
        with pytest.raises(ConfigurationError, match="does not know its mapped class"):
            kind(opened)
        with pytest.raises(ConfigurationError, match="is not a mapped class"):
            kind(int, opened)
        with pytest.raises(ConfigurationError, match="cannot work on"):
            wrong_kind(Account, opened)
        if isinstance(bank, Database):
            with pytest.raises(ConfigurationError, match=r"Named: ForwardRef\('Account'.*\) is not a mapped class"):
                Named(opened)


async def test_on_plain_sessions(bank: AnyDatabase) -> None:
    await three_accounts(bank)
    if isinstance(bank, AsyncDatabase):
        async with AsyncSession(bank.engine) as plain:
            assert [account.id for account in await AsyncAccounts(plain).of("Bo")] == [2]
    else:
        with Session(bank.engine) as sync_plain:
            assert [account.id for account in Accounts(sync_plain).of("Bo")] == [2]


async def test_a_unit_of_work_commits_all_or_nothing(bank: AnyDatabase) -> None:
    async with unit(bank) as work:
        work.accounts.add(Account(id=1, owner="Ada"))
        work.branches.add(Branch(country="de", number=1, name="Kiel"))
        work.loans.add(Loan(id=1, rate=1))
        assert [account.id for account in await resolve(work.accounts.of("Ada"))] == [1]
    with pytest.raises(RuntimeError):
        async with unit(bank) as work:
            work.accounts.add(Account(id=2, owner="Bo"))
            await resolve(work.session.flush())
            raise RuntimeError
    async with unit(bank, read_only=True) as work:
        assert await resolve(work.accounts.count()) == 1
        assert await resolve(work.branches.count()) == 1
        assert work.limit == 100


async def test_a_unit_of_work_in_a_transaction_that_is_there(bank: AnyDatabase) -> None:
    kind: Any = AsyncBank if isinstance(bank, AsyncDatabase) else Bank
    with pytest.raises(RuntimeError):
        async with transaction(bank) as tx:
            work = kind.on(tx)
            work.accounts.add(Account(id=1, owner="Ada"))
            assert work.session is tx
            assert await resolve(work.accounts.count()) == 1
            with pytest.raises(ConfigurationError, match="is inside a transaction already"):
                await enter(work)
            raise RuntimeError
    async with transaction(bank) as tx:
        assert await resolve(kind.on(tx).accounts.count()) == 0


async def enter(work: Any) -> None:
    if isinstance(work, AsyncUnitOfWork):
        await work.__aenter__()
    else:
        work.__enter__()


async def test_outside_its_block_a_unit_has_no_repositories(bank: AnyDatabase) -> None:
    kind: Any = AsyncBank if isinstance(bank, AsyncDatabase) else Bank
    work: Any = kind(bank)
    for _ in range(2):
        for name in ("accounts", "session"):
            with pytest.raises(AttributeError, match=f"{kind.__name__}.{name} is there only inside the with block"):
                getattr(work, name)
        with pytest.raises(AttributeError, match="has no attribute 'acounts'"):
            _ = work.acounts
        if kind is AsyncBank:
            async with work:
                assert await work.accounts.count() == 0
                with pytest.raises(ConfigurationError, match="is in use"):
                    await enter(work)
        else:
            with work:
                assert work.accounts.count() == 0
                with pytest.raises(ConfigurationError, match="is in use"):
                    await enter(work)


async def test_a_failed_commit_is_reported_and_ends_the_unit(bank: AnyDatabase) -> None:
    await add(bank, Account(id=1, owner="Ada"))
    kind: Any = AsyncBank if isinstance(bank, AsyncDatabase) else Bank
    work: Any = kind(bank)
    for _ in range(2):
        with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
            if kind is AsyncBank:
                async with work:
                    work.accounts.add(Account(id=1, owner="Bo"))
            else:
                with work:
                    work.accounts.add(Account(id=1, owner="Bo"))


@pytest.mark.drivers("sqlite+pysqlite")
async def test_annotations_that_are_no_repository(db: Database) -> None:
    class Wrong(UnitOfWork):
        accounts: AsyncRepository[Account]

    class Bare(UnitOfWork):
        accounts: Repository  # type: ignore[type-arg]

    class Number(UnitOfWork):
        accounts: Accounts
        number: int

    class Unmapped(UnitOfWork):
        numbers: Repository[int]

    class Unknown(UnitOfWork):
        accounts: "Repository[NoWhere]"  # type: ignore[name-defined]  # noqa: F821 - that is the point

    for kind, message in (
        (Wrong, "Wrong.accounts is annotated with .*AsyncRepository.*, which is not a Repository"),
        (Bare, "Bare.accounts does not know its mapped class"),
        (Number, "Number.number is annotated with .*int.*, which is not a Repository"),
        (Unmapped, "Unmapped.numbers: .*int.* is not a mapped class"),
        (Unknown, "Unknown: an annotation says 'NoWhere'"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            kind(db)


@pytest.mark.drivers("sqlite+pysqlite")
async def test_annotations_are_read_once(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    class Once(UnitOfWork):
        accounts: Accounts

    Once(db)
    monkeypatch.setattr("querywright.repository.unit.get_type_hints", None)
    Once(db)
    with pytest.raises(ConfigurationError, match="AsyncBank needs AsyncDatabase, not Database"):
        AsyncBank(db)


async def test_the_session_of_a_unit_is_ours(bank: AnyDatabase) -> None:
    async with unit(bank) as work:
        assert await resolve(work.session.scalar(select(1))) == 1
