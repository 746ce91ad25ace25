"""A7: money moves between accounts at once, serializably; none is lost and none is made."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from sqlalchemy.orm import Mapped, Session, mapped_column

from querywright.events import UnitRetried, subscribed
from querywright.testing import EmbeddedPostgres
from tests.faults.clients import AnyDatabase, Base, Sized, Witness, open_database, run
from tests.faults.report import Figures, percentile

# So many that PostgreSQL reads them by their index: to read a table as a whole is to collide with every writer.
_ACCOUNTS = 1000
_WORKERS = 32
_EACH = 100


class Account(Base):
    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int]


class Bank:
    """Move money, and count how often a transfer was attempted."""

    def __init__(self, transfers: int) -> None:
        self.left = transfers
        self.attempts: Counter[int] = Counter()

    def transfer(self, session: Session, number: int) -> None:
        self.attempts[number] += 1
        chosen = random.Random(number)  # noqa: S311 - the same accounts at each attempt
        source, target = chosen.sample(range(_ACCOUNTS), 2)
        amount = chosen.randint(1, _EACH)
        session.get_one(Account, source).balance -= amount
        session.get_one(Account, target).balance += amount

    async def work(self, db: AnyDatabase) -> None:
        while self.left:
            self.left -= 1
            await run(db, self.transfer, self.left, isolation="SERIALIZABLE")


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg async", "postgresql+psycopg"])
async def test_a7_transfers_keep_the_sum(
    driver: str, server: EmbeddedPostgres, witness: Witness, figures: Figures, sized: Sized
) -> None:
    bank = Bank(sized(300, 10_000))
    transfers, pauses = bank.left, list[float]()
    # Room for updates beside the rows: without it each one enters the index, and collides with all who read that page.
    witness.execute("ALTER TABLE accounts SET (fillfactor = 50)")
    witness.add_all([Account(id=number, balance=_EACH) for number in range(_ACCOUNTS)])
    async with open_database(driver, server.url, pool_size=_WORKERS) as db:
        with subscribed(UnitRetried, lambda event: pauses.append(event.pause)):
            failed = await asyncio.gather(*(bank.work(db) for _ in range(_WORKERS)), return_exceptions=True)
        figures.leaked = witness.leaked(db)
    assert not any(failed), failed
    attempts = sorted(bank.attempts.values())
    figures.sent, figures.acknowledged = transfers, len(attempts)
    figures.notes.append(f"attempts p99 {percentile(attempts, 99)}, at most {attempts[-1]}")
    figures.notes.append(f"pauses p99 {percentile(pauses, 99) * 1000:.0f} ms")
    assert witness.scalar("SELECT sum(balance) FROM accounts") == _ACCOUNTS * _EACH
    assert len(attempts) == transfers
    assert figures.leaked == 0
