"""How many examples are invented: --fuzz-examples, split into batches that run in any process."""

from __future__ import annotations

import math

import pytest

from querywright.testing import EmbeddedPostgres
from tests.drivers import synchronous

BATCH = 250
LANES = {"sqlite+pysqlite": 0.6, "postgresql+psycopg": 0.3, "sqlite+aiosqlite": 0.05, "postgresql+asyncpg": 0.05}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "batch" in metafunc.fixturenames:
        total = metafunc.config.getoption("--fuzz-examples")
        batches = [batch for lane in LANES for batch in _batches(lane, total)]
        metafunc.parametrize(("invented_url", "batch", "examples"), batches, indirect=["invented_url"])


def _batches(lane: str, total: int) -> list[tuple[str, int, int]]:
    """Cut the examples of one lane into batches of about the same size."""
    share = round(total * LANES[lane])
    count = max(1, math.ceil(share / BATCH))
    return [(lane, number, share * (number + 1) // count - share * number // count) for number in range(count)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the batches: nothing takes longer, and at the end another process would wait for the last one."""
    items.sort(key=lambda item: "batch" not in getattr(item, "fixturenames", ()))


@pytest.fixture
def invented_url(request: pytest.FixtureRequest) -> str:
    """A database without tables; of SQLite, one that is new with each connection."""
    driver: str = request.param
    if driver.startswith("sqlite"):
        return f"{driver}://"
    server: EmbeddedPostgres = request.getfixturevalue("postgres")
    return synchronous(server.url(driver.partition("+")[2], request.getfixturevalue("shared_postgres_database")))
