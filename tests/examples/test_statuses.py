"""Each status that the blog's OpenAPI documents can be had, and is as it is documented."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.orm import Session

from examples.blog.app import create_app
from examples.blog.seed import Size, seed, tables
from querywright import AsyncDatabase, Base

pytestmark = pytest.mark.drivers("sqlite+aiosqlite", "postgresql+asyncpg")

USER = {"name": "New", "email": "new@example.com"}
POST = {"author_id": 1, "title": "Title", "body": "Body"}
UNREADABLE = {"content": b"\xff{", "headers": {"content-type": "application/json"}}
# What is documented, and the request that is answered so.
PLAIN: dict[tuple[str, str, int], tuple[str, dict[str, Any]]] = {
    ("get", "/health/live", 200): ("/health/live", {}),
    ("get", "/health/ready", 200): ("/health/ready", {}),
    ("get", "/users", 200): ("/users", {}),
    ("get", "/users", 422): ("/users?limit=1000", {}),
    ("get", "/users/{user_id}", 200): ("/users/1", {}),
    ("get", "/users/{user_id}", 404): ("/users/999", {}),
    ("get", "/users/{user_id}", 422): ("/users/none", {}),
    ("post", "/users", 201): ("/users", {"json": USER}),
    ("post", "/users", 400): ("/users", UNREADABLE),
    ("post", "/users", 409): ("/users", {"json": {**USER, "email": "user1@example.com"}}),
    ("post", "/users", 422): ("/users", {"json": {**USER, "name": ""}}),
    ("get", "/posts", 200): ("/posts?q=aa", {}),
    ("get", "/posts", 422): ("/posts?q=a", {}),
    ("get", "/posts/{post_id}", 200): ("/posts/1", {}),
    ("get", "/posts/{post_id}", 404): ("/posts/999", {}),
    ("get", "/posts/{post_id}", 422): (f"/posts/{2**31}", {}),
    ("post", "/posts", 201): ("/posts", {"json": POST}),
    ("post", "/posts", 400): ("/posts", UNREADABLE),
    ("post", "/posts", 409): ("/posts", {"json": {**POST, "author_id": 999}}),
    ("post", "/posts", 422): ("/posts", {"json": {**POST, "title": ""}}),
    ("patch", "/posts/{post_id}", 200): ("/posts/1", {"json": {"title": "Better"}}),
    ("patch", "/posts/{post_id}", 400): ("/posts/1", UNREADABLE),
    ("patch", "/posts/{post_id}", 404): ("/posts/999", {"json": {"title": "Better"}}),
    ("patch", "/posts/{post_id}", 422): ("/posts/1", {"json": {"title": ""}}),
    ("delete", "/posts/{post_id}", 204): ("/posts/2", {}),
    ("delete", "/posts/{post_id}", 404): ("/posts/999", {}),
    ("delete", "/posts/{post_id}", 422): ("/posts/0", {}),
}
# While another request is changing, or pins, the same row.
MEANWHILE: dict[tuple[str, str, int], tuple[str, dict[str, Any]]] = {
    ("patch", "/posts/{post_id}", 409): ("/posts/3", {"json": {"title": "Better"}}),
    ("delete", "/posts/{post_id}", 409): ("/posts/4", {}),
}


@asynccontextmanager
async def client_of(db: AsyncDatabase) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, Any]]]:
    app = create_app(db)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client, app.openapi()


@pytest.fixture
async def blog(url: str) -> AsyncIterator[AsyncDatabase]:
    async with AsyncDatabase(url) as db:
        await seed(db, Size(users=3, posts=9, comments=9))
        yield db
        async with db.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all, tables=tables())


def documented(schema: dict[str, Any]) -> set[tuple[str, str, int]]:
    return {
        (method, path, int(status))
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        for status in operation["responses"]
    }


def require_documented(response: httpx.Response, key: tuple[str, str, int], schema: dict[str, Any]) -> None:
    method, path, status = key
    assert response.status_code == status, (key, response.text)
    content = schema["paths"][path][method]["responses"][str(status)].get("content", {})
    sent = response.headers.get("content-type")
    assert sent in content if content else not response.content, key
    if sent == "application/problem+json":
        assert response.json().items() >= {"type": "about:blank", "status": status}.items()


async def test_what_one_request_is_answered(blog: AsyncDatabase) -> None:
    async with client_of(blog) as (client, schema):
        for key, (path, request) in PLAIN.items():
            require_documented(await client.request(key[0], path, **request), key, schema)


async def test_what_somebody_else_stands_in_the_way_of(blog: AsyncDatabase) -> None:
    def take_away(session: Session, *_: object) -> None:
        session.connection().execute(text("DELETE FROM posts WHERE id = 3"))

    def unpin(connection: Connection) -> None:
        connection.execute(text("DROP TABLE pins"))

    async with blog.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE pins (post_id INTEGER REFERENCES posts (id))"))
        await connection.execute(text("INSERT INTO pins VALUES (4)"))
    event.listen(Session, "before_flush", take_away)
    try:
        async with client_of(blog) as (client, schema):
            for key, (path, request) in MEANWHILE.items():
                require_documented(await client.request(key[0], path, **request), key, schema)
    finally:
        event.remove(Session, "before_flush", take_away)
        async with blog.engine.begin() as connection:
            await connection.run_sync(unpin)


async def test_a_database_that_cannot_serve(blog: AsyncDatabase, url: str) -> None:
    seen = set()
    async with AsyncDatabase(url, pool_size=1, max_overflow=0, pool_timeout=0.01) as small, small.session() as held:
        await held.execute(text("SELECT 1"))
        async with client_of(small) as (client, schema):
            for key in sorted(key for key in documented(schema) if key[2] == 503):
                path, request = next(PLAIN[each] for each in PLAIN if each[:2] == key[:2] and each[2] < 300)
                if path == "/health/ready":
                    # That the pool is used up says nothing of the database.
                    async with small.replaced_by("sqlite+aiosqlite:////no/folder/blog.db"):
                        response = await client.request(key[0], path, **request)
                else:
                    response = await client.request(key[0], path, **request)
                require_documented(response, key, schema)
                assert response.headers["retry-after"] == "1"
                seen.add(key)
            assert PLAIN.keys() | MEANWHILE.keys() | seen == documented(schema)
