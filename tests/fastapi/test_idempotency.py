"""A POST with an Idempotency-Key is done once for each caller, and answered the same each time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Cookie, Depends, FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel
from sqlalchemy import MetaData, func, select
from starlette.responses import JSONResponse, StreamingResponse

from querywright import AsyncDatabase, ConfigurationError, Database, IdempotencyKeys
from querywright.fastapi import (
    IdempotentRoute,
    KeepingWriter,
    Reader,
    SyncKeepingWriter,
    SyncWriter,
    Writer,
    everybody,
    install,
)
from tests.suite.models import Tag, TagOut
from tests.suite.support import AnyDatabase, resolve, transaction
from tests.tables import needs

metadata = MetaData()
keys = IdempotencyKeys(metadata)


class TagIn(BaseModel):
    name: str


def user(authorization: Annotated[str, Header()] = "Bearer first.ann") -> str | None:
    """Who is meant by a token: its text is another one each time that it is renewed."""
    if authorization == "Bearer stolen":
        raise HTTPException(401)
    return authorization.rpartition(".")[2] or None


class Route(IdempotentRoute):
    caller = Depends(user)


def describe(response: Response, name: str) -> None:
    response.headers["Location"], response.headers["ETag"] = f"/tags/{name}", '"1"'
    response.headers["X-Request-Id"] = uuid.uuid4().hex
    response.set_cookie("session", "secret", httponly=True)
    response.set_cookie("theme", "dark")


def asynchronous(router: APIRouter) -> None:
    @router.post("/tags", status_code=201)
    async def create(data: TagIn, tx: Writer, response: Response) -> TagOut:
        tx.add(Tag(name=data.name))
        await tx.flush()
        if data.name == "refused":
            raise HTTPException(418)
        describe(response, data.name)
        return TagOut(name=data.name)

    @router.post("/kept")
    async def kept(tx: KeepingWriter) -> Response:
        tx.add(Tag(name="kept"))
        return JSONResponse("no", 401, {"WWW-Authenticate": "Basic"})

    @router.post("/stream")
    async def stream(tx: Writer) -> StreamingResponse:
        tx.add(Tag(name="streamed"))
        return StreamingResponse(iter(["never"]))


def synchronous(router: APIRouter) -> None:
    @router.post("/tags", status_code=201)
    def create(data: TagIn, tx: SyncWriter, response: Response) -> TagOut:
        tx.add(Tag(name=data.name))
        tx.flush()
        if data.name == "refused":
            raise HTTPException(418)
        describe(response, data.name)
        return TagOut(name=data.name)

    @router.post("/kept")
    def kept(tx: SyncKeepingWriter) -> Response:
        tx.add(Tag(name="kept"))
        return JSONResponse("no", 401, {"WWW-Authenticate": "Basic"})


@pytest.fixture
@needs(metadata)
def key_tables() -> None:
    """The table of keys."""


@pytest.fixture
async def app(db: AnyDatabase, key_tables: None) -> FastAPI:
    app = FastAPI()
    install(app, db, idempotency=keys)
    router = APIRouter(route_class=Route)
    (synchronous if isinstance(db, Database) else asynchronous)(router)
    app.include_router(router)
    return app


async def count(db: AnyDatabase) -> int:
    async with transaction(db, read_only=True) as tx:
        return int(await resolve(tx.scalar(select(func.count()).select_from(Tag))))


async def post(client: httpx.AsyncClient, name: str = "one", key: str = "k", **headers: str) -> httpx.Response:
    return await client.post("/tags", json={"name": name}, headers={"Idempotency-Key": key, **headers})


async def test_the_same_answer_each_time(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    first, second = await post(client), await post(client)
    assert (first.status_code, first.content) == (201, b'{"name":"one"}')
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert (first.headers.get("Idempotency-Replayed"), second.headers["Idempotency-Replayed"]) == (None, "true")
    for name in ("Content-Type", "Content-Length", "Location", "ETag", "Set-Cookie"):
        assert second.headers.get_list(name) == first.headers.get_list(name) != [], name
    assert len(second.headers.get_list("Set-Cookie")) == 2
    # What belongs to one message.
    assert "X-Request-Id" in first.headers
    assert "X-Request-Id" not in second.headers
    assert await count(db) == 1


async def test_a_kept_error_is_replayed(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    answers = [await client.post("/kept", headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [(each.status_code, each.headers["WWW-Authenticate"], each.json()) for each in answers] == [
        (401, "Basic", "no")
    ] * 2
    assert await count(db) == 1


async def test_at_once(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    answers = await asyncio.gather(*(post(client) for _ in range(6)))
    assert [answer.status_code for answer in answers] == [201] * 6
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 5
    assert await count(db) == 1


async def test_a_request_that_failed_may_be_tried_again(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    for _ in range(2):
        assert (await post(client, "refused")).status_code == 418
    answers = await asyncio.gather(*(post(client, "refused", "other") for _ in range(4)))
    assert [answer.status_code for answer in answers] == [418] * 4
    assert await count(db) == 0


async def test_a_key_stands_for_one_request(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    assert (await post(client, "one")).status_code == 201
    answer = await post(client, "two")
    [refusal] = answer.json()["detail"]
    assert (answer.status_code, "used for something else" in refusal["msg"]) == (422, True)
    assert (refusal["type"], refusal["loc"]) == ("key_reused", ["header", "Idempotency-Key"])
    for key in ("", "k" * 256):
        answer = await post(client, key=key)
        assert (answer.status_code, [each["loc"] for each in answer.json()["detail"]]) == (
            422, [["header", "Idempotency-Key"]],
        )  # fmt: skip
    assert await count(db) == 1


async def test_several_keys_are_none(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await client.post("/tags", json={"name": "one"}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["header", "Idempotency-Key"]
    assert await count(db) == 0


async def test_what_is_raised_leaves_no_key_without_a_response(
    app: FastAPI, client: httpx.AsyncClient, db: AnyDatabase
) -> None:
    """A route that keeps what it wrote keeps what it returns: a repetition of the rest does it anew."""
    router = APIRouter(route_class=Route)
    if isinstance(db, Database):

        @router.post("/raised")
        def raised(tx: SyncKeepingWriter) -> None:
            tx.add(Tag(name="kept"))
            raise HTTPException(401)
    else:

        @router.post("/raised")
        async def raised_async(tx: KeepingWriter) -> None:
            tx.add(Tag(name="kept"))
            raise HTTPException(401)

    app.include_router(router)
    for _ in range(2):
        answer = await client.post("/raised", headers={"Idempotency-Key": "k"})
        assert (answer.status_code, await count(db)) == (401, 0)
    assert (await client.post("/raised")).status_code == 401
    assert await count(db) == 1


async def test_a_key_belongs_to_its_caller(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    ann = await post(client, "one", authorization="Bearer first.ann")
    bob = await post(client, "two", authorization="Bearer first.bob")
    assert (ann.status_code, bob.status_code, bob.json()) == (201, 201, {"name": "two"})
    renewed = await post(client, "one", authorization="Bearer second.ann")
    assert (renewed.status_code, renewed.headers["Idempotency-Replayed"]) == (201, "true")
    assert await count(db) == 2


async def test_a_replay_asks_for_the_login(client: httpx.AsyncClient) -> None:
    assert (await post(client, authorization="Bearer stolen")).status_code == 401


async def test_nobody_has_no_key(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    answer = await post(client, authorization="")
    [refusal] = answer.json()["detail"]
    assert (answer.status_code, "does not say who sends it" in refusal["msg"]) == (422, True)
    answer = await client.post("/tags", json={"name": "one"}, headers={"authorization": ""})
    assert answer.status_code == 201
    assert await count(db) == 1


async def test_without_a_key(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    for name in ("one", "two"):
        assert (await client.post("/tags", json={"name": name})).status_code == 201
    assert await count(db) == 2


@pytest.mark.drivers("postgresql+asyncpg")
async def test_what_cannot_be_kept_is_refused(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    assert (await client.post("/stream", headers={"Idempotency-Key": "k"})).status_code == 500
    assert await count(db) == 0
    router = APIRouter(route_class=Route)
    with pytest.raises(ConfigurationError, match="does not take a Writer"):

        @router.post("/reads")
        async def reads(db: Reader) -> None:
            pass


@pytest.fixture
async def bare(db: AsyncDatabase, key_tables: None) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """An application without routes of its own, and a client."""
    app = FastAPI()
    install(app, db, idempotency=keys)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield app, client


Bare = tuple[FastAPI, httpx.AsyncClient]


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_a_required_key(bare: Bare, db: AsyncDatabase) -> None:
    class Required(Route):
        required = True

    app, client = bare
    router = APIRouter(route_class=Required)
    asynchronous(router)
    app.include_router(router)
    answer = await client.post("/tags", json={"name": "one"})
    [refusal] = answer.json()["detail"]
    assert (answer.status_code, refusal["type"], refusal["loc"]) == (422, "missing", ["header", "Idempotency-Key"])
    assert (await post(client)).status_code == 201


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_an_application_without_a_table_of_keys(db: AsyncDatabase) -> None:
    app, router = FastAPI(), APIRouter(route_class=Route)
    install(app, db)
    asynchronous(router)
    app.include_router(router)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await post(client)).status_code == 500
    assert await count(db) == 0


@pytest.mark.parametrize("said", [None, user, "ann"])
def test_who_the_caller_is_has_to_be_said(said: Any) -> None:
    kind = type("Silent", (IdempotentRoute,), {"caller": said})
    for router in (APIRouter(route_class=kind), FastAPI().router):
        router.route_class = kind
        with pytest.raises(ConfigurationError, match="does not say whose the keys of /tags are"):
            asynchronous(router)


def by_cookie(session: Annotated[str | None, Cookie()] = None) -> str | None:
    return session


def by_number(x_user: Annotated[int, Header()] = 0) -> int:
    return x_user


def by_uuid(x_user: Annotated[uuid.UUID, Header()] = uuid.UUID(int=0)) -> uuid.UUID:  # noqa: B008 - it never changes
    return x_user


async def by_object() -> object:
    return object()


def by_truth() -> bool:
    return True


@pytest.mark.drivers("sqlite+aiosqlite")
@pytest.mark.parametrize(
    ("caller", "headers", "statuses"),
    [
        (
            by_cookie,
            [{"cookie": "session=a"}, {"cookie": "session=b"}, {}, {"cookie": "session="}],
            [201, 201, 422, 422],
        ),
        (by_number, [{"x-user": "1"}, {"x-user": "2"}, {"x-user": "0"}], [201, 201, 201]),
        (by_uuid, [{"x-user": str(uuid.UUID(int=1))}, {}], [201, 201]),
        (everybody, [{"cookie": "session=a"}, {"cookie": "session=b"}], [201, "replay"]),
        (by_object, [{}], [500]),
        (by_truth, [{}], [500]),
    ],
)
async def test_anything_can_say_who_the_caller_is(bare: Bare, caller: Any, headers: Any, statuses: list[Any]) -> None:
    class Kind(IdempotentRoute):
        pass

    Kind.caller = Depends(caller)
    app, client = bare
    router = APIRouter(route_class=Kind)

    @router.post("/tags", status_code=201)
    async def create(tx: Writer) -> str:
        return uuid.uuid4().hex

    app.include_router(router)
    seen = []
    for each in headers:
        answer = await post(client, **each)
        seen.append("replay" if "Idempotency-Replayed" in answer.headers else answer.status_code)
    assert seen == statuses


async def read(request: Request) -> bytes:
    return b"".join([chunk async for chunk in request.stream()])


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_whoever_reads_the_body_reads_all_of_it(bare: Bare) -> None:
    """As the parser of a form does, after which nothing is left."""
    app, client = bare
    router = APIRouter(route_class=Route)

    @router.post("/streams")
    async def create(tx: Writer, body: Annotated[bytes, Depends(read)]) -> list[str]:
        return [body.decode(), uuid.uuid4().hex]

    app.include_router(router)
    headers = {"Idempotency-Key": "k"}
    first, second, other = [await client.post("/streams", content=each, headers=headers) for each in ("a", "a", "b")]
    assert (first.status_code, first.json()[0]) == (200, "a")
    assert (second.json(), second.headers["Idempotency-Replayed"]) == (first.json(), "true")
    assert other.status_code == 422


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_a_request_inside_of_another_has_a_key_of_its_own(bare: Bare, db: AsyncDatabase) -> None:
    app, client = bare
    router = APIRouter(route_class=Route)

    async def ask() -> None:
        assert (await client.post("/tags", json={"name": "inner"})).json() == {"name": "inner"}

    asynchronous(router)

    @router.post("/outer", dependencies=[Depends(ask)])
    async def outer(tx: Writer) -> str:
        tx.add(Tag(name="outer"))
        return uuid.uuid4().hex

    app.include_router(router)
    first = await client.post("/outer", headers={"Idempotency-Key": "k"})
    assert (first.status_code, await count(db)) == (200, 2)


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_other_headers_may_be_replayed(bare: Bare) -> None:
    class Kind(Route):
        replayed = Route.replayed - {"set-cookie"} | {"X-Request-Id"}

    app, client = bare
    router = APIRouter(route_class=Kind)
    asynchronous(router)
    app.include_router(router)
    first, second = await post(client), await post(client)
    assert second.headers["X-Request-Id"] == first.headers["X-Request-Id"]
    assert ("Set-Cookie" in first.headers, "Set-Cookie" in second.headers) == (True, False)
