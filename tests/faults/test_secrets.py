"""A15: the password is in no message, whatever goes wrong."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from querywright import AsyncDatabase, Database, DatabaseSettings
from querywright.engine import classify
from querywright.errors import QuerywrightError
from querywright.testing import EmbeddedPostgres
from tests.conftest import POSTGRES
from tests.faults.report import Figures
from tests.suite.support import AnyDatabase, resolve, run_sync, session

# What every way of writing them leaves as it is.
CORE = "hunter2"
PASSWORD = f"{CORE}!%/@: it's"
WRONG = f"wrong-{CORE}"
ROLE = "guarded_by_a_password"

pytestmark = [
    pytest.mark.drivers(*POSTGRES),
    pytest.mark.parametrize("hidden", ["in the password", "in the query"]),
]


@contextmanager
def guarded(server: EmbeddedPostgres) -> Iterator[None]:
    """Make a role that has to give its password."""
    engine = create_engine(server.url("psycopg"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        rules = Path(str(connection.scalar(text("SHOW hba_file"))))
        before = rules.read_text()
        literal = PASSWORD.replace("'", "''").replace("%", "%%")
        connection.exec_driver_sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{literal}'")
        try:
            rules.write_text(f"host all {ROLE} 127.0.0.1/32 scram-sha-256\n{before}")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
            yield
        finally:
            rules.write_text(before)
            connection.exec_driver_sql("SELECT pg_reload_conf()")
            connection.exec_driver_sql(f"DROP ROLE {ROLE}")


@pytest.fixture
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.node.callspec.params["url"]
    return name


@pytest.fixture
def write(url: str, hidden: str) -> Callable[..., str]:
    """Write a URL with a password in it, changed as told."""

    def written(password: str = PASSWORD, **changes: Any) -> str:
        plain = make_url(url).set(**changes)
        if hidden == "in the password":
            return plain.set(password=password).render_as_string(hide_password=False)
        return plain.set(query={**plain.query, "password": password}).render_as_string(hide_password=False)

    return written


@contextmanager
def watched(caplog: pytest.LogCaptureFixture, caught: list[str]) -> Iterator[None]:
    """Look through all that is logged and all that was caught."""
    with caplog.at_level(logging.DEBUG):
        yield
    logged = [f"{record.getMessage()} {record.exc_text}" for record in caplog.records]
    assert [each for each in logged + caught if CORE in each] == []


def told_by(error: BaseException) -> list[str]:
    """Everything that an error tells, and what Querywright makes of it."""
    known = error if isinstance(error, QuerywrightError) else classify(error)
    return [
        str(error),
        repr(error),
        repr(error.args),
        str(known),
        repr(known),
        "".join(traceback.format_exception(error)),
    ]


async def fails(db: AnyDatabase) -> list[str]:
    """Query where that must fail; return all that is told."""
    told = [
        repr(db),
        str(db),
        repr(db.engine),
        str(db.engine),
        repr(db.engine.url),
        repr(db.settings),
        str(db.settings),
    ]
    try:
        async with session(db) as opened:
            await run_sync(opened, lambda sync: sync.execute(text("SELECT 1")))
    except (SQLAlchemyError, QuerywrightError, OSError) as error:
        told += told_by(error)
    else:
        pytest.fail("it did not fail")
    return told


def make(url: str, driver: str, **options: Any) -> AnyDatabase:
    return Database(url, **options) if driver == "postgresql+psycopg" else AsyncDatabase(url, **options)


async def test_a15_password_not_shown_for_a_bad_host(
    write: Callable[..., str], driver: str, caplog: pytest.LogCaptureFixture, figures: Figures
) -> None:
    caught: list[str] = []
    with watched(caplog, caught):
        for host, port in (("127.0.0.1", 1), ("no.such.host.invalid", 5432)):
            caught += await fails(make(write(host=host, port=port), driver, connect_timeout=2))
    figures.notes.append("bad host, bad password, bad URL, pool timeout: nothing shown")


async def test_a15_password_not_shown_for_a_bad_password(
    write: Callable[..., str], driver: str, caplog: pytest.LogCaptureFixture, postgres: EmbeddedPostgres
) -> None:
    caught: list[str] = []
    with guarded(postgres), watched(caplog, caught):
        caught += await fails(make(write(WRONG, username=ROLE), driver))
        db = make(write(username=ROLE), driver)
        async with session(db) as opened:
            assert await run_sync(opened, lambda sync: sync.scalar(text("SELECT current_user"))) == ROLE
        await resolve(db.dispose())
    assert any("password authentication failed" in each for each in caught)
    assert any(each.startswith("DatabaseUnavailable(") for each in caught)


def bad_settings(url: str) -> DatabaseSettings:
    return DatabaseSettings(url=url, pool_size="many")


async def test_a15_password_not_shown_for_a_bad_url(
    write: Callable[..., str], driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    caught: list[str] = []
    good = write()
    urls = [good.replace("+", "-", 1), good.replace("127.0.0.1:", "127.0.0.1:x"), good.replace("+asyncpg", "+pg8000")]
    with watched(caplog, caught):
        for url in urls:
            makers: list[Callable[[str], object]] = [Database, AsyncDatabase, bad_settings]
            for maker in makers:
                try:
                    made = maker(url)
                except (QuerywrightError, TypeError) as error:
                    caught += told_by(error)
                else:
                    caught.append(repr(made))
    assert caught


async def test_a15_password_not_shown_for_a_pool_timeout(
    write: Callable[..., str], driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    caught: list[str] = []
    with watched(caplog, caught):
        db = make(write(), driver, pool_size=1, max_overflow=0, pool_timeout=0.05)
        async with session(db) as opened:
            await run_sync(opened, lambda sync: sync.execute(text("SELECT 1")))
            caught += await fails(db)
        await resolve(db.dispose())
