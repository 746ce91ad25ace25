"""The blog, served to clients of another thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing

import pytest
import uvicorn
from fastapi import FastAPI

from examples.blog.app import create_app
from examples.blog.seed import Size, seed, tables
from querywright import AsyncDatabase, Base

SMALL = Size(users=5, posts=30, comments=60)


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


def serve(url: str, create: Callable[[AsyncDatabase], FastAPI]) -> Iterator[str]:
    """Serve an application in a thread with an event loop of its own; gives its address."""
    opened, servers = threading.Event(), list[Server]()

    async def run(bound: socket.socket) -> None:
        async with filled(url) as db:
            servers.append(Server(create(db), opened))
            await servers[0].serve([bound])

    with closing(socket.create_server(("127.0.0.1", 0))) as bound:
        thread = threading.Thread(target=lambda: asyncio.run(run(bound)))
        thread.start()
        while not opened.wait(0.1):
            assert thread.is_alive(), "the server did not start"
        yield "http://{}:{}".format(*bound.getsockname())
        servers[0].should_exit = True
        thread.join()


@pytest.fixture
def blog(url: str) -> Iterator[str]:
    """The address of the blog."""
    yield from serve(url, create_app)
