"""A12: behind PgBouncer in transaction mode everything works as it does without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import NullPool, TextClause, create_engine, func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from querywright import AsyncDatabase, ConfigurationError, Database
from querywright.engine import classify
from querywright.testing import EmbeddedPostgres
from tests.conftest import POSTGRES
from tests.faults.pgbouncer import SERVER_CONNECTIONS, PgBouncer, missing_program
from tests.faults.report import Figures
from tests.suite.support import AnyDatabase, resolve, run_sync, session, transaction

TASKS = 15
ROUNDS = 20
APPLICATION = "behind pgbouncer"


class Base(DeclarativeBase):
    pass


class Counter(Base):
    __tablename__ = "counters_behind_pgbouncer"

    id: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(default=0)


class CounterOut(BaseModel):
    id: int
    value: int


@pytest.fixture(scope="module")
def pgbouncer(postgres: EmbeddedPostgres) -> Iterator[PgBouncer]:
    if missing := missing_program():
        pytest.skip(missing)
    with PgBouncer(postgres.port) as running:
        yield running


@pytest.fixture
async def db(pgbouncer: PgBouncer, url: str, request: pytest.FixtureRequest) -> AsyncIterator[AnyDatabase]:
    schema = create_engine(url.replace("+asyncpg", "+psycopg"), poolclass=NullPool)
    Base.metadata.create_all(schema)
    driver = request.node.callspec.params["url"]
    options: dict[str, Any] = {"pool_size": TASKS, "pooler": "pgbouncer", "pool_timeout": 30, "ping_after_idle": 0}
    options["application_name"] = APPLICATION
    kind = Database if driver == "postgresql+psycopg" else AsyncDatabase
    opened: AnyDatabase = kind(pgbouncer.url(url), **options)
    yield opened
    await resolve(opened.dispose())
    Base.metadata.drop_all(schema)


def write(sync: Session, number: int) -> None:
    """Insert, read back and change, by statements of several shapes: each would be prepared under a name."""
    row = Counter(value=number)
    sync.add(row)
    sync.flush()
    for extra in range(number % 4):
        condition = (Counter.value >= extra) & (Counter.id == row.id)
        sync.execute(update(Counter).where(condition).values(value=Counter.value + 1))
    assert sync.scalar(select(Counter.value).where(Counter.id == row.id)) == number + number % 4


async def client(db: AnyDatabase, number: int) -> None:
    for each in range(ROUNDS):
        if isinstance(db, AsyncDatabase):
            async with db.transaction() as tx:
                await tx.run_sync(write, number + each)
        else:
            await asyncio.to_thread(in_thread, db, number + each)
        statement = select(Counter).where(Counter.value > each).order_by(Counter.id).limit(1 + each % 3)
        fetch: Any = db.fetch(CounterOut, statement)
        data = await (fetch.json() if isinstance(db, AsyncDatabase) else asyncio.to_thread(fetch.json))
        assert data.startswith(b"[")


def in_thread(db: Database, number: int) -> None:
    with db.transaction() as tx:
        write(tx, number)


@pytest.mark.drivers(*POSTGRES)
async def test_a12_pgbouncer_transactions_and_fetches_all_succeed(db: AnyDatabase, url: str, figures: Figures) -> None:
    await asyncio.gather(*(client(db, number) for number in range(TASKS)))
    engine = create_engine(url.replace("+asyncpg", "+psycopg"), poolclass=NullPool)
    with engine.connect() as direct:
        written = direct.scalar(select(func.count()).select_from(Counter))
        served = direct.scalar(
            text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name"), {"name": APPLICATION}
        )
    assert written == TASKS * ROUNDS
    assert served is not None
    assert 0 < served <= SERVER_CONNECTIONS
    figures.sent = figures.acknowledged = 2 * TASKS * ROUNDS
    figures.lost = TASKS * ROUNDS - written
    figures.notes.append(f"{TASKS} clients over {served} server connections")


@pytest.mark.drivers(*POSTGRES)
@pytest.mark.parametrize(
    "command",
    [
        "SET search_path TO pg_catalog",
        "SET ROLE pg_monitor",
        "SELECT pg_advisory_lock(42)",
        "SELECT set_config('app.tenant', 'acme', false)",
        "LISTEN news",
        "CREATE TEMP TABLE mine (id int)",
        "PREPARE mine AS SELECT 1",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    ],
)
async def test_what_would_be_the_next_clients_is_refused(db: AnyDatabase, command: str) -> None:
    for opened in (transaction(db), session(db)):
        with pytest.raises(ConfigurationError, match="behind a pooler"):
            async with opened as tx:
                await resolve(tx.execute(text(command)))


@pytest.mark.drivers(*POSTGRES)
async def test_what_ends_with_the_transaction_is_not(db: AnyDatabase) -> None:
    async with transaction(db) as tx:
        for command in (
            "SET LOCAL search_path TO public",
            "SELECT set_config('app.tenant', 'acme', true)",
            "SELECT pg_advisory_xact_lock(42)",
            "CREATE TEMP TABLE mine (id int) ON COMMIT DROP",
            "DO $$ BEGIN END $$",
        ):
            await resolve(tx.execute(text(command)))
    locked = select(Counter).where(func.pg_advisory_lock(Counter.id).is_not(None))
    for verb in ("all", "json"):
        with pytest.raises(ConfigurationError, match="behind a pooler"):
            await resolve(getattr(db.fetch(CounterOut, locked), verb)())
    # Elsewhere this name may change something; nobody knows that it does.
    named = select(Counter).where(text("EXISTS (SELECT 1 AS execute)"))
    for verb in ("all", "json"):
        await resolve(getattr(db.fetch(CounterOut, named), verb)())


def test_a_pooler_belongs_to_postgresql() -> None:
    with pytest.raises(ConfigurationError, match="does not fit sqlite"):
        Database("sqlite+pysqlite://", pooler="pgbouncer")


@pytest.fixture
def tolerant(postgres: EmbeddedPostgres) -> Iterator[PgBouncer]:
    """A pooler that ignores the settings of a connection, so that statements are what fails."""
    if missing := missing_program():
        pytest.skip(missing)
    ignored = "options,statement_timeout,lock_timeout,idle_in_transaction_session_timeout"
    with PgBouncer(postgres.port, ignore_startup_parameters=ignored) as running:
        yield running


def unaware(pooler: PgBouncer, url: str, driver: str) -> AnyDatabase:
    return (Database if driver == "postgresql+psycopg" else AsyncDatabase)(pooler.url(url), ping_after_idle=0)


def says_what_is_missing(error: DBAPIError) -> bool:
    """Look for the setting in SQLAlchemy's error and in ours, which is what is logged."""
    known = classify(error)
    assert known is not None
    return "pooler='pgbouncer'" in str(error) and "QUERYWRIGHT_POOLER=pgbouncer" in known.hint


@pytest.mark.drivers(*POSTGRES)
async def test_without_the_setting_the_refused_connection_says_so(
    pgbouncer: PgBouncer, url: str, request: pytest.FixtureRequest
) -> None:
    db = unaware(pgbouncer, url, request.node.callspec.params["url"])
    with pytest.raises(DBAPIError) as caught:
        await resolve(db.ping())
    assert says_what_is_missing(caught.value)
    with pytest.raises(DBAPIError) as caught:
        await resolve(db.fetch(CounterOut, select(Counter)).json())
    assert says_what_is_missing(caught.value)
    await resolve(db.dispose())


@pytest.mark.drivers(*POSTGRES)
async def test_without_the_setting_the_failed_statement_says_so(
    tolerant: PgBouncer, url: str, request: pytest.FixtureRequest
) -> None:
    db = unaware(tolerant, url, request.node.callspec.params["url"])
    if db.engine.dialect.driver == "psycopg2":
        pytest.skip("psycopg2 prepares no statements")
    statement = text("SELECT 1")
    # What a change of the server connection does, which is left to chance: the name is unknown to it.
    with pytest.raises(DBAPIError) as caught:
        for _ in range(10):
            await use(db, statement)
            await use(db, text("DEALLOCATE ALL"))
    assert says_what_is_missing(caught.value)
    await resolve(db.dispose())


async def use(db: AnyDatabase, statement: TextClause) -> None:
    async with transaction(db) as tx:
        await run_sync(tx, lambda sync: sync.execute(statement))


@pytest.mark.drivers(*POSTGRES)
async def test_where_the_setting_is_there_it_is_not_missed(db: AnyDatabase) -> None:
    with pytest.raises(DBAPIError) as caught:
        await use(db, text("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '26000'; END $$"))
    assert not says_what_is_missing(caught.value)
