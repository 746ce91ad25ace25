"""What the modes mean against real servers, with TLS and without, on every driver."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from querywright import AsyncDatabase, Database, DatabaseUnavailable
from querywright.engine import classify
from querywright.testing import EmbeddedPostgres
from tests.conftest import SYNC
from tests.suite.support import AnyDatabase, resolve, run_sync, session
from tests.tls.certificates import Certificates
from tests.tls.conftest import HERE, OUTSIDE
from tests.tls.servers import Listener

DRIVERS = (
    "postgresql+psycopg",
    "postgresql+psycopg async",
    "postgresql+asyncpg",
    "mariadb+pymysql",
    "mariadb+aiomysql",
)
IS_ENCRYPTED = {
    "postgresql": "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "mariadb": "SELECT variable_value <> '' FROM information_schema.session_status WHERE variable_name = 'ssl_cipher'",
}
SECRET = "hunter2"  # noqa: S105 - what must not be found


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def with_tls(driver: str, request: pytest.FixtureRequest) -> str:
    """The URL of a server that takes TLS, at its loopback address."""
    server: Any = request.getfixturevalue("tls_postgres" if is_postgres(driver) else "tls_mariadb")
    return plain(server.url(library(driver)), driver)


@pytest.fixture
def without_tls(driver: str, request: pytest.FixtureRequest) -> str:
    """The URL of a server that does not."""
    server: Any = request.getfixturevalue("postgres" if is_postgres(driver) else "mariadb")
    return plain(server.url(library(driver)), driver)


def is_postgres(driver: str) -> bool:
    return driver.startswith("postgresql")


def library(driver: str) -> str:
    return driver.removeprefix("postgresql+").removesuffix(" async")


def plain(url: str, driver: str) -> str:
    return make_url(url).set(query={}, drivername=driver.removesuffix(" async")).render_as_string(hide_password=False)


def changed(url: str, host: str = HERE, **query: str | Path) -> str:
    parameters = {name: str(value) for name, value in query.items()}
    return make_url(url).set(host=host, query=parameters).render_as_string(hide_password=False)


@asynccontextmanager
async def database(driver: str, url: str) -> AsyncIterator[AnyDatabase]:
    db: AnyDatabase = Database(url) if driver in SYNC else AsyncDatabase(url)
    try:
        yield db
    finally:
        await resolve(db.dispose())


async def is_encrypted(driver: str, url: str) -> bool:
    statement = text(IS_ENCRYPTED[driver.partition("+")[0]])
    async with database(driver, url) as db, session(db) as opened:
        return bool(await run_sync(opened, lambda sync: sync.scalar(statement)))


async def advice(driver: str, url: str) -> str:
    """Fail to connect, and return the advice; SQLAlchemy's error and ours have to have it, clients must not."""
    with pytest.raises(DBAPIError) as caught:
        await is_encrypted(driver, url)
    known = classify(caught.value)
    assert type(known) is DatabaseUnavailable
    assert known.hint
    assert known.hint in str(caught.value)
    assert known.message == "The database cannot be reached at the moment."
    return known.hint


async def test_a_server_outside_has_to_be_known(driver: str, with_tls: str, certificates: Certificates) -> None:
    said = await advice(driver, changed(with_tls, OUTSIDE))
    assert "not trusted" in said
    assert "sslrootcert=/path/to/ca.pem" in said
    assert await is_encrypted(driver, changed(with_tls, OUTSIDE, sslrootcert=certificates.authority))


async def test_an_authority_that_vouches_for_others_is_not_enough(
    driver: str, with_tls: str, certificates: Certificates
) -> None:
    assert "not trusted" in await advice(
        driver, changed(with_tls, OUTSIDE, sslrootcert=certificates.certificate("postgres"))
    )


async def test_a_server_has_to_have_the_name_that_was_asked_for(
    driver: str, with_tls: str, certificates: Certificates
) -> None:
    said = await advice(driver, changed(with_tls, HERE, sslmode="verify-full", sslrootcert=certificates.authority))
    assert "is for another name" in said
    assert "sslmode=verify-ca" in said
    assert await is_encrypted(driver, changed(with_tls, HERE, sslmode="verify-ca", sslrootcert=certificates.authority))


async def test_weaker_modes_are_asked_for_by_name(driver: str, with_tls: str) -> None:
    assert await is_encrypted(driver, changed(with_tls, OUTSIDE, sslmode="require"))
    assert await is_encrypted(driver, changed(with_tls, OUTSIDE, sslmode="prefer"))
    assert not await is_encrypted(driver, changed(with_tls, OUTSIDE, sslmode="disable"))


async def test_a_local_server_is_asked_for_tls_and_may_refuse(driver: str, with_tls: str, without_tls: str) -> None:
    assert await is_encrypted(driver, changed(with_tls, HERE))
    assert not await is_encrypted(driver, changed(without_tls, HERE))


async def test_a_server_without_tls(driver: str, without_tls: str, certificates: Certificates) -> None:
    for query in ({}, {"sslmode": "require"}, {"sslmode": "verify-ca", "sslrootcert": certificates.authority}):
        said = await advice(driver, changed(without_tls, OUTSIDE, **query))
        assert "takes no TLS" in said
        assert "sslmode=disable" in said
    for mode in ("prefer", "allow", "disable"):
        assert not await is_encrypted(driver, changed(without_tls, OUTSIDE, sslmode=mode))


async def test_nothing_is_told_to_a_server_that_refuses(driver: str) -> None:
    with Listener(driver.partition("+")[0]) as listener:
        url = f"{driver.removesuffix(' async')}://{SECRET}:{SECRET}@{OUTSIDE}:{listener.port}/{SECRET}"
        await advice(driver, url)
    assert listener.told == b""


async def test_a_certificate_of_our_own(driver: str, with_tls: str, certificates: Certificates) -> None:
    with guarded(with_tls) as account:
        url = make_url(changed(with_tls, OUTSIDE, sslrootcert=certificates.authority)).set(username=account)
        with pytest.raises(DBAPIError):
            await is_encrypted(driver, str(url))
        ours = {"sslcert": certificates.certificate("postgres"), "sslkey": certificates.key("postgres")}
        url = url.update_query_dict({name: str(path) for name, path in ours.items()})
        assert await is_encrypted(driver, str(url))


@contextmanager
def guarded(url: str) -> Iterator[str]:
    """Let an account in only with a certificate."""
    at = make_url(url)
    if not is_postgres(at.drivername):
        engine = create_engine(at.set(drivername="mariadb+pymysql", query={"ssl_disabled": "true"}), poolclass=NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE USER guarded REQUIRE X509")
            connection.exec_driver_sql("GRANT ALL ON test.* TO guarded")
        try:
            yield "guarded"
        finally:
            with engine.begin() as connection:
                connection.exec_driver_sql("DROP USER guarded")
        return
    engine = create_engine(at.set(drivername="postgresql+psycopg"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        rules = Path(str(connection.scalar(text("SHOW hba_file"))))
        before = rules.read_text()
        rules.write_text(f"hostssl all postgres 127.0.0.1/32 cert\n{before}")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
        try:
            yield "postgres"
        finally:
            rules.write_text(before)
            connection.exec_driver_sql("SELECT pg_reload_conf()")


def test_the_authorities_of_the_system_are_trusted(driver: str, with_tls: str, certificates: Certificates) -> None:
    """In a process of its own: a variable says where they are, and everything in it reads them."""
    code = (
        "import asyncio, sys, tests.tls.test_servers as t;assert asyncio.run(t.is_encrypted(sys.argv[1], sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, driver, changed(with_tls, OUTSIDE)]
    environment = {**os.environ, "SSL_CERT_FILE": str(certificates.authority), "SSL_CERT_DIR": "/nowhere"}
    done = subprocess.run(  # noqa: S603 - our own code
        command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_connection_of_a_closed_event_loop_is_given_up(tls_postgres: EmbeddedPostgres) -> None:
    db = AsyncDatabase(changed(tls_postgres.url(), OUTSIDE, sslmode="require"))

    async def use_and_close() -> None:
        await db.ping()
        await db.dispose()

    asyncio.run(db.ping())
    asyncio.run(use_and_close())
    # What was left open would complain.
    gc.collect()
