"""Lists over HTTP: pages, sparse fieldsets and streams, and the errors that a client makes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI, Query
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from querywright import AsyncDatabase, Page, fetch
from querywright.fastapi import Json, Reader, install, lifespan
from tests.suite.models import Tag, TagOut
from tests.suite.support import add

pytestmark = pytest.mark.drivers("sqlite+aiosqlite", "postgresql+asyncpg")
TAGS = select(Tag).order_by(Tag.id)


def routes(app: FastAPI) -> None:
    @app.get("/page")
    async def page(db: Reader, after: str | None = None, size: int = 2) -> Json[Page[TagOut]]:
        return Json(await db.fetch(TagOut, TAGS).json_page(size=size, after=after))

    @app.get("/typed")
    async def typed(db: Reader) -> Page[TagOut]:
        return await db.fetch(TagOut, TAGS).page(size=2)

    @app.get("/sparse")
    async def sparse(db: Reader, fields: str) -> Json[list[TagOut]]:
        return Json(await db.fetch(TagOut, TAGS, fields=fields).json())

    @app.get("/several")
    async def several(db: Reader, fields: Annotated[list[str], Query()]) -> Json[list[TagOut]]:
        return Json(await fetch(db, TagOut, TAGS, fields=fields).json())

    @app.get("/stream")
    async def stream(db: Reader) -> StreamingResponse:
        return StreamingResponse(db.fetch(TagOut, TAGS).stream_json(), media_type="application/json")


@pytest.fixture
async def client(db: AsyncDatabase) -> AsyncIterator[httpx.AsyncClient]:
    await add(db, *(Tag(id=n, name=f"tag {n}") for n in range(1, 6)))
    app = FastAPI(lifespan=lifespan(db))
    install(app, db)
    routes(app)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
        yield opened


async def test_pages(client: httpx.AsyncClient) -> None:
    first = (await client.get("/page")).json()
    assert (first["items"], first["total"]) == ([{"name": "tag 1"}, {"name": "tag 2"}], 5)
    second = (await client.get("/page", params={"after": first["next"]})).json()
    assert second["items"] == [{"name": "tag 3"}, {"name": "tag 4"}]
    typed = (await client.get("/typed")).json()
    assert (typed["items"], typed["total"], typed["previous"]) == (first["items"], 5, None)
    assert (await client.get("/page", params={"after": typed["next"]})).json()["items"] == second["items"]


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("/page?after=forged", "invalid_cursor", "The cursor is not one of this list. Begin again at the first page."),
        ("/page?size=0", "invalid_page", "A page has 1 to 1000 rows, not 0."),
        ("/sparse?fields=id", "unknown_fields", "There is no field 'id'. There are name."),
        ("/several?fields=name&fields=id", "unknown_fields", "There is no field 'id'. There are name."),
    ],
)
async def test_what_a_client_gets_wrong_is_a_422(client: httpx.AsyncClient, path: str, kind: str, message: str) -> None:
    response = await client.get(path)
    [refusal] = response.json()["detail"]
    assert (response.status_code, refusal["type"], refusal["msg"]) == (422, kind, message)


async def test_sparse_fieldsets_and_streams(client: httpx.AsyncClient) -> None:
    assert (await client.get("/sparse?fields=name")).json()[0] == {"name": "tag 1"}
    assert [row["name"] for row in (await client.get("/stream")).json()] == [f"tag {n}" for n in range(1, 6)]


@pytest.mark.parametrize(
    "path", ["/sparse?fields=", "/several?fields=", "/several?fields=name&fields=", "/page?after="]
)
async def test_an_empty_parameter_is_as_none(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert (response.status_code, b'{"name":"tag 1"}' in response.content) == (200, True)


async def test_openapi_knows_the_page(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    content = schema["paths"]["/page"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert content == {"$ref": "#/components/schemas/Page_TagOut_"}
