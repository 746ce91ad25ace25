"""Databases under test: SQLite in files, and one PostgreSQL and one MariaDB for each test process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import Engine, NullPool, create_engine, text

from querywright import AsyncDatabase, Database
from querywright.testing import EmbeddedPostgres
from tests.faults.plugin import (  # noqa: F401 - pytest finds hooks by their names
    pytest_itemcollected,
    pytest_runtest_makereport,
    pytest_terminal_summary,
)
from tests.mariadb import PrivateMariaDB, missing_programs
from tests.suite.models import Base

# More examples: --hypothesis-profile=fuzz; fewer, for a second set of versions: few
settings.register_profile("querywright", deadline=None, print_blob=True, max_examples=60)
settings.register_profile("few", deadline=None, print_blob=True, max_examples=20)
settings.register_profile("fuzz", deadline=None, print_blob=True, max_examples=3000)
settings.load_profile("querywright")

AnyDatabase = Database | AsyncDatabase

SYNC = ("sqlite+pysqlite", "postgresql+psycopg", "mariadb+pymysql")
ASYNC = ("sqlite+aiosqlite", "postgresql+asyncpg", "postgresql+psycopg async", "mariadb+aiomysql")
POSTGRES = ("postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg")


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


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; parametrized by driver."""
    driver = str(request.param).removesuffix(" async")
    if driver.startswith("sqlite"):
        return f"{driver}:///{tmp_path}/test.db"
    if driver.startswith("mariadb"):
        maria: PrivateMariaDB = request.getfixturevalue("mariadb")
        return maria.url(driver)
    server: EmbeddedPostgres = request.getfixturevalue("postgres")
    return server.url(driver.partition("+")[2], request.getfixturevalue("shared_postgres_database"))


@pytest.fixture
async def db(request: pytest.FixtureRequest, url: str) -> AsyncIterator[AnyDatabase]:
    """A database with the suite's tables, once for each driver and kind."""
    driver: str = request.node.callspec.params["url"]
    schema = create_engine(_sync(url), poolclass=NullPool)
    Base.metadata.create_all(schema)
    database: AnyDatabase = Database(url) if driver in SYNC else AsyncDatabase(url)
    try:
        yield database
    finally:
        await _close(database)
        _drop(schema)


def _sync(url: str) -> str:
    return url.replace("+aiosqlite", "+pysqlite").replace("+asyncpg", "+psycopg").replace("+aiomysql", "+pymysql")


async def _close(database: AnyDatabase) -> None:
    if isinstance(database, AsyncDatabase):
        await database.dispose()
    else:
        database.dispose()


def _drop(engine: Engine) -> None:
    Base.metadata.drop_all(engine)
    engine.dispose()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a database once for each driver, or for those it names with ``drivers``."""
    if "url" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("drivers")
        metafunc.parametrize("url", marker.args if marker else (*SYNC, *ASYNC), indirect=True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "drivers(*names): the drivers that a test of a database runs on")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-examples", type=int, default=2000, help="how many worlds tests/fuzz invents")
    parser.addoption("--page-examples", type=int, default=300, help="how many statements tests/paging invents")
    parser.addoption("--faults", choices=("quick", "full"), help="size of tests/faults; prints its table as well")
