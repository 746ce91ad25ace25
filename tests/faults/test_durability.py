"""A19: who is told 2xx can rely on it; a COMMIT that failed is never one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from querywright import AsyncDatabase
from querywright.testing import EmbeddedPostgres
from tests.faults.clients import Clients, Sized, Witness, open_database
from tests.faults.proxy import Proxy
from tests.faults.report import Figures
from tests.faults.web import Refused, application, served, write

ASYNC = pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg async"])


@pytest.fixture
async def second(server: EmbeddedPostgres) -> AsyncIterator[AsyncEngine]:
    """Another client's own connections to the server."""
    engine = create_async_engine(server.url("asyncpg"), isolation_level="AUTOCOMMIT", pool_size=16)
    yield engine
    await engine.dispose()


@ASYNC
async def test_a19_what_was_answered_can_be_seen(
    patient: AsyncDatabase, second: AsyncEngine, witness: Witness, figures: Figures, sized: Sized
) -> None:
    unseen: list[str] = []

    async def write_and_look(client: httpx.AsyncClient, key: str) -> None:
        await write(client, key)
        async with second.connect() as connection:
            if not await connection.scalar(text("SELECT 1 FROM receipts WHERE key = :key"), {"key": key}):
                unseen.append(key)

    async with served(application(patient)) as client, Clients(partial(write_and_look, client), 16) as clients:
        await clients.succeed(sized(200, 3_000))
    witness.judge(clients, figures)
    figures.leaked = witness.leaked(patient)
    assert unseen == []
    assert clients.errors == []
    assert figures.leaked == 0


@ASYNC
async def test_a19_a_constraint_that_fails_at_commit_is_a_conflict(
    pooled: AsyncDatabase, witness: Witness, figures: Figures
) -> None:
    witness.execute("ALTER TABLE receipts ADD UNIQUE (key) DEFERRABLE INITIALLY DEFERRED")
    async with served(application(pooled)) as client:
        await write(client, "taken")
        with pytest.raises(Refused) as refused:
            await write(client, "taken")
    figures.sent, figures.acknowledged = 2, witness.scalar("SELECT count(*) FROM receipts")
    assert refused.value.status == 409
    assert refused.value.clean
    assert figures.acknowledged == 1


@pytest.mark.parametrize("reaches_server", [True, False])
@ASYNC
async def test_a19_a_connection_cut_at_commit_is_no_success(
    driver: str, server: EmbeddedPostgres, witness: Witness, figures: Figures, *, reaches_server: bool
) -> None:
    with Proxy(server.port) as network:
        async with open_database(driver, lambda name: network.url(server.url(name))) as db:
            assert isinstance(db, AsyncDatabase)
            async with served(application(db)) as client, Clients(partial(write, client), 8) as clients:
                await clients.succeed(20)
                network.cut_commits(8, reaches_server=reaches_server)
                await clients.succeed(100)
            witness.judge(clients, figures)
            figures.leaked = witness.leaked(db)
    figures.notes.append(f"{network.cut} cut at COMMIT")
    assert network.cut == 8
    assert len(clients.errors) >= 8
    assert all(isinstance(error, Refused) and error.status == 503 and error.clean for error in clients.errors)
    assert figures.leaked == 0
