"""How many statements are invented: --page-examples on each database, split into batches that run in any process."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

from querywright.testing import EmbeddedPostgres
from tests.drivers import synchronous
from tests.mariadb import PrivateMariaDB
from tests.paging.law import Figures

BATCH = 1000
LANES = {
    "sqlite+pysqlite": 0.8, "sqlite+aiosqlite": 0.2,
    "postgresql+psycopg": 0.7, "postgresql+asyncpg": 0.3,
    "mariadb+pymysql": 1.0,
}  # fmt: skip
_FIGURES = "pages"
# What has to be accepted that often in a run of so many statements.
MANY, OFTEN = 20_000, 500


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "page_batch" in metafunc.fixturenames:
        total = metafunc.config.getoption("--page-examples")
        batches = [batch for lane, share in LANES.items() for batch in _batches(lane, round(total * share))]
        metafunc.parametrize(("paged_url", "page_batch", "examples"), batches, indirect=["paged_url"])


def _batches(lane: str, share: int) -> list[tuple[str, int, int]]:
    count = max(1, math.ceil(share / BATCH))
    return [(lane, number, share * (number + 1) // count - share * number // count) for number in range(count)]


@pytest.fixture
def paged_url(request: pytest.FixtureRequest) -> str:
    """A database for the tables of these tests; of SQLite, one that is new with each connection."""
    driver: str = request.param
    if driver.startswith("sqlite"):
        return f"{driver}://"
    if driver.startswith("mariadb"):
        maria: PrivateMariaDB = request.getfixturevalue("mariadb")
        return maria.url(driver)
    server: EmbeddedPostgres = request.getfixturevalue("postgres")
    return synchronous(server.url(driver.partition("+")[2], request.getfixturevalue("shared_postgres_database")))


@pytest.fixture
def figures(paged_url: str) -> Figures:
    """Counts what the statements of a test became."""
    return Figures(paged_url.partition("+")[0])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    found = getattr(item, "funcargs", {}).get("figures")
    if report.when == "call" and isinstance(found, Figures):
        report.user_properties.append((_FIGURES, {name: _plain(value) for name, value in vars(found).items()}))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, ())]
    totals: dict[str, Figures] = {}
    failed: Counter[str] = Counter()
    for report in reports:
        for found in [value for name, value in report.user_properties if name == _FIGURES]:
            total = totals.setdefault(found["database"], Figures(found["database"]))
            _add(total, found)
            failed[found["database"]] += report.failed
    for database, total in totals.items():
        terminalreporter.section(f"pages on {database}")
        for line in _table(total, failed[database]):
            terminalreporter.write_line(line)


def _plain(value: Any) -> Any:
    """Make it what a process can tell another."""
    return dict(value) if isinstance(value, Counter) else value


def _add(total: Figures, found: dict[str, Any]) -> None:
    total.invented += found["invented"]
    total.invalid += found["invalid"]
    total.accepted.update(found["accepted"])
    total.refused.update(found["refused"])


def _table(total: Figures, differences: int) -> list[str]:
    lines = [f"{total.invented:7} invented", f"{total.invalid:7} that the database itself refuses"]
    lines += [f"{differences:7} differences", "        accepted:"]
    for tag, count in sorted(total.accepted.items()):
        few = total.invented >= MANY and count < OFTEN
        lines.append(f"{count:7} {tag}{' - TOO FEW' if few else ''}")
    return [*lines, "        refused:", *(f"{count:7} {reason}" for reason, count in total.refused.most_common())]
