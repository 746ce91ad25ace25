from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import pytest

from examples.blog.app import create_app
from examples.blog.seed import Size, seed, tables
from querywright import AsyncDatabase, Base
from tests.suite.support import statements

pytestmark = pytest.mark.drivers("sqlite+aiosqlite", "postgresql+asyncpg")
SMALL = Size(users=5, posts=60, comments=200)


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with AsyncDatabase(url) as db:
        assert await seed(db, SMALL)
        assert not await seed(db, SMALL), "a second run finds everything in place"
        async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(db)), base_url="http://test") as client:
            yield client
        async with db.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all, tables=tables())


@contextmanager
def one_statement() -> Iterator[None]:
    with statements() as seen:
        yield
    assert len(seen) == 1


async def test_every_read_is_one_statement(client: httpx.AsyncClient) -> None:
    with one_statement():
        users = (await client.get("/users", params={"limit": 2})).json()
    assert [user["id"] for user in users] == [1, 2]
    assert users[0]["posts"]
    assert {"id", "title", "created_at", "tags"} == set(users[0]["posts"][0])
    with one_statement():
        user = (await client.get("/users/1")).json()
    assert user == users[0]
    with one_statement():
        post = (await client.get("/posts/1")).json()
    assert set(post["comments"][0]) == {"id", "text", "created_at", "author"}
    word = re.split(r"\W", post["title"])[0]
    with one_statement():
        found = (await client.get("/posts", params={"q": word.upper(), "limit": 100})).json()
    assert post["id"] in [row["id"] for row in found]


async def test_wildcards_of_clients_are_text(client: httpx.AsyncClient) -> None:
    assert (await client.get("/posts", params={"q": "%%"})).json() == []


async def test_create_update_delete(client: httpx.AsyncClient) -> None:
    author = (await client.post("/users", json={"name": "New", "email": "new@example.com"})).json()
    assert author["posts"] == []
    new = {"author_id": author["id"], "title": "Title", "body": "Body", "tags": ["sql", "brand new", "sql"]}
    response = await client.post("/posts", json=new)
    assert response.status_code == 201
    post = response.json()
    assert [tag["name"] for tag in post["tags"]] == ["brand new", "sql"]
    path = f"/posts/{post['id']}"
    assert (await client.patch(path, json={"title": "Better"})).json() == post | {"title": "Better"}
    assert (await client.get(path)).json()["title"] == "Better"
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == 404
    assert (await client.delete(path)).status_code == 404
    assert (await client.delete("/posts/1")).status_code == 204, "comments and tags go with their post"


async def test_refusals(client: httpx.AsyncClient) -> None:
    taken = {"name": "Twin", "email": "user1@example.com"}
    assert (await client.post("/users", json=taken)).status_code == 409
    nobody = {"author_id": 9999, "title": "Title", "body": "Body"}
    assert (await client.post("/posts", json=nobody)).status_code == 409
    assert (await client.post("/posts", json=nobody | {"title": ""})).status_code == 422
    for path in ("/users?limit=1000", "/users?offset=-1", "/posts?q=a", "/users/abc"):
        assert (await client.get(path)).status_code == 422
