"""What a driver raises in a place of its own reaches a caller as SQLAlchemy's error, never as the driver's."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import DBAPIError

from querywright import AsyncDatabase, Database, DatabaseError, DatabaseUnavailable
from querywright.engine import classify, pool_snapshot
from tests.conftest import POSTGRES, SYNC
from tests.suite.support import AnyDatabase, resolve

ROWS = 5000
ASYNC_POSTGRES = ("postgresql+asyncpg", "postgresql+psycopg async")


@pytest.fixture
async def connected(url: str) -> AsyncIterator[AsyncDatabase]:
    async with AsyncDatabase(url) as db:
        yield db


async def read(db: AsyncDatabase, statement: str, killed_at: int | None = None) -> None:
    """Read rows one by one from a server's cursor, and end its connection on the way."""
    async with db.engine.connect() as connection:
        pid = await connection.scalar(text("SELECT pg_backend_pid()"))
        number = 0
        async for _ in await connection.stream(text(statement)):
            if number == killed_at:
                terminate(db, pid)
            number += 1


def terminate(db: AsyncDatabase, pid: int | None) -> None:
    engine = create_engine(db.settings.url.get_secret_value().replace("+asyncpg", "+psycopg"))
    with engine.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    engine.dispose()


# psycopg raises what SQLAlchemy knows everywhere.
@pytest.mark.drivers("postgresql+asyncpg")
async def test_an_error_among_the_rows_of_a_stream(connected: AsyncDatabase) -> None:
    statement = f"SELECT 1 / (n - 4000) FROM generate_series(1, {ROWS}) AS n"
    with pytest.raises(DBAPIError) as caught:
        await read(connected, statement)
    known = classify(caught.value)
    assert type(known) is not DatabaseUnavailable
    assert known is not None
    assert known.sqlstate == "22012"
    assert not caught.value.connection_invalidated


@pytest.mark.drivers("postgresql+asyncpg")
async def test_a_connection_lost_among_the_rows_of_a_stream(connected: AsyncDatabase) -> None:
    with pytest.raises(DBAPIError) as caught:
        await read(connected, f"SELECT n, repeat('x', 10000) FROM generate_series(1, {ROWS}) AS n", killed_at=10)
    assert caught.value.connection_invalidated
    assert type(classify(caught.value)) is DatabaseUnavailable
    await connected.ping()


@pytest.mark.drivers(*POSTGRES)
async def test_no_server_of_the_kind_that_is_wanted(url: str, request: pytest.FixtureRequest) -> None:
    wanted = f"{url}?target_session_attrs=standby"
    driver: str = request.node.callspec.params["url"]
    db: AnyDatabase = Database(wanted) if driver in SYNC else AsyncDatabase(wanted)
    with pytest.raises(DBAPIError) as caught:
        await resolve(db.ping())
    assert type(classify(caught.value)) is DatabaseUnavailable
    await resolve(db.dispose())


@pytest.mark.drivers("postgresql+asyncpg")
async def test_a_connection_that_is_closed_before_its_types_are_prepared(connected: AsyncDatabase) -> None:
    def close(adapted: Any, _record: Any) -> None:
        adapted.driver_connection.terminate()

    # Before SQLAlchemy's own.
    event.listen(connected.engine.sync_engine.pool, "connect", close, insert=True)
    with pytest.raises(DBAPIError) as caught:
        await connected.ping()
    assert type(classify(caught.value)) is DatabaseUnavailable


@pytest.mark.drivers(*ASYNC_POSTGRES)
async def test_a_server_that_leaves_as_soon_as_it_has_let_us_in(request: pytest.FixtureRequest, url: str) -> None:
    driver: str = request.node.callspec.params["url"].removesuffix(" async")
    with leaving() as port:
        db = AsyncDatabase(f"{driver}://u@127.0.0.1:{port}/app?sslmode=disable")
        with pytest.raises(DBAPIError) as caught:
            await db.ping()
        assert isinstance(classify(caught.value), DatabaseError)
        assert pool_snapshot(db.engine.sync_engine).checked_out == 0
        await db.dispose()


@contextmanager
def leaving() -> Iterator[int]:
    """Let one client after the other in, and close its connection."""
    listening = socket.create_server(("127.0.0.1", 0))
    let_in = b"".join(
        kind + struct.pack("!I", len(body) + 4) + body
        for kind, body in (
            (b"R", struct.pack("!I", 0)),
            (b"S", b"server_version\x0018.0\0"),
            (b"K", struct.pack("!II", 1, 1)),
            (b"Z", b"I"),
        )
    )

    def serve() -> None:
        while True:
            try:
                client: Any = listening.accept()[0]
            except OSError:
                return
            with client:
                client.recv(4096)
                client.sendall(let_in)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
