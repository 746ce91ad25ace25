"""Databases under test: SQLite in files, and one PostgreSQL and one MariaDB for each test process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from sqlalchemy import MetaData, NullPool, create_engine, text

from querywright import AsyncDatabase, Database
from querywright.testing import EmbeddedPostgres
from tests import drivers, skipped
from tests.faults import plugin
from tests.mariadb import PrivateMariaDB, missing_programs
from tests.suite.models import Base
from tests.tables import Reused, Template, needed, needs

# More examples: --hypothesis-profile=fuzz; fewer, for a second set of versions: few
settings.register_profile("querywright", deadline=None, print_blob=True, max_examples=60)
settings.register_profile("few", deadline=None, print_blob=True, max_examples=20)
settings.register_profile("fuzz", deadline=None, print_blob=True, max_examples=3000)
settings.load_profile("querywright")

AnyDatabase = Database | AsyncDatabase
Prepared = Callable[[str, tuple[MetaData, ...]], Template | Reused]

SYNC = ("sqlite+pysqlite", "postgresql+psycopg", "mariadb+pymysql")
ASYNC = ("sqlite+aiosqlite", "postgresql+asyncpg", "postgresql+psycopg async", "mariadb+aiomysql")
POSTGRES = ("postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg")
# Most pages of the tests are ordered by what their models do not show.
CURSOR_SECRET = "known to all workers of the tests"  # noqa: S105 - only here


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(shared_buffers="32MB", max_connections="60") as server:
        yield server


@pytest.fixture(scope="session")
def new_postgres_database(postgres: EmbeddedPostgres) -> Iterator[Callable[[], str]]:
    """Create empty databases; gives their names."""
    engine = create_engine(postgres.url("psycopg"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    made: list[str] = []

    def create() -> str:
        name = f"test_{len(made)}"
        made.append(name)
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} STRATEGY FILE_COPY"))
        return name

    yield create
    engine.dispose()


@pytest.fixture(scope="session")
def shared_postgres_database(new_postgres_database: Callable[[], str]) -> str:
    return new_postgres_database()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[PrivateMariaDB]:
    if missing := missing_programs():
        pytest.skip(missing)
    with PrivateMariaDB() as server:
        yield server


@pytest.fixture(scope="session")
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """Give the database of a system that has some tables, the same one each time."""
    made: dict[Any, Template | Reused] = {}

    def get(system: str, tables: tuple[MetaData, ...]) -> Template | Reused:
        key = (system, tables)
        if key in made:
            return made[key]
        if system == "sqlite":
            made[key] = Template(tables, tmp_path_factory.mktemp("template") / "test.db")
        elif system == "mariadb":
            maria: PrivateMariaDB = request.getfixturevalue("mariadb")
            made[key] = Reused(tables, lambda: maria.url("mariadb+pymysql", maria.new_database()))
        else:
            postgres: EmbeddedPostgres = request.getfixturevalue("postgres")
            new = request.getfixturevalue("new_postgres_database")
            made[key] = Reused(tables, lambda: postgres.url("psycopg", new()))
        return made[key]

    yield get
    for each in made.values():
        if isinstance(each, Reused):
            each.forget()


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path, prepared: Prepared) -> Iterator[str]:
    """The URL of a database without rows, parametrized by driver; it has the tables that fixtures of the test need."""
    driver = str(request.param).removesuffix(" async")
    system = driver.partition("+")[0]
    database = prepared(system, needed(request.fixturenames))
    if isinstance(database, Template):
        path = tmp_path / "test.db"
        database.copy(path)
        yield f"{driver}:///{path}"
    else:
        yield database.url(driver)
        database.empty()


@pytest.fixture
@needs(Base.metadata)
def suite_tables() -> None:
    """The tables of tests/suite/models.py."""


@pytest.fixture
async def db(request: pytest.FixtureRequest, url: str, suite_tables: None) -> AsyncIterator[AnyDatabase]:
    """A database with the suite's tables, once for each driver and kind."""
    driver: str = request.node.callspec.params["url"]
    kind = Database if driver in SYNC else AsyncDatabase
    database: AnyDatabase = kind(url, cursor_secret=CURSOR_SECRET)
    try:
        yield database
    finally:
        await _close(database)


async def _close(database: AnyDatabase) -> None:
    if isinstance(database, AsyncDatabase):
        await database.dispose()
    else:
        database.dispose()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a database once for each driver, or for those it names with ``drivers``."""
    if "url" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("drivers")
        metafunc.parametrize("url", marker.args if marker else (*SYNC, *ASYNC), indirect=True)


# Our own limits, for processes that a test starts as well: where many tests run at once, each step may take long.
_PATIENCE = {"QUERYWRIGHT_CONNECT_TIMEOUT": "60", "QUERYWRIGHT_BUSY_TIMEOUT": "60", "QUERYWRIGHT_POOL_TIMEOUT": "60"}


def pytest_configure(config: pytest.Config) -> None:
    os.environ.update(_PATIENCE)
    config.addinivalue_line("markers", "drivers(*names): the drivers that a test of a database runs on")
    drivers.pytest_configure(config)
    config.pluginmanager.register(plugin)
    config.pluginmanager.register(skipped)


def pytest_addoption(parser: pytest.Parser) -> None:
    drivers.pytest_addoption(parser)
    parser.addoption("--fuzz-examples", type=int, default=1000, help="how many worlds tests/fuzz invents")
    parser.addoption("--page-examples", type=int, default=300, help="how many statements tests/paging invents")
    parser.addoption("--api-cases", type=int, default=60, help="how many requests tests/conformance makes up")
    parser.addoption("--faults", choices=("quick", "full"), help="size of tests/faults; prints its table as well")
