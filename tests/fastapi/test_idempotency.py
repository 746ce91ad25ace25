"""A POST with an Idempotency-Key is done once, and answered the same each time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel
from sqlalchemy import MetaData, func, select
from starlette.responses import StreamingResponse

from querywright import AsyncDatabase, ConfigurationError, Database, IdempotencyKeys
from querywright.fastapi import IdempotentRoute, Reader, SyncWriter, Writer, install
from tests.suite.models import Tag, TagOut
from tests.suite.support import AnyDatabase, resolve, run_sync, transaction

metadata = MetaData()
keys = IdempotencyKeys(metadata)
DRIVERS = ("sqlite+aiosqlite", "postgresql+asyncpg", "postgresql+psycopg async", "sqlite+pysqlite")
pytestmark = pytest.mark.drivers(*DRIVERS)


class TagIn(BaseModel):
    name: str


def user(authorization: Annotated[str, Header()] = "") -> str:
    if authorization == "Bearer stolen":
        raise HTTPException(401)
    return authorization


def asynchronous(router: APIRouter) -> None:
    @router.post("/tags", status_code=201)
    async def create(data: TagIn, tx: Writer, _user: Annotated[str, Depends(user)]) -> TagOut:
        tx.add(Tag(name=data.name))
        await tx.flush()
        if data.name == "refused":
            raise HTTPException(418)
        return TagOut(name=data.name)

    @router.post("/stream")
    async def stream(tx: Writer) -> StreamingResponse:
        tx.add(Tag(name="streamed"))
        return StreamingResponse(iter(["never"]))


def synchronous(router: APIRouter) -> None:
    @router.post("/tags", status_code=201)
    def create(data: TagIn, tx: SyncWriter, _user: Annotated[str, Depends(user)]) -> TagOut:
        tx.add(Tag(name=data.name))
        tx.flush()
        if data.name == "refused":
            raise HTTPException(418)
        return TagOut(name=data.name)


@pytest.fixture
async def client(db: AnyDatabase) -> AsyncIterator[httpx.AsyncClient]:
    async with transaction(db) as tx:
        await run_sync(tx, lambda sync: metadata.create_all(sync.connection()))
    app = FastAPI()
    install(app, db, idempotency=keys)
    router = APIRouter(route_class=IdempotentRoute)
    (synchronous if isinstance(db, Database) else asynchronous)(router)
    app.include_router(router)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
    async with transaction(db) as tx:
        await run_sync(tx, lambda sync: metadata.drop_all(sync.connection()))


async def count(db: AnyDatabase) -> int:
    async with transaction(db, read_only=True) as tx:
        return int(await resolve(tx.scalar(select(func.count()).select_from(Tag))))


async def test_the_same_answer_each_time(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    first = await client.post("/tags", json={"name": "one"}, headers={"Idempotency-Key": "k"})
    second = await client.post("/tags", json={"name": "one"}, headers={"Idempotency-Key": "k"})
    assert (first.status_code, first.content) == (201, b'{"name":"one"}')
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["content-type"] == first.headers["content-type"]
    assert (first.headers.get("Idempotency-Replayed"), second.headers["Idempotency-Replayed"]) == (None, "true")
    assert await count(db) == 1


async def test_at_once(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    headers = {"Idempotency-Key": "k"}
    posts = [client.post("/tags", json={"name": "one"}, headers=headers) for _ in range(6)]
    answers = await asyncio.gather(*posts)
    assert [answer.status_code for answer in answers] == [201] * 6
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 5
    assert await count(db) == 1


async def test_a_request_that_failed_may_be_tried_again(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    headers = {"Idempotency-Key": "k"}
    for _ in range(2):
        assert (await client.post("/tags", json={"name": "refused"}, headers=headers)).status_code == 418
    assert await count(db) == 0


@pytest.mark.parametrize("change", [{"json": {"name": "two"}}, {"headers": {"Authorization": "Bearer other"}}])
async def test_a_key_stands_for_one_request(
    client: httpx.AsyncClient, db: AnyDatabase, change: dict[str, dict[str, str]]
) -> None:
    first: dict[str, Any] = {"json": {"name": "one"}, "headers": {"Authorization": "Bearer mine"}}
    other: dict[str, Any] = {name: {**value, **change.get(name, {})} for name, value in first.items()}
    for request in (first, other):
        request["headers"]["Idempotency-Key"] = "k"
    assert (await client.post("/tags", **first)).status_code == 201
    answer = await client.post("/tags", **other)
    [refusal] = answer.json()["detail"]
    assert (answer.status_code, "used for something else" in refusal["msg"]) == (422, True)
    assert (refusal["type"], refusal["loc"]) == ("key_reused", ["header", "Idempotency-Key"])
    assert await count(db) == 1


async def test_a_replay_asks_for_the_login(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k", "Authorization": "Bearer stolen"}
    assert (await client.post("/tags", json={"name": "one"}, headers=headers)).status_code == 401


async def test_without_a_key(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    for name in ("one", "two"):
        assert (await client.post("/tags", json={"name": name})).status_code == 201
    assert await count(db) == 2


@pytest.mark.drivers("postgresql+asyncpg")
async def test_what_cannot_be_kept_is_refused(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    assert (await client.post("/stream", headers={"Idempotency-Key": "k"})).status_code == 500
    assert await count(db) == 0
    router = APIRouter(route_class=IdempotentRoute)
    with pytest.raises(ConfigurationError, match="does not take a Writer"):

        @router.post("/reads")
        async def reads(db: Reader) -> None:
            pass


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_a_required_key(db: AsyncDatabase) -> None:
    class Required(IdempotentRoute):
        required = True

    app = FastAPI()
    install(app, db)
    router = APIRouter(route_class=Required)
    asynchronous(router)
    app.include_router(router)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post("/tags", json={"name": "one"})
        [refusal] = answer.json()["detail"]
        assert (answer.status_code, refusal["type"], refusal["loc"]) == (422, "missing", ["header", "Idempotency-Key"])
        # The application has no table of keys.
        assert (await client.post("/tags", json={"name": "one"}, headers={"Idempotency-Key": "k"})).status_code == 500
