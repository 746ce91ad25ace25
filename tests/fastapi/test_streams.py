"""Slow readers of streams leave connections for everybody else, and readiness has one of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, text

from querywright import AsyncDatabase, Database, TooManyStreams
from querywright.engine import pool_snapshot
from querywright.fastapi import JsonStream, Reader, install
from tests.conftest import ASYNC, SYNC
from tests.faults.web import served
from tests.suite.models import Author, Profile, ProfileOut, Tag, TagOut
from tests.suite.support import AnyDatabase, add, session

READERS = 15
# More than the buffers of a connection hold.
ROWS, LETTERS = 400, 50_000


def application(db: AsyncDatabase | Database) -> FastAPI:
    app = FastAPI()
    install(app, db)

    @app.get("/texts")
    async def texts(db: Reader) -> JsonStream[list[ProfileOut]]:
        return JsonStream(db.fetch(ProfileOut, select(Profile)).stream_json(batch=2))

    @app.get("/tags")
    async def tags(db: Reader) -> list[TagOut]:
        return await db.fetch(TagOut, select(Tag)).all()

    @app.get("/missing")
    async def missing(db: Reader) -> JsonStream[list[TagOut]]:
        return JsonStream(db.fetch(TagOut, select(Tag).where(text("nowhere = 1"))).stream_json())

    return app


async def write_texts(db: AnyDatabase) -> None:
    await add(db, *(Author(id=number, name="a") for number in range(1, ROWS + 1)))
    # MariaDB takes no statement of more than 16 MB.
    for start in range(1, ROWS + 1, 20):
        numbers = range(start, start + 20)
        await add(db, *(Profile(author_id=number, text="x" * LETTERS) for number in numbers))


@asynccontextmanager
async def slow_reader(port: int) -> AsyncIterator[bytes]:
    """Ask for the texts, and read no more than how the answer begins."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, ("127.0.0.1", port))
        await loop.sock_sendall(connection, b"GET /texts HTTP/1.1\r\nHost: test\r\n\r\n")
        yield await loop.sock_recv(connection, 2048)


def in_use(db: AsyncDatabase) -> int:
    return pool_snapshot(db.engine.sync_engine).checked_out


@pytest.mark.drivers(*ASYNC)
async def test_slow_readers_do_not_take_the_whole_pool(
    db: AsyncDatabase, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await write_texts(db)
    async with AsyncDatabase(url, pool_timeout=0.5) as small, served(application(small)) as client:
        port = httpx.URL(client.base_url).port
        assert port is not None
        async with AsyncExitStack() as stack:
            readers = [stack.enter_async_context(slow_reader(port)) for _ in range(READERS)]
            answers = await asyncio.gather(*readers)
            served_first = [answer for answer in answers if answer.startswith(b"HTTP/1.1 200")]
            shed = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503")]
            assert (len(served_first), len(shed)) == (7, 8)
            assert all(b"retry-after: 1" in answer for answer in shed)
            assert all(b"As many streams are being read as the service allows." in answer for answer in shed)
            assert in_use(small) == 7
            assert (await client.get("/tags")).json() == []
            assert (await client.get("/health/ready")).json() == {"status": "ok"}
        reports = [record.getMessage() for record in caplog.records if "/texts" in record.getMessage()]
        assert len(reports) == 8
        assert all("(max_streams=7)" in report for report in reports)
        async with asyncio.timeout(30) if hasattr(asyncio, "timeout") else AsyncExitStack():
            while in_use(small):  # noqa: ASYNC110 - the readers are gone, and the server notices when it does
                await asyncio.sleep(0.01)
        # Whoever reads to the end has all of it, now that there are places again.
        assert len((await client.get("/texts")).json()) == ROWS


@pytest.mark.drivers(*ASYNC)
async def test_a_stream_that_cannot_begin_is_answered_with_a_status(
    db: AsyncDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    transport = httpx.ASGITransport(application(db), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.get("/missing")
        assert response.status_code == 500
        assert "nowhere" not in response.text
        schema = (await client.get("/openapi.json")).json()
    assert "nowhere" in caplog.text
    content = schema["paths"]["/missing"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert content["items"] == {"$ref": "#/components/schemas/TagOut"}


@pytest.mark.drivers(*SYNC, *ASYNC)
async def test_readiness_needs_nothing_of_the_pool(
    db: AnyDatabase, url: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    kind = Database if request.node.callspec.params["url"] in SYNC else AsyncDatabase
    small = kind(url, pool_size=1, max_overflow=1, pool_timeout=0.1)
    transport = httpx.ASGITransport(application(small), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client, AsyncExitStack() as stack:
        assert (await client.get("/health/ready")).json() == {"status": "ok"}
        for _ in range(2):
            opened = await stack.enter_async_context(session(small, read_only=True))
            connected = opened.execute(text("SELECT 1"))
            _ = await connected if isinstance(small, AsyncDatabase) else connected
        response = await client.get("/health/ready")
        assert (response.status_code, response.json()) == (200, {"status": "saturated"})
        assert "Every connection of the pool is in use, all 2." in caplog.text
    await _dispose(small)


async def _dispose(db: AnyDatabase) -> None:
    if isinstance(db, AsyncDatabase):
        await db.dispose()
    else:
        db.dispose()


@pytest.mark.drivers("postgresql+asyncpg", "mariadb+aiomysql")
async def test_readiness_says_in_the_log_why_not(db: AsyncDatabase, caplog: pytest.LogCaptureFixture) -> None:
    wrong = AsyncDatabase(db.engine.url.set(database="nowhere"))
    transport = httpx.ASGITransport(application(wrong), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.get("/health/ready")
    await wrong.dispose()
    assert response.status_code == 503
    assert "nowhere" not in response.text
    (record,) = [each for each in caplog.records if each.name == "querywright"]
    assert record.getMessage().startswith("Not ready: ")
    assert "nowhere" in record.getMessage()
    assert record.levelno == logging.WARNING


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg", "mariadb+pymysql")
async def test_threads_wait_for_the_end_of_a_stream(db: Database, url: str) -> None:
    await add(db, *(Tag(name=str(number)) for number in range(10)))
    with Database(url, max_streams=2, pool_timeout=0.05) as small, ExitStack() as stack:
        fetch = small.fetch(TagOut, select(Tag).order_by(Tag.id))
        first, second, third = (fetch.stream(batch=2) for _ in range(3))
        for each in (first, second):
            stack.callback(each.close)  # type: ignore[attr-defined]
            assert next(each).name == "0"
        with pytest.raises(TooManyStreams, match=r"max_streams=2"):
            next(third)
        waiting = asyncio.create_task(asyncio.to_thread(lambda: len(list(fetch.stream()))))
        first.close()  # type: ignore[attr-defined]
        assert await waiting == 10
        assert len(list(second)) == 9


@pytest.mark.drivers(*ASYNC)
async def test_a_task_that_is_cancelled_while_it_waits_takes_no_place(db: AsyncDatabase, url: str) -> None:
    await add(db, *(Tag(name=str(number)) for number in range(10)))
    async with AsyncDatabase(url, max_streams=1, pool_timeout=30) as small:
        fetch = small.fetch(TagOut, select(Tag).order_by(Tag.id))
        first = fetch.stream(batch=2)
        assert (await anext(first)).name == "0"

        async def count() -> int:
            return len([each async for each in fetch.stream()])

        cancelled, waiting = asyncio.create_task(count()), asyncio.create_task(count())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await first.aclose()  # type: ignore[attr-defined]
        assert await waiting == 10
        assert await count() == 10
        assert in_use(small) == 0


async def test_a_stream_of_a_synchronous_database_ends_with_its_reader() -> None:
    ended: list[int] = []

    def pieces() -> Iterator[bytes]:
        try:
            yield b"["
            yield b"]"
        finally:
            ended.append(1)

    async def send(message: Any) -> None:
        if message.get("body"):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await JsonStream(pieces()).stream_response(send)
    assert ended == [1]
