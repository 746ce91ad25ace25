"""A18: connections are replaced, and the primary fails over, while clients work."""

from __future__ import annotations

import asyncio
import time

import pytest

from querywright import AsyncDatabase, CommitOutcomeUnknown
from querywright.testing import EmbeddedPostgres
from tests.faults.clients import PATIENT, AnyDatabase, Clients, Sized, Within, Witness, insert, open_database, run
from tests.faults.cluster import Cluster
from tests.faults.report import Figures

DRIVERS = pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg async", "postgresql+psycopg"])
DEADLINE = 10.0


async def dispose(db: AnyDatabase) -> None:
    if isinstance(db, AsyncDatabase):
        await db.dispose()
    else:
        await asyncio.to_thread(db.dispose)


@DRIVERS
async def test_a18_connections_are_replaced_under_load(
    driver: str, server: EmbeddedPostgres, witness: Witness, figures: Figures, sized: Sized
) -> None:
    async with open_database(driver, server.url, pool_recycle=0.2, pool_timeout=PATIENT) as db:
        async with Clients(lambda key: run(db, insert, key, deadline=PATIENT)) as clients:
            for _ in range(sized(3, 30)):
                await clients.succeed(70)
                await dispose(db)
            await clients.succeed(70)
        witness.judge(clients, figures)
        figures.leaked = witness.leaked(db)
    assert clients.errors == []
    assert figures.leaked == 0


@DRIVERS
async def test_a18_failover_loses_nothing(driver: str, figures: Figures, sized: Sized, within: Within) -> None:
    with Cluster() as cluster:
        before, after = (Witness(server.url("psycopg")) for server in (cluster.primary, cluster.standby))
        before.prepare()
        async with open_database(driver, cluster.url, pool_timeout=PATIENT) as db:
            async with Clients(lambda key: run(db, insert, key, deadline=DEADLINE)) as clients:
                await clients.succeed(sized(100, 3000))
                began = time.monotonic()
                await asyncio.to_thread(cluster.fail_over)
                figures.notes.append(f"failover took {time.monotonic() - began:.2f} s")
                await clients.succeed(sized(100, 3000))
            after.judge(clients, figures)
            figures.leaked = after.leaked(db)
        assert {type(error) for error in clients.errors} <= {CommitOutcomeUnknown}
        within(clients.slowest, DEADLINE + 1)
        assert figures.leaked == 0
