"""What a path operation answers decides whether what it wrote stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
import pytest
from anyio import to_thread
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from sqlalchemy import MetaData, select

from querywright import AsyncDatabase, Database, IdempotencyKeys, NestedTransaction
from querywright.engine import pool_snapshot
from querywright.fastapi import (
    IdempotentRoute,
    JsonStream,
    KeepingWriter,
    SyncKeepingWriter,
    SyncReader,
    SyncWriter,
    Writer,
    everybody,
    install,
)
from tests.suite.models import Tag, TagOut
from tests.suite.support import AnyDatabase, resolve, session

pytestmark = pytest.mark.drivers("sqlite+aiosqlite", "sqlite+pysqlite", "postgresql+asyncpg", "postgresql+psycopg")
KEYS = IdempotencyKeys(MetaData())
ANSWERS: dict[str, Any] = {
    "a value": lambda _: {"name": "x"},
    "nothing": lambda _: None,
    "a response": lambda _: Response(status_code=204),
    "a redirect": lambda _: Response(status_code=303, headers={"location": "/"}),
    "a stream": lambda _: StreamingResponse(iter(["a", "b"])),
    "not found": lambda _: JSONResponse({}, 404),
    "unavailable": lambda _: Response(status_code=503),
    "a refused stream": lambda _: StreamingResponse(iter(["a"]), 422),
    "a status": lambda response: setattr(response, "status_code", 409),
}
STATUS = {
    "a value": 200, "nothing": 200, "a response": 204, "a redirect": 303, "a stream": 200,
    "not found": 404, "unavailable": 503, "a refused stream": 422, "a status": 409,
}  # fmt: skip


async def names(db: AnyDatabase) -> list[str]:
    async with session(db) as opened:
        return list((await resolve(opened.scalars(select(Tag.name).order_by(Tag.id)))).all())


@pytest.fixture
def app(db: AnyDatabase) -> FastAPI:
    app = FastAPI()
    install(app, db)
    return app


@pytest.mark.parametrize("answer", ANSWERS)
async def test_an_error_that_is_returned_is_one(
    db: AnyDatabase, app: FastAPI, client: httpx.AsyncClient, answer: str
) -> None:
    ended: list[str] = []

    def write(tx: Any) -> None:
        tx.add(Tag(name="written"))
        tx.on_commit(ended.append, "commit")
        tx.on_rollback(ended.append, "rollback")

    if isinstance(db, AsyncDatabase):

        @app.post("/", response_model=None)
        async def asynchronous(tx: Writer, response: Response) -> Any:
            write(tx)
            await tx.flush()
            return ANSWERS[answer](response)

        @app.post("/kept", response_model=None)
        async def kept(tx: KeepingWriter, response: Response) -> Any:
            tx.add(Tag(name="kept"))
            return ANSWERS[answer](response)
    else:

        @app.post("/", response_model=None)
        def synchronous(tx: SyncWriter, response: Response) -> Any:
            write(tx)
            tx.flush()
            return ANSWERS[answer](response)

        @app.post("/kept", response_model=None)
        def sync_kept(tx: SyncKeepingWriter, response: Response) -> Any:
            tx.add(Tag(name="kept"))
            return ANSWERS[answer](response)

    assert (await client.post("/")).status_code == STATUS[answer]
    stays = STATUS[answer] < 400
    assert ended == ["commit" if stays else "rollback"]
    assert (await client.post("/kept")).status_code == STATUS[answer]
    assert await names(db) == ["written"] * stays + ["kept"]
    assert pool_snapshot(db.engine).checked_out == 0  # type: ignore[arg-type]


async def test_the_commit_comes_after_other_dependencies(
    db: AnyDatabase, app: FastAPI, client: httpx.AsyncClient
) -> None:
    """One that fails while it ends turns the answer into an error, and nothing was committed."""
    order: list[str] = []

    def ending(name: str, *, fails: bool) -> Any:
        def end() -> Iterator[None]:
            yield
            order.append(name)
            if fails:
                raise HTTPException(502)

        return Depends(end, scope="function")

    def note(tx: Any) -> None:
        tx.add(Tag(name="written"))
        tx.on_commit(order.append, "commit")

    for path, fails in (("/well", False), ("/badly", True)):
        before: Any = ending("before", fails=fails)
        after: Any = ending("after", fails=False)
        if isinstance(db, AsyncDatabase):

            @app.post(path)
            async def asynchronous(*, one: None = before, tx: Writer, two: None = after) -> None:
                note(tx)
        else:

            @app.post(path)
            def synchronous(*, one: None = before, tx: SyncWriter, two: None = after) -> None:
                note(tx)

    assert (await client.post("/well")).status_code == 200
    assert order == ["after", "before", "commit"]
    assert (await client.post("/badly")).status_code == 502
    assert order == ["after", "before", "commit", "after", "before"]
    assert await names(db) == ["written"]


async def test_blocks_of_the_path_operation_see_its_transaction(
    db: AnyDatabase, app: FastAPI, client: httpx.AsyncClient
) -> None:
    refused: list[str] = []
    if isinstance(db, AsyncDatabase):

        async def join(name: str) -> None:
            async with db.transaction(nested="join") as tx:
                tx.add(Tag(name=name))

        @app.post("/")
        async def asynchronous(tx: Writer) -> None:
            await join("one")
            await asyncio.wait_for(join("two"), 60)
            await asyncio.gather(join("three"))
            with pytest.raises(NestedTransaction):
                async with db.transaction():
                    pass
            refused.append("refused")
            raise HTTPException(422)
    else:

        @app.post("/")
        def synchronous(tx: SyncWriter) -> None:
            with db.transaction(nested="join") as joined:
                joined.add(Tag(name="one"))
            with db.transaction(nested="savepoint") as inner:
                inner.add(Tag(name="two"))
            with pytest.raises(NestedTransaction), db.transaction():
                pass
            refused.append("refused")
            raise HTTPException(422)

    assert (await client.post("/")).status_code == 422
    assert refused == ["refused"]
    assert await names(db) == []


async def swallowing() -> AsyncIterator[None]:
    with suppress(BaseException):
        yield


def swallowing_by_return() -> Iterator[None]:
    try:
        yield
    finally:
        return  # noqa: B012 - it is the fault


@pytest.mark.parametrize(
    ("swallow", "error"),
    [
        *((each, error) for each in (swallowing, swallowing_by_return) for error in (HTTPException(402), ValueError())),
        # Older versions of FastAPI do not show it to a synchronous one.
        (swallowing, asyncio.CancelledError()),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.filterwarnings("ignore:.*'return' in a 'finally' block:SyntaxWarning")
async def test_what_a_dependency_swallows_is_rolled_back(
    db: AnyDatabase, app: FastAPI, client: httpx.AsyncClient, swallow: Any, error: BaseException, *, first: bool
) -> None:
    """FastAPI has no response then: the client reads 500, so nothing may stay."""
    ended: list[str] = []
    dependency: Any = Depends(swallow, scope="function")

    def fail(tx: Any) -> None:
        tx.add(Tag(name="written"))
        tx.on_commit(ended.append, "commit")
        tx.on_rollback(ended.append, "rollback")
        raise error

    options: dict[str, Any] = {"dependencies": [dependency]} if first else {}
    if isinstance(db, AsyncDatabase):

        @app.post("/", **options)
        async def asynchronous(tx: Writer, _: None = dependency) -> None:
            fail(tx)

        @app.post("/kept", **options)
        async def kept(tx: KeepingWriter, _: None = dependency) -> None:
            fail(tx)
    else:

        @app.post("/", **options)
        def synchronous(tx: SyncWriter, _: None = dependency) -> None:
            fail(tx)

        @app.post("/kept", **options)
        def sync_kept(tx: SyncKeepingWriter, _: None = dependency) -> None:
            fail(tx)

    for path in ("/", "/kept"):
        assert (await client.post(path)).status_code == 500
    assert ended == ["rollback", "rollback"]
    assert await names(db) == []


class AlwaysWell(APIRoute):
    """Answers 200 whatever happens, and says in the body what did."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:  # noqa: BLE001 - it is the fault
                return JSONResponse({"error": type(error).__name__})

        return answer


@pytest.mark.parametrize("error", [HTTPException(402), ValueError()], ids=["answer", "fault"])
async def test_what_a_route_class_swallows_is_rolled_back(
    db: AnyDatabase, app: FastAPI, client: httpx.AsyncClient, error: Exception
) -> None:
    router = APIRouter(route_class=AlwaysWell)
    if isinstance(db, AsyncDatabase):

        @router.post("/")
        async def asynchronous(tx: Writer, *, fails: bool) -> None:
            tx.add(Tag(name=f"{fails}"))
            if fails:
                raise error
    else:

        @router.post("/")
        def synchronous(tx: SyncWriter, *, fails: bool) -> None:
            tx.add(Tag(name=f"{fails}"))
            if fails:
                raise error

    app.include_router(router)
    assert (await client.post("/", params={"fails": True})).json() == {"error": type(error).__name__}
    assert (await client.post("/", params={"fails": False})).json() is None
    assert await names(db) == ["False"]


async def test_an_error_that_is_raised_as_an_answer_keeps_what_is_to_be_kept(
    db: AnyDatabase, app: FastAPI, client: httpx.AsyncClient
) -> None:
    """A failed login is a 401 that is raised, as FastAPI's guide has it; any other exception is none."""
    errors = {"answer": HTTPException(401), "fault": ValueError()}
    if isinstance(db, AsyncDatabase):

        @app.post("/{which}")
        async def asynchronous(which: str, tx: KeepingWriter) -> None:
            tx.add(Tag(name=which))
            raise errors[which]
    else:

        @app.post("/{which}")
        def synchronous(which: str, tx: SyncKeepingWriter) -> None:
            tx.add(Tag(name=which))
            raise errors[which]

    assert (await client.post("/answer")).status_code == 401
    assert (await client.post("/fault")).status_code == 500
    assert await names(db) == ["answer"]


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg")
async def test_who_has_a_connection_waits_for_no_thread(url: str, suite_tables: None) -> None:
    """All of the threads that path operations share may be waiting for a connection."""
    threads = to_thread.current_default_thread_limiter()
    before, threads.total_tokens = threads.total_tokens, 2
    app = FastAPI()

    class Route(IdempotentRoute):
        caller = Depends(everybody)

    keyed = APIRouter(route_class=Route)

    @app.post("/plain")
    def plain(tx: SyncWriter) -> None:
        tx.add(Tag(name=str(uuid4())))
        tx.flush()

    @keyed.post("/keyed")
    def with_key(tx: SyncWriter) -> None:
        plain(tx)

    @app.get("/stream")
    def stream(db: SyncReader) -> JsonStream[list[TagOut]]:
        return JsonStream(db.fetch(TagOut, select(Tag)).stream_json())

    with Database(url, pool_size=1, max_overflow=0) as db:
        install(app, db, idempotency=KEYS)
        app.include_router(keyed)
        KEYS.table.create(db.engine)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
        try:
            answers = await asyncio.gather(
                *(client.post("/plain") for _ in range(8)),
                *(client.post("/keyed", headers={"Idempotency-Key": str(number)}) for number in range(8)),
                *(client.get("/stream") for _ in range(8)),
            )
        finally:
            threads.total_tokens = before
            await client.aclose()
            KEYS.table.drop(db.engine)
    assert [answer.status_code for answer in answers] == [200] * 24
