"""What the fault tests share: a server to break, a network to break in front of it, and the table of figures."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from querywright.testing import EmbeddedPostgres
from tests.faults.clients import PATIENT, AnyDatabase, Sized, Within, Witness, open_database
from tests.faults.proxy import Proxy
from tests.faults.report import Figures


@pytest.fixture
def proxy(postgres: EmbeddedPostgres) -> Iterator[Proxy]:
    """A proxy in front of the PostgreSQL of this process."""
    with Proxy(postgres.port) as running:
        yield running


@pytest.fixture(scope="session")
def private_server() -> Iterator[EmbeddedPostgres]:
    """A server that only the fault tests of this process use.

    A crash loses nothing that it has acknowledged, and as much as possible of what it has not.
    """
    server = EmbeddedPostgres(
        shared_buffers="32MB", max_connections="100", synchronous_commit="on", wal_writer_delay="10s"
    )
    with server:
        yield server


@pytest.fixture
def server(private_server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """A server to break; it runs again afterwards."""
    yield private_server
    if not private_server._running:
        private_server.start()


@pytest.fixture
def witness(server: EmbeddedPostgres) -> Iterator[Witness]:
    """Someone who looks at the server from outside; the table of receipts is empty."""
    witness = Witness(server.url("psycopg"))
    witness.prepare()
    yield witness
    witness.engine.dispose()


@pytest.fixture
async def pooled(driver: str, server: EmbeddedPostgres) -> AsyncIterator[AnyDatabase]:
    """A database of ten connections on the server to break, by the driver that the test is parametrized with."""
    async with open_database(driver, server.url) as db:
        yield db


@pytest.fixture
async def patient(driver: str, server: EmbeddedPostgres) -> AsyncIterator[AnyDatabase]:
    """The same, whose clients wait for a connection as long as it takes: on a busy machine that is no error of ours."""
    async with open_database(driver, server.url, pool_timeout=PATIENT) as db:
        yield db


@pytest.fixture
def figures() -> Figures:
    """What the test measures, for the table."""
    return Figures()


@pytest.fixture
def sized(request: pytest.FixtureRequest) -> Sized:
    """Choose between a size for every day and the full one."""
    full = request.config.getoption("--faults") == "full"
    return lambda quick, large: large if full else quick


@pytest.fixture
def within(request: pytest.FixtureRequest) -> Within:
    """Judge how long something took: only in a full run, for other tests run beside a quick one.

    Where more processes want to run than there are cores, each second may last as much longer.
    """
    full = request.config.getoption("--faults") == "full"

    def judge(seconds: float, bound: float) -> None:
        load = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        assert not full or seconds < bound * load, f"{seconds:.2f} s, at a load of {load:.1f} for each core"

    return judge
