"""Repeats of a request that takes long wait without a connection, and not for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import MetaData, func, select, text

from querywright import Database, IdempotencyKeys
from querywright.fastapi import IdempotentRoute, Reader, SyncReader, SyncWriter, Writer, everybody, install
from querywright.session.units.turns import Turns
from tests.suite.models import Tag, TagOut
from tests.suite.support import AnyDatabase, resolve
from tests.tables import needs

metadata = MetaData()
keys = IdempotencyKeys(metadata)
SERVERS = (
    "postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg", "mariadb+pymysql", "mariadb+aiomysql",
)  # fmt: skip
# More than threads for synchronous path operations, which are forty.
REPEATS = 50


class Route(IdempotentRoute):
    caller = Depends(everybody)


@dataclass
class Slow:
    """A path operation that ends when it is told to, and how many requests have come as far as their dependencies."""

    arrived: int = 0
    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    fails: bool = False
    turns: Turns = field(default_factory=lambda: Turns(1))
    after_commit: list[Any] = field(default_factory=list)

    async def came(self) -> None:
        self.arrived += 1

    def write(self, tx: Any) -> None:
        tx.on_commit(lambda: self.after_commit.append(list(self.turns._waiting)))
        tx.add(Tag(name="slow"))
        tx.flush()

    def wait(self) -> None:
        self.begun.set()
        assert self.ended.wait(60)
        if self.fails:
            self.fails = False
            raise RuntimeError


def asynchronous(app: FastAPI, router: APIRouter, slow: Slow) -> None:
    async def login(tx: Writer) -> None:
        await tx.execute(text("SELECT 1"))

    @router.post("/slow")
    @router.post("/known", dependencies=[Depends(login)])
    async def create(tx: Writer) -> int:
        await tx.run_sync(slow.write)
        await run_in_threadpool(slow.wait)
        return 1

    @app.get("/tags")
    async def tags(db: Reader) -> list[TagOut]:
        return await db.fetch(TagOut, select(Tag)).all()


def synchronous(app: FastAPI, router: APIRouter, slow: Slow) -> None:
    def login(tx: SyncWriter) -> None:
        tx.execute(text("SELECT 1"))

    @router.post("/slow")
    @router.post("/known", dependencies=[Depends(login)])
    def create(tx: SyncWriter) -> int:
        slow.write(tx)
        slow.wait()
        return 1

    @app.get("/tags")
    def tags(db: SyncReader) -> list[TagOut]:
        return db.fetch(TagOut, select(Tag)).all()


@asynccontextmanager
async def serve(db: AnyDatabase, slow: Slow, lock_timeout: float = 60) -> AsyncIterator[httpx.AsyncClient]:
    """An application of its own, as another process has one, with three connections."""
    app = FastAPI()
    url = db.engine.url.render_as_string(hide_password=False)
    own = type(db)(url, pool_size=3, max_overflow=0, pool_timeout=2, lock_timeout=lock_timeout)
    install(app, own, idempotency=keys)
    slow.turns = own.turns
    router = APIRouter(route_class=Route, dependencies=[Depends(slow.came)])
    (synchronous if isinstance(db, Database) else asynchronous)(app, router, slow)
    app.include_router(router)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
        try:
            yield client
        finally:
            await resolve(own.dispose())


@pytest.fixture
@needs(metadata)
def slow_key_tables() -> None:
    """The table of keys."""


@pytest.fixture
async def slow(slow_key_tables: None) -> AsyncIterator[Slow]:
    slow = Slow()
    yield slow
    slow.ended.set()


@pytest.fixture
async def client(db: AnyDatabase, slow: Slow) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(db, slow) as client:
        yield client


@pytest.fixture
async def impatient(db: AnyDatabase, slow: Slow) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """The clients of two applications on one database that wait for a lock for a second."""
    async with serve(db, slow, lock_timeout=1) as client, serve(db, slow, lock_timeout=1) as other:
        yield client, other


def post(client: httpx.AsyncClient, path: str = "/slow", key: str = "k") -> asyncio.Task[httpx.Response]:
    return asyncio.ensure_future(client.post(path, headers={"Idempotency-Key": key}))


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - of threads
        await asyncio.sleep(0.01)


async def count(db: AnyDatabase) -> int:
    statement = select(func.count()).select_from(Tag)
    if isinstance(db, Database):
        with db.transaction(read_only=True) as tx:
            return int(tx.scalar(statement) or 0)
    async with db.transaction(read_only=True) as async_tx:
        return int(await async_tx.scalar(statement) or 0)


async def test_repeats_leave_the_pool_to_others(client: httpx.AsyncClient, db: AnyDatabase, slow: Slow) -> None:
    posts = [post(client)]
    await until(slow.begun.is_set)
    posts += [post(client) for _ in range(REPEATS)]
    await until(lambda: slow.arrived == 1 + REPEATS)
    for _ in range(5):
        assert (await client.get("/tags")).status_code == 200
    slow.ended.set()
    answers = await asyncio.gather(*posts)
    assert [(each.status_code, each.json()) for each in answers] == [(200, 1)] * (1 + REPEATS)
    assert sum("Idempotency-Replayed" in each.headers for each in answers) == REPEATS
    assert await count(db) == 1


async def test_the_turn_ends_after_the_transaction(client: httpx.AsyncClient, slow: Slow) -> None:
    """Else the next one would wait in the database for the COMMIT."""
    slow.ended.set()
    assert (await post(client)).status_code == 200
    assert [len(each) for each in slow.after_commit] == [1]
    assert not slow.turns._waiting


async def test_the_next_takes_over_from_one_that_failed(client: httpx.AsyncClient, db: AnyDatabase, slow: Slow) -> None:
    slow.fails = True
    posts = [post(client)]
    await until(slow.begun.is_set)
    posts += [post(client) for _ in range(4)]
    await until(lambda: slow.arrived == 5)
    slow.ended.set()
    answers = await asyncio.gather(*posts)
    assert sorted(each.status_code for each in answers) == [200] * 4 + [500]
    assert sum("Idempotency-Replayed" in each.headers for each in answers) == 3
    assert await count(db) == 1


async def test_a_repeat_that_is_cancelled_gives_its_turn_away(client: httpx.AsyncClient, slow: Slow) -> None:
    posts = [post(client)]
    await until(slow.begun.is_set)
    posts += [post(client) for _ in range(4)]
    await until(lambda: slow.arrived == 5)
    await asyncio.sleep(0)
    for each in posts[1:3]:
        each.cancel()
    slow.ended.set()
    answers = await asyncio.gather(*posts, return_exceptions=True)
    kinds = [type(each).__name__ for each in answers]
    assert kinds == ["Response", "CancelledError", "CancelledError", "Response", "Response"]
    assert (await post(client)).status_code == 200


def is_asked_to_wait(answer: httpx.Response) -> bool:
    return (
        answer.status_code == 409 and "still being done" in answer.json()["detail"] and "Retry-After" in answer.headers
    )


async def test_a_repeat_does_not_wait_for_ever(
    impatient: tuple[httpx.AsyncClient, httpx.AsyncClient], db: AnyDatabase, slow: Slow
) -> None:
    client, _ = impatient
    first = post(client)
    await until(slow.begun.is_set)
    assert is_asked_to_wait(await post(client))
    slow.ended.set()
    assert (await first).status_code == 200
    assert (await post(client)).headers["Idempotency-Replayed"] == "true"
    assert await count(db) == 1


@pytest.mark.drivers(*SERVERS)
async def test_a_repeat_in_another_process_waits_with_one_connection(
    impatient: tuple[httpx.AsyncClient, httpx.AsyncClient], db: AnyDatabase, slow: Slow
) -> None:
    client, other = impatient
    first = post(client)
    await until(slow.begun.is_set)
    posts = [post(other) for _ in range(REPEATS)]
    await until(lambda: slow.arrived == 1 + REPEATS)
    for _ in range(5):
        assert (await other.get("/tags")).status_code == 200
    assert all(map(is_asked_to_wait, await asyncio.gather(*posts)))
    slow.ended.set()
    assert (await first).status_code == 200
    assert (await post(other)).headers["Idempotency-Replayed"] == "true"
    assert await count(db) == 1


@pytest.mark.drivers(*SERVERS)
async def test_who_has_a_connection_does_not_wait(db: AnyDatabase, slow: Slow) -> None:
    """The login reads in the transaction of the Writer."""
    async with serve(db, slow, lock_timeout=0) as client:
        first = post(client, "/known")
        await until(slow.begun.is_set)
        answers = await asyncio.wait_for(asyncio.gather(*(post(client, "/known") for _ in range(5))), 60)
        assert all(map(is_asked_to_wait, answers))
        slow.ended.set()
        assert (await first).status_code == 200
