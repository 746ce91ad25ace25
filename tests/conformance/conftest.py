"""The blog, served to clients of another thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import delete

from examples.blog.app import create_app
from examples.blog.seed import Size, seed, tables
from querywright import AsyncDatabase, Base

SMALL = Size(users=3, posts=6, comments=6)


class Server(uvicorn.Server):
    """A server that tells another thread when it is open."""

    def __init__(self, app: FastAPI, opened: threading.Event) -> None:
        super().__init__(uvicorn.Config(app, log_level="error", lifespan="on"))
        self._opened = opened

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._opened.set()


@asynccontextmanager
async def filled(url: str) -> AsyncIterator[AsyncDatabase]:
    async with AsyncDatabase(url) as db:
        await seed(db, SMALL)
        yield db
        async with db.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all, tables=tables())


@dataclass(frozen=True)
class Served:
    """An application that is served.

    Attributes:
        address: Where.
        reset: Puts the rows back as they were: what is answered depends on them.
    """

    address: str
    reset: Callable[[], None]


async def _reset(db: AsyncDatabase) -> None:
    async with db.engine.begin() as connection:
        for table in reversed(tables()):
            await connection.execute(delete(table))
    await seed(db, SMALL)


def serve(url: str, create: Callable[[AsyncDatabase], FastAPI]) -> Iterator[Served]:
    """Serve an application in a thread with an event loop of its own."""
    opened, running = threading.Event(), list[tuple[Server, AsyncDatabase, asyncio.AbstractEventLoop]]()

    async def run(bound: socket.socket) -> None:
        async with filled(url) as db:
            server = Server(create(db), opened)
            running.append((server, db, asyncio.get_running_loop()))
            await server.serve([bound])

    with closing(socket.create_server(("127.0.0.1", 0))) as bound:
        thread = threading.Thread(target=lambda: asyncio.run(run(bound)))
        thread.start()
        while not opened.wait(0.1):
            assert thread.is_alive(), "the server did not start"
        server, db, loop = running[0]
        address = "http://{}:{}".format(*bound.getsockname())
        yield Served(address, lambda: asyncio.run_coroutine_threadsafe(_reset(db), loop).result())
        server.should_exit = True
        thread.join()


@pytest.fixture
def blog(url: str) -> Iterator[Served]:
    """The blog, with a few rows."""
    yield from serve(url, create_app)
