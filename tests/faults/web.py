"""An application that writes receipts, and what its clients make of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select

from querywright import AsyncDatabase
from querywright.fastapi import Reader, Writer, install
from tests.faults.clients import Receipt

# What no client may ever read: words of drivers, of servers, and SQL.
_FORBIDDEN = ("asyncpg", "psycopg", "sqlalchemy", "receipts", "insert", "select", "server", "terminat", "traceback")


class Refused(Exception):
    """An answer other than 2xx."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"{response.status_code}: {response.text}")
        self.status = response.status_code
        self.text = response.text
        # Only who knows that nothing was written may ask to try again.
        self.unknown = "retry-after" not in response.headers
        self.clean = response.headers["content-type"] == "application/problem+json" and not any(
            word in response.text.lower() for word in _FORBIDDEN
        )


def application(db: AsyncDatabase) -> FastAPI:
    """Make an application that writes and reads receipts."""
    app = FastAPI()
    install(app, db)

    @app.post("/receipts/{key}", status_code=201)
    async def write(key: str, tx: Writer) -> dict[str, str]:
        tx.add(Receipt(key=key))
        await tx.flush()
        return {"key": key}

    @app.get("/receipts/{key}")
    async def read(key: str, db: Reader) -> dict[str, int]:
        async with db.session(read_only=True) as session:
            return {"found": len((await session.scalars(select(Receipt).where(Receipt.key == key))).all())}

    return app


@asynccontextmanager
async def in_process(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client that calls the application without a network."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the application with uvicorn on a port of 127.0.0.1, and open a client to it."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False, lifespan="on"))
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not serving.done(), "uvicorn did not start"
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        await serving


async def write(client: httpx.AsyncClient, key: str) -> None:
    """Ask for a receipt.

    Raises:
        Refused: There was another answer than 2xx.
    """
    response = await client.post(f"/receipts/{key}")
    if not response.is_success:
        raise Refused(response)
