"""A4 and A20: more requests and open streams than connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from pydantic import BaseModel
from sqlalchemy import select, text
from starlette.responses import StreamingResponse

from querywright import AsyncDatabase
from querywright.engine import pool_snapshot
from querywright.fastapi import Reader, install
from querywright.testing import EmbeddedPostgres
from tests.faults.clients import Clients, Receipt, Sized, Within, Witness, open_database
from tests.faults.report import Figures, percentile
from tests.faults.web import Refused, in_process, served

ASYNC = pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg async"])

_POOL = 4
_TIMES = 5
_SERVICE = 0.2
_WAIT = 0.25


def slow(db: AsyncDatabase) -> FastAPI:
    """Make an application whose every request keeps a connection busy for a while."""
    app = FastAPI()
    install(app, db)

    @app.get("/slow")
    async def wait(db: Reader) -> None:
        async with db.session() as session:
            await session.execute(text(f"SELECT pg_sleep({_SERVICE})"))

    return app


async def get(client: httpx.AsyncClient, path: str, _key: str) -> None:
    response = await client.get(path)
    if not response.is_success:
        raise Refused(response)


async def goodput(client: httpx.AsyncClient, count: int, seconds: float) -> tuple[float, Clients]:
    """Return how many requests per second succeed when so many clients ask for so long."""
    end = time.monotonic() + seconds
    async with Clients(partial(get, client, "/slow"), count) as clients:
        await asyncio.sleep(seconds)
    return sum(answer.at <= end for answer in clients.acknowledged) / seconds, clients


@ASYNC
async def test_a4_more_clients_than_connections(
    driver: str, server: EmbeddedPostgres, witness: Witness, figures: Figures, sized: Sized, within: Within
) -> None:
    async with open_database(driver, server.url, pool_size=_POOL, pool_timeout=_WAIT) as db:
        assert isinstance(db, AsyncDatabase)
        async with in_process(slow(db)) as client:
            peak, _ = await goodput(client, _POOL, sized(1, 5))
            reached, clients = await goodput(client, _POOL * _TIMES, sized(2, 15))
            figures.leaked = witness.leaked(db)
            server.shut_down()
            away = await client.get("/slow")
    shed = [answer.seconds for answer in clients.answers if answer.error is not None]
    figures.sent, figures.acknowledged = len(clients.answers), len(clients.acknowledged)
    figures.slowest = clients.slowest
    figures.notes.append(f"goodput {reached / peak:.0%} of peak, p99 to 503 {percentile(shed, 99) * 1000:.0f} ms")
    told = {str(error) for error in clients.errors}
    assert len(told) == 1
    assert "503" in told.copy().pop()
    assert "connection is in use" in told.pop()
    assert away.status_code == 503
    assert "cannot be reached" in away.text
    within(percentile(shed, 99), _WAIT + 0.5)
    assert reached > peak * sized(0, 80) / 100
    assert figures.leaked == 0


class ReceiptOut(BaseModel):
    key: str


class Streams:
    """Streams that stay open until the gate opens, and how many have begun."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.begun = 0
        self.all_open = asyncio.Event()
        self.gate = asyncio.Event()

    async def pause(self) -> None:
        """In the middle of each stream: wait for all others."""
        self.begun += 1
        if self.begun == self.count:
            self.all_open.set()
        await self.gate.wait()


NEWEST = select(Receipt).order_by(Receipt.id.desc()).limit(1)


def streaming(db: AsyncDatabase, streams: Streams) -> FastAPI:
    app = FastAPI()
    install(app, db)

    async def chunks(db: AsyncDatabase, start: bytes, end: bytes) -> AsyncIterator[bytes]:
        yield start + await db.fetch(ReceiptOut, NEWEST).json() + end
        await streams.pause()
        yield start + await db.fetch(ReceiptOut, NEWEST).json() + end

    @app.get("/stream")
    async def stream(db: Reader) -> StreamingResponse:
        return StreamingResponse(chunks(db, b"", b"\n"), media_type="application/x-ndjson")

    @app.get("/events")
    async def events(db: Reader) -> StreamingResponse:
        return StreamingResponse(chunks(db, b"data: ", b"\n\n"), media_type="text/event-stream")

    @app.get("/newest")
    async def newest(db: Reader) -> ReceiptOut:
        return await db.fetch(ReceiptOut, NEWEST).one()

    @app.websocket("/socket")
    async def socket(websocket: WebSocket, db: Reader) -> None:
        await websocket.accept()
        async for message in websocket.iter_text():
            async with db.transaction() as tx:
                tx.add(Receipt(key=message))
            await websocket.send_text((await db.fetch(ReceiptOut, NEWEST).json()).decode())

    return app


async def read_all(client: httpx.AsyncClient, path: str) -> str:
    async with client.stream("GET", path) as response:
        assert response.status_code == 200
        return (await response.aread()).decode()


@pytest.mark.parametrize(("path", "chunk"), [("/stream", "[{}]\n"), ("/events", "data: [{}]\n\n")])
@ASYNC
async def test_a20_open_streams_hold_no_connection(
    driver: str, server: EmbeddedPostgres, witness: Witness, figures: Figures, path: str, chunk: str
) -> None:
    witness.add_all([Receipt(key="one")])
    streams = Streams(3 * _POOL)
    async with open_database(driver, server.url, pool_size=_POOL, pool_timeout=60) as db:
        assert isinstance(db, AsyncDatabase)
        async with served(streaming(db, streams)) as client:
            reading = [asyncio.create_task(read_all(client, path)) for _ in range(streams.count)]
            await asyncio.wait_for(streams.all_open.wait(), 60)
            assert pool_snapshot(db.engine.sync_engine).checked_out == 0
            answers = await asyncio.gather(*(client.get("/newest") for _ in range(_POOL)))
            streams.gate.set()
            texts = await asyncio.gather(*reading)
        figures.leaked = witness.leaked(db)
    figures.sent = figures.acknowledged = streams.count + len(answers)
    figures.notes.append(f"{streams.count} streams over {_POOL} connections")
    assert {answer.status_code for answer in answers} == {200}
    assert set(texts) == {2 * chunk.replace("{}", '{"key":"one"}')}
    assert figures.leaked == 0


class Socket:
    """One client's end of a websocket, without a network."""

    def __init__(self, app: FastAPI, path: str) -> None:
        self._scope = {
            "type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": [], "subprotocols": [], "scheme": "ws", "server": ("test", 80), "client": ("test", 1),
            "app": app,
        }  # fmt: skip
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._to_app.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(app(self._scope, self._to_app.get, self._from_app.put))  # type: ignore[arg-type]

    async def receive(self) -> dict[str, Any]:
        return await asyncio.wait_for(self._from_app.get(), 60)

    async def ask(self, message: str) -> str:
        self._to_app.put_nowait({"type": "websocket.receive", "text": message})
        return str((await self.receive())["text"])

    async def close(self) -> None:
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self._task


@ASYNC
async def test_a20_open_websockets_hold_no_connection(
    driver: str, server: EmbeddedPostgres, witness: Witness, figures: Figures
) -> None:
    async with open_database(driver, server.url, pool_size=_POOL, pool_timeout=60) as db:
        assert isinstance(db, AsyncDatabase)
        app = streaming(db, Streams(0))
        sockets = [Socket(app, "/socket") for _ in range(3 * _POOL)]
        for socket in sockets:
            assert (await socket.receive())["type"] == "websocket.accept"
        for turn in range(5):
            answers = await asyncio.gather(*(socket.ask(f"{turn}-{at}") for at, socket in enumerate(sockets)))
            assert all(answer.startswith('[{"key":') for answer in answers)
            assert pool_snapshot(db.engine.sync_engine).checked_out == 0
        for socket in sockets:
            await socket.close()
        figures.leaked = witness.leaked(db)
    figures.sent = 5 * len(sockets)
    figures.acknowledged = witness.scalar("SELECT count(DISTINCT key) FROM receipts")
    figures.notes.append(f"{len(sockets)} websockets over {_POOL} connections")
    assert figures.sent == figures.acknowledged
    assert figures.leaked == 0
