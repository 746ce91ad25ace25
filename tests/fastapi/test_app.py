from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextlib import suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, WebSocket
from pydantic import BaseModel
from sqlalchemy import event, select, text
from sqlalchemy.exc import IntegrityError

from querywright import AsyncDatabase, AsyncSession, Conflict, Database, JsonBytes, NotFound, fetch
from querywright.fastapi import Json, Reader, SyncReader, SyncWriter, Writer, install, lifespan
from tests.suite.models import Author, NameOut, Tag, TagOut

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

pytestmark = pytest.mark.drivers("sqlite+aiosqlite", "postgresql+asyncpg")


class TagIn(BaseModel):
    name: str | None


def routes(app: FastAPI) -> None:  # noqa: C901 - a list of routes
    @app.get("/tags")
    async def list_tags(db: Reader) -> Json[list[TagOut]]:
        return Json(await db.fetch(TagOut, select(Tag).order_by(Tag.id)).json())

    @app.get("/tags/{tag_id}")
    async def get_tag(tag_id: int, db: Reader) -> TagOut:
        return await db.fetch(TagOut, select(Tag).where(Tag.id == tag_id)).one()

    @app.post("/tags", status_code=201)
    async def create_tag(data: TagIn, tx: Writer) -> TagOut:
        tag = Tag(name=data.name)
        tx.add(tag)
        await tx.flush()
        return await tx.fetch(TagOut, select(Tag).where(Tag.id == tag.id)).one()

    @app.post("/late")
    async def conflict_at_commit(tx: Writer) -> dict[str, str]:
        tx.add_all([Tag(name="late"), Tag(name="late")])
        return {"status": "looks fine"}

    @app.post("/refused")
    async def refuse(tx: Writer) -> None:
        tx.add(Tag(name="refused"))
        await tx.flush()
        raise HTTPException(418)

    @app.post("/invalid-response")
    async def invalid_response(tx: Writer) -> TagOut:
        tx.add(Tag(name="never answered"))
        await tx.flush()
        return {"nonsense": 1}  # type: ignore[return-value]

    @app.get("/broken")
    async def broken(db: Reader) -> None:
        async with db.session() as session:
            await session.execute(text("SELECT secret FROM nowhere"))

    @app.post("/ignored")
    async def ignored(tx: Writer) -> dict[str, str]:
        tx.add_all([Tag(name="same"), Tag(name="same")])
        with suppress(IntegrityError):
            await tx.flush()
        return {"status": "looks fine"}

    @app.get("/numbers/{number}")
    async def by_number(number: int, db: Reader) -> Json[list[TagOut]]:
        return Json(await db.fetch(TagOut, select(Tag).where(Tag.id == number)).json())

    @app.websocket("/socket")
    async def socket(websocket: WebSocket, db: Reader) -> None:
        await websocket.accept()
        await websocket.send_text((await db.fetch(TagOut, select(Tag)).json()).decode())
        await db.fetch(TagOut, select(Tag)).one()


@pytest.fixture
async def app(db: AsyncDatabase) -> FastAPI:
    app = FastAPI(lifespan=lifespan(db))
    install(app, db)
    routes(app)
    return app


async def test_bytes_reach_the_client_untouched(client: httpx.AsyncClient) -> None:
    assert (await client.post("/tags", json={"name": "one"})).status_code == 201
    response = await client.get("/tags")
    assert response.content == b'[{"name":"one"}]'
    assert response.headers["content-type"] == "application/json"


async def test_not_found(client: httpx.AsyncClient) -> None:
    response = await client.get("/tags/99")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "No Tag matches the statement.",
    }


async def test_conflict(client: httpx.AsyncClient) -> None:
    await client.post("/tags", json={"name": "twice"})
    response = await client.post("/tags", json={"name": "twice"})
    assert response.status_code == 409
    assert response.json()["detail"] == "A row with the same unique value already exists."
    assert "twice" not in response.text


async def test_invalid_value(client: httpx.AsyncClient) -> None:
    response = await client.post("/tags", json={"name": None})
    assert response.status_code == 422
    assert response.json() == {
        "detail": [{"type": "invalid_value", "loc": ["request"], "msg": "A required value is missing.", "input": None}]
    }


async def test_a_commit_that_fails_is_no_success(client: httpx.AsyncClient) -> None:
    assert (await client.post("/late")).status_code == 409
    assert (await client.get("/tags")).json() == []


async def test_errors_of_several_tasks(app: FastAPI, client: httpx.AsyncClient) -> None:
    errors: list[Exception] = []

    @app.post("/together")
    async def together(tx: Writer) -> None:
        tx.add(Tag(name="lost"))
        await tx.flush()
        raise ExceptionGroup("tasks", errors)

    errors[:] = [Conflict("Taken."), ExceptionGroup("inner", [NotFound("Tag")])]
    response = await client.post("/together")
    assert (response.status_code, response.json()["detail"]) == (409, "Taken.")
    errors.append(ValueError())
    response = await client.post("/together")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert (await client.get("/tags")).json() == []


async def test_an_ignored_error_is_no_success(client: httpx.AsyncClient) -> None:
    assert (await client.post("/ignored")).status_code == 500


async def test_numbers_that_no_column_holds(client: httpx.AsyncClient) -> None:
    response = await client.get(f"/numbers/{10**20}")
    assert (response.status_code, response.json()["detail"][0]["type"]) == (422, "invalid_value")


async def test_errors_close_an_open_websocket(app: FastAPI) -> None:
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "websocket", "path": "/socket", "raw_path": b"/socket", "query_string": b"", "root_path": "",
        "headers": [], "subprotocols": [], "scheme": "ws", "server": ("test", 80), "client": ("test", 1), "app": app,
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)  # type: ignore[arg-type]
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert sent[-1]["code"] == 1008


@pytest.mark.parametrize(("path", "status"), [("/refused", 418), ("/invalid-response", 500)])
async def test_errors_roll_back(client: httpx.AsyncClient, path: str, status: int) -> None:
    assert (await client.post(path)).status_code == status
    assert (await client.get("/tags")).json() == []


async def test_commits_before_the_response_starts(app: FastAPI, db: AsyncDatabase) -> None:
    order: list[str] = []
    event.listen(db.engine.sync_engine, "commit", lambda _: order.append("commit"))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"name":"one"}', "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        order.append(message["type"])

    scope = {
        "type": "http", "method": "POST", "path": "/tags", "raw_path": b"/tags", "query_string": b"", "root_path": "",
        "headers": [(b"content-type", b"application/json")], "http_version": "1.1", "scheme": "http",
        "server": ("test", 80), "client": ("test", 1), "app": app,
    }  # fmt: skip
    await app(scope, receive, send)  # type: ignore[arg-type]
    assert order == ["commit", "http.response.start", "http.response.body"]


async def test_database_errors_tell_nothing(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = await client.get("/broken")
    assert response.status_code == 500
    assert response.json() == {"type": "about:blank", "title": "Internal Server Error", "status": 500}
    assert "in broken" in caplog.text, "the log says where"
    for word in ("secret", "nowhere"):
        assert word not in response.text
    assert "nowhere" in caplog.text, "and what is missing"


async def test_pool_timeout_is_503(client: httpx.AsyncClient, app: FastAPI, url: str, db: AsyncDatabase) -> None:
    small = AsyncDatabase(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    app.state.querywright = small
    async with small.session() as held:
        await held.execute(text("SELECT 1"))
        response = await client.get("/tags")
    await small.dispose()
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.json()["detail"] == "Every database connection is in use."


async def test_openapi_describes_the_model(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    content = schema["paths"]["/tags"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert content["type"] == "array"
    assert content["items"] == {"$ref": "#/components/schemas/TagOut"}
    assert "TagOut" in schema["components"]["schemas"]


async def test_health(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/live")).json() == {"status": "ok"}
    assert (await client.get("/health/ready")).json() == {"status": "ok"}


@pytest.mark.drivers("postgresql+asyncpg", "postgresql+psycopg async")
async def test_database_down(url: str, db: AsyncDatabase) -> None:
    down = AsyncDatabase(db.engine.url.set(port=1))
    app = FastAPI(lifespan=lifespan(down))
    install(app, down)
    routes(app)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for path in ("/tags", "/health/ready"):
            response = await client.get(path)
            assert response.status_code == 503
            assert response.headers["retry-after"] == "1"
            assert response.headers["content-type"] == "application/problem+json"
        assert (await client.get("/health/live")).status_code == 200


async def test_lifespan_closes_the_pool(app: FastAPI, db: AsyncDatabase) -> None:
    closed: list[object] = []
    event.listen(db.engine.sync_engine.pool, "close", lambda connection, _record: closed.append(connection))
    async with app.router.lifespan_context(app):
        await db.ping()
        assert closed == []
    assert len(closed) == 1


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg")
async def test_sync_databases(db: Database) -> None:
    app = FastAPI(lifespan=lifespan(db))
    install(app, db)

    @app.post("/tags")
    def create(tx: SyncWriter) -> None:
        tx.add(Tag(name="sync"))

    @app.get("/tags")
    def list_tags(db: SyncReader) -> Json[list[TagOut]]:
        return Json(db.fetch(TagOut, select(Tag)).json())

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        assert (await client.post("/tags")).status_code == 200
        assert (await client.get("/tags")).json() == [{"name": "sync"}]
        assert (await client.get("/health/ready")).status_code == 200


def test_json_keeps_its_status_and_headers() -> None:
    response: Json[NameOut] = Json(JsonBytes(b"{}"), status_code=201, headers={"x-a": "b"})
    assert (response.status_code, response.headers["x-a"], response.body) == (201, "b", b"{}")


async def test_errors_of_querywright_need_no_sqlalchemy(app: FastAPI, client: httpx.AsyncClient) -> None:
    errors = {
        "missing": NotFound("Thing"),
        "sentence": NotFound("There is no such thing."),
        "conflict": Conflict("Somebody was faster."),
    }

    @app.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise errors[name]

    for name, detail in (("missing", "No Thing matches the statement."), ("sentence", "There is no such thing.")):
        answer = await client.get(f"/raise/{name}")
        assert (answer.status_code, answer.json()["detail"]) == (404, detail)
    assert (await client.get("/raise/conflict")).json()["detail"] == "Somebody was faster."


async def test_requests_at_once(client: httpx.AsyncClient, db: AsyncDatabase) -> None:
    async with db.transaction() as tx:
        tx.add_all([Author(id=n, name=str(n)) for n in range(1, 4)])
        assert isinstance(tx, AsyncSession)
    answers = await asyncio.gather(
        *(fetch(db, NameOut, select(Author).where(Author.id == n % 3 + 1)).one() for n in range(64))
    )
    assert [answer.id for answer in answers] == [n % 3 + 1 for n in range(64)]
    names = [f"tag {n}" for n in range(8)]
    statuses = await asyncio.gather(*(client.post("/tags", json={"name": name}) for name in names))
    assert {response.status_code for response in statuses} == {201}
    assert sorted(row["name"] for row in json.loads((await client.get("/tags")).content)) == names
