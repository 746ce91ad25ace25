"""A1, A2 and A11: the server crashes, stops, ends backends or changes its tables while clients work on it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from functools import partial
from http import HTTPStatus

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from querywright import AsyncDatabase, CommitOutcomeUnknown, Database, DatabaseUnavailable
from querywright.engine import classify
from querywright.session.transactions.outcome import Outcome, find_outcome, take_receipt
from querywright.testing import EmbeddedPostgres
from tests.faults.clients import PATIENT, AnyDatabase, Clients, Receipt, Sized, Within, Witness, insert, read, run
from tests.faults.report import Figures
from tests.faults.web import Refused, application, in_process, write

DRIVERS = pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg async", "postgresql+psycopg"])
ASYNC = pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg async"])

DEADLINE = 10.0
_OUTAGE = 0.5


async def crash(server: EmbeddedPostgres) -> float:
    """Crash the server, leave its clients without one for a while, and return the moment when it serves again."""
    await asyncio.to_thread(server.shut_down, "immediate")
    await asyncio.sleep(_OUTAGE)
    await asyncio.to_thread(server.start)
    return time.monotonic()


def is_clean(error: Exception) -> bool:
    """Say whether a client was told, in words of ours, that the database is away or the outcome unknown."""
    if isinstance(error, Refused):
        return error.clean and error.status == HTTPStatus.SERVICE_UNAVAILABLE
    return isinstance(error, CommitOutcomeUnknown) or isinstance(classify(error), DatabaseUnavailable)


async def crash_often(clients: Clients, server: EmbeddedPostgres, figures: Figures, sized: Sized) -> float:
    """Crash the server under load; return the seconds from when it is up again to the last error."""
    slowest = 0.0
    for _ in range(sized(1, 2)):
        await clients.succeed(200)
        up = await crash(server)
        await clients.succeed(200)
        await asyncio.sleep(sized(0, 6))
        slowest = max(slowest, clients.recovery(up))
    figures.notes.append(f"last error {slowest:.2f} s after the server was up")
    return slowest


@ASYNC
async def test_a1_crash_behind_an_application(
    pooled: AsyncDatabase, server: EmbeddedPostgres, witness: Witness, figures: Figures, sized: Sized, within: Within
) -> None:
    async with in_process(application(pooled)) as client, Clients(partial(write, client)) as clients:
        recovery = await crash_often(clients, server, figures, sized)
    within(recovery, 5)
    witness.judge(clients, figures)
    assert [error for error in clients.errors if not is_clean(error)] == []
    within(clients.slowest, pooled.settings.pool_timeout + 1)
    figures.leaked = witness.leaked(pooled)
    assert figures.leaked == 0


@DRIVERS
async def test_a1_crash_under_units_of_work(
    pooled: AnyDatabase, server: EmbeddedPostgres, witness: Witness, figures: Figures, sized: Sized, within: Within
) -> None:
    async with Clients(lambda key: run(pooled, insert, key, deadline=DEADLINE)) as clients:
        recovery = await crash_often(clients, server, figures, sized)
    within(recovery, 5)
    witness.judge(clients, figures)
    assert [error for error in clients.errors if not is_clean(error)] == []
    within(clients.slowest, DEADLINE + 1)
    figures.leaked = witness.leaked(pooled)
    assert figures.leaked == 0


@DRIVERS
async def test_a2_fast_restart_and_terminated_backends(
    patient: AnyDatabase, server: EmbeddedPostgres, witness: Witness, figures: Figures, sized: Sized, within: Within
) -> None:
    reads = Clients(lambda key: run(patient, read, key, deadline=PATIENT), 16)
    writes = Clients(lambda key: run(patient, insert, key, deadline=PATIENT), 48)
    async with reads, writes:
        for _ in range(sized(6, 100)):
            await writes.succeed(20)
            await asyncio.to_thread(witness.terminate, 3)
        for _ in range(sized(1, 5)):
            await writes.succeed(100)
            await asyncio.to_thread(server.restart, "fast")
        await writes.succeed(100)
    witness.judge(writes, figures)
    assert reads.errors == []
    assert {type(error) for error in writes.errors} <= {CommitOutcomeUnknown}
    within(max(reads.slowest, writes.slowest), DEADLINE + 1)
    figures.leaked = witness.leaked(patient)
    figures.notes.append(f"{len(reads.answers)} reads, none failed")
    assert figures.leaked == 0


class FailedAttempts:
    """Units of work that remember on which connection an attempt failed."""

    def __init__(self) -> None:
        self.of_backend: Counter[int] = Counter()
        self.reads = 0

    def write_and_read(self, session: Session, key: str) -> None:
        backend = session.scalar(select(func.pg_backend_pid())) or 0
        try:
            session.execute(text("SELECT * FROM receipts ORDER BY id DESC LIMIT 1")).all()
            session.scalars(select(Receipt).order_by(Receipt.id.desc()).limit(1)).all()
            insert(session, key)
        except Exception:
            self.of_backend[backend] += 1
            raise


@DRIVERS
async def test_a11_tables_change_under_load(
    patient: AnyDatabase, witness: Witness, figures: Figures, sized: Sized
) -> None:
    attempts = FailedAttempts()
    changes = 0
    async with Clients(lambda key: run(patient, attempts.write_and_read, key, deadline=DEADLINE), 16) as clients:
        for number in range(sized(2, 20)):
            # psycopg prepares a statement at its fifth use on a connection.
            await clients.succeed(80)
            await asyncio.to_thread(witness.execute, f"ALTER TABLE receipts ADD COLUMN extra_{number} int")
            await clients.succeed(80)
            size = 50 + number
            await asyncio.to_thread(witness.execute, f"ALTER TABLE receipts ALTER COLUMN key TYPE varchar({size})")
            changes += 2
        await clients.succeed(100)
    witness.judge(clients, figures)
    figures.notes.append(
        f"{changes} changes, {sum(attempts.of_backend.values())} attempts failed and were retried, "
        f"at most {max(attempts.of_backend.values(), default=0)} on one connection"
    )
    assert clients.errors == []
    assert max(attempts.of_backend.values(), default=0) <= changes
    figures.leaked = witness.leaked(patient)
    assert figures.leaked == 0


@pytest.mark.parametrize("driver", ["postgresql+psycopg"])
async def test_a6_a_crash_may_give_a_number_twice(pooled: Database, server: EmbeddedPostgres, witness: Witness) -> None:
    """PostgreSQL forgets the numbers of transactions that ran when it crashed, and gives them to others."""
    doomed = pooled.session()
    insert(doomed, "doomed")
    receipt = take_receipt(doomed.connection())
    server.restart("immediate")
    with pytest.raises(DBAPIError):
        doomed.commit()
    doomed.close()
    assert find_outcome(pooled.engine, receipt) is Outcome.ABORTED
    with pooled.transaction() as tx:
        insert(tx, "another")
        again = take_receipt(tx.connection())
    assert again is not None
    assert receipt is not None
    assert again.transaction == receipt.transaction
    assert find_outcome(pooled.engine, again) is Outcome.COMMITTED
    assert find_outcome(pooled.engine, receipt) is Outcome.UNKNOWN
