"""What the fault tests share: a server to break, a network to break in front of it, and the table of figures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import asdict

import pytest

from querywright.testing import EmbeddedPostgres
from tests.faults.clients import AnyDatabase, Sized, Witness, open_database
from tests.faults.proxy import Proxy
from tests.faults.report import FIGURES, SUBJECT, Figures, subject, table


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
def figures() -> Figures:
    """What the test measures, for the table."""
    return Figures()


@pytest.fixture
def sized(request: pytest.FixtureRequest) -> Sized:
    """Choose between a size for every day and the full one."""
    full = request.config.getoption("--faults") == "full"
    return lambda quick, large: large if full else quick


def pytest_itemcollected(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and (found := subject(item)):
        item.user_properties.append((SUBJECT, list(found)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    figures = getattr(item, "funcargs", {}).get("figures")
    if report.when == "call" and figures is not None:
        report.user_properties.append((FIGURES, asdict(figures)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.config.getoption("--faults") is None:
        return
    outcomes = ("passed", "failed", "error", "skipped")
    reports = [(outcome, report) for outcome in outcomes for report in terminalreporter.stats.get(outcome, ())]
    terminalreporter.section("faults")
    for line in table(reports):
        terminalreporter.write_line(line)
