"""What a path operation answers decides whether what it wrote stays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.responses import JSONResponse, StreamingResponse
from sqlalchemy import select

from querywright import AsyncDatabase, NestedTransaction
from querywright.engine import pool_snapshot
from querywright.fastapi import KeepingWriter, SyncKeepingWriter, SyncWriter, Writer, install
from tests.suite.models import Tag
from tests.suite.support import AnyDatabase, resolve, session

pytestmark = pytest.mark.drivers("sqlite+aiosqlite", "sqlite+pysqlite", "postgresql+asyncpg", "postgresql+psycopg")
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
