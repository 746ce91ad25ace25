"""A 2xx means durable, whatever shape the path operation has; what would break that is found at the start."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session, sessionmaker

from querywright import AsyncDatabase, AsyncSession, CommitOutcomeUnknown, Database, UnitOfWork
from querywright.engine import pool_snapshot
from querywright.fastapi import LateCommitWarning, Reader, Writer, install, lifespan
from querywright.fastapi.dependencies import WRITERS
from tests.suite.models import Tag, TagOut

pytestmark = pytest.mark.drivers("sqlite+aiosqlite", "postgresql+asyncpg", "postgresql+psycopg async")
COUNT = select(func.count()).select_from(Tag)


async def count(db: AsyncDatabase) -> int:
    async with db.transaction(read_only=True, nested="new") as tx:
        return await tx.scalar(COUNT) or 0


async def own(db: Reader) -> AsyncIterator[AsyncSession]:
    async with db.transaction() as tx:
        yield tx


async def number(_db: Reader) -> AsyncIterator[int]:
    yield 1


class Service:
    def __init__(self, tx: AsyncSession) -> None:
        self.tx = tx

    def create(self, name: str) -> None:
        self.tx.add(Tag(name=name))


def service_of(tx: Writer) -> Service:
    return Service(tx)


def routes(app: FastAPI, seen: list[Any], db: AsyncDatabase) -> None:  # noqa: C901 - a list of routes
    async def note() -> None:
        seen.append(await count(db))

    @app.post("/handler")
    async def handler(tx: Writer) -> None:
        tx.add(Tag(name="one"))

    @app.post("/sub-dependency")
    async def sub_dependency(service: Annotated[Service, Depends(service_of)], tx: Writer) -> None:
        # One request, one transaction, however many ask for it.
        assert service.tx is tx
        service.create("one")

    @app.post("/background")
    async def background(tx: Writer, tasks: BackgroundTasks) -> None:
        tx.add(Tag(name="one"))
        tasks.add_task(note)

    @app.post("/hook")
    async def hook(tx: Writer) -> None:
        tx.add(Tag(name="one"))
        tx.on_commit(note)

    @app.post("/stream")
    async def stream(tx: Writer, reader: Reader) -> StreamingResponse:
        tx.add(Tag(name="one"))

        async def chunks() -> AsyncIterator[bytes]:
            seen.append(pool_snapshot(db.engine.sync_engine).checked_out)
            async for chunk in reader.fetch(TagOut, select(Tag)).stream_json():
                yield chunk

        return StreamingResponse(chunks(), media_type="application/json")

    @app.get("/events")
    async def events(db: Reader) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            for _ in range(3):
                yield f"data: {(await db.fetch(TagOut, select(Tag)).json()).decode()}\n\n"
                seen.append(pool_snapshot(db.engine.sync_engine).checked_out)

        return StreamingResponse(lines(), media_type="text/event-stream")


@pytest.fixture
async def seen() -> list[Any]:
    return []


@pytest.fixture
async def app(db: AsyncDatabase, seen: list[Any]) -> FastAPI:
    app = FastAPI(lifespan=lifespan(db))
    install(app, db)
    routes(app, seen, db)
    return app


async def durable_when_answered(app: FastAPI, db: AsyncDatabase, path: str) -> httpx.Response:
    """Send a request, and look into the database at the moment the response starts."""
    found: list[int] = []

    async def watching(scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                found.append(await asyncio.create_task(count(db)))
            await send(message)

        await app(scope, receive, sending)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(watching), base_url="http://test") as client:
        response = await client.post(path)
    assert (response.status_code, found) == (200, [1])
    return response


@pytest.mark.parametrize("path", ["/handler", "/sub-dependency"])
async def test_durable_before_the_response_starts(app: FastAPI, db: AsyncDatabase, path: str) -> None:
    await durable_when_answered(app, db, path)


@pytest.mark.parametrize("path", ["/background", "/hook"])
async def test_what_runs_after_sees_what_was_written(
    app: FastAPI, db: AsyncDatabase, seen: list[Any], path: str
) -> None:
    await durable_when_answered(app, db, path)
    assert seen == [1]


async def test_a_stream_holds_no_transaction(app: FastAPI, db: AsyncDatabase, seen: list[Any]) -> None:
    response = await durable_when_answered(app, db, "/stream")
    assert (response.content, seen) == (b'[{"name":"one"}]', [0])


async def test_server_sent_events_take_a_connection_for_each(app: FastAPI, db: AsyncDatabase, seen: list[Any]) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/events")).text == "data: []\n\n" * 3
    assert seen == [0, 0, 0]
    assert pool_snapshot(db.engine.sync_engine).checked_out == 0


async def test_an_unknown_outcome_does_not_invite_to_try_again(app: FastAPI) -> None:
    @app.post("/unknown")
    async def unknown() -> None:
        raise CommitOutcomeUnknown

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        response = await client.post("/unknown")
    assert (response.status_code, "Retry-After" in response.headers) == (503, False)
    assert "may or may not" in response.json()["detail"]


async def test_a_websocket_commits_when_its_handler_ends(app: FastAPI, db: AsyncDatabase) -> None:
    @app.websocket("/socket")
    async def socket(websocket: WebSocket, tx: Writer) -> None:
        await websocket.accept()
        tx.add(Tag(name=await websocket.receive_text()))

    messages = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "one"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(_message: Any) -> None:
        pass

    scope = {"type": "websocket", "path": "/socket", "headers": [], "query_string": b"", "subprotocols": [], "app": app}
    await app(scope, receive, send)
    assert await count(db) == 1


async def test_what_a_dependency_of_a_websocket_swallows_is_rolled_back(app: FastAPI, db: AsyncDatabase) -> None:
    async def swallow() -> AsyncIterator[None]:
        with suppress(ValueError):
            yield

    dependency: Any = Depends(swallow, scope="function")

    @app.websocket("/socket")
    async def socket(tx: Writer, _: None = dependency) -> None:
        tx.add(Tag(name="lost"))
        raise ValueError

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(_message: Any) -> None:
        pass

    scope = {"type": "websocket", "path": "/socket", "headers": [], "query_string": b"", "subprotocols": [], "app": app}
    await app(scope, receive, send)
    assert await count(db) == 0


async def start(app: FastAPI) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))


def included(app: FastAPI, add: Callable[[APIRouter], None]) -> None:
    router = APIRouter()
    add(router)
    app.include_router(router, prefix="/inner")


@pytest.mark.drivers("sqlite+aiosqlite")
@pytest.mark.parametrize("deep", [False, True])
async def test_a_writer_of_any_scope_commits_before_the_response(app: FastAPI, *, deep: bool) -> None:
    def add(router: APIRouter | FastAPI) -> None:
        @router.post("/late")
        async def late(tx: Annotated[AsyncSession, Depends(WRITERS[0])]) -> None:
            tx.add_all([Tag(name="twice"), Tag(name="twice")])

    if deep:
        included(app, add)
    else:
        add(app)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await start(app)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.post("/inner/late" if deep else "/late")).status_code == 409


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_a_session_of_ones_own_that_ends_late_is_warned_of(app: FastAPI, db: AsyncDatabase) -> None:
    @app.post("/own")
    async def late(tx: Annotated[AsyncSession, Depends(own)], one: Annotated[int, Depends(number)]) -> None:
        pass

    with pytest.warns(LateCommitWarning, match="own, a dependency of /own"):
        await start(app)


plain = create_engine("sqlite+pysqlite:///never-opened.db")
make_session = sessionmaker(plain)
never_opened = Database("sqlite+pysqlite:///never-opened.db")


async def of_a_reader(db: Reader):  # type: ignore[no-untyped-def]  # noqa: ANN201 - that nothing is said is the point
    async with db.transaction() as tx:
        yield tx


def of_a_factory():  # type: ignore[no-untyped-def]  # noqa: ANN201 - as above
    with make_session() as opened:
        yield opened


def of_a_class():  # type: ignore[no-untyped-def]  # noqa: ANN201 - as above
    with Session(plain) as opened:
        yield opened


def of_a_database() -> Iterator[Any]:
    with never_opened.session() as opened:
        yield opened


def of_another() -> Iterator[NotImported]:  # type: ignore[name-defined]  # noqa: F821 - as under TYPE_CHECKING
    yield from of_a_database()


def of_a_unit() -> Iterator[UnitOfWork]:
    with UnitOfWork(never_opened) as unit:
        yield unit


class OfAnObject:
    def __call__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204 - as above
        with make_session() as opened:
            yield opened


GENERATORS: list[Callable[..., Any]] = [
    of_a_reader, of_a_factory, of_a_class, of_a_database, of_another, of_a_unit, OfAnObject(), partial(of_a_factory),
]  # fmt: skip


@pytest.mark.drivers("sqlite+aiosqlite")
@pytest.mark.parametrize("generator", GENERATORS)
async def test_a_session_is_known_by_the_code_that_opens_it(app: FastAPI, generator: Callable[..., Any]) -> None:
    given = Depends(generator)

    async def late(_given: Any = given) -> None: ...

    app.post("/own")(late)
    with pytest.warns(LateCommitWarning, match="a dependency of /own"):
        await start(app)


async def reads(db: Reader):  # type: ignore[no-untyped-def]  # noqa: ANN201 - as above
    yield await db.fetch(TagOut, select(Tag)).all()


def opens_a_file():  # type: ignore[no-untyped-def]  # noqa: ANN201 - as above
    with Path(__file__).open() as session:
        yield session


@pytest.mark.drivers("sqlite+aiosqlite")
@pytest.mark.parametrize("generator", [reads, opens_a_file])
async def test_other_generators_are_not_warned_of(app: FastAPI, generator: Callable[..., Any]) -> None:
    given = Depends(generator)

    async def late(_given: Any = given) -> None: ...

    app.post("/own")(late)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await start(app)


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_all_is_well(app: FastAPI, db: AsyncDatabase) -> None:
    @app.post("/own")
    async def early(tx: Annotated[AsyncSession, Depends(own, scope="function")]) -> None:
        pass

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await start(app)
