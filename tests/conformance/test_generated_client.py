"""A client that openapi-python-client writes from OpenAPI: it has every route, and reads what it is answered."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Response
from pydantic import BaseModel
from sqlalchemy import MetaData, select

from examples.blog.models import Post, User
from examples.blog.schemas import PostSummary, UserOut
from querywright import AsyncDatabase, IdempotencyKeys, Page
from querywright.fastapi import (
    IdempotentRoute,
    IfMatch,
    IfNoneMatch,
    Json,
    Reader,
    Writer,
    everybody,
    install,
    lifespan,
)
from tests.conformance.conftest import Served, serve

pytest.importorskip("openapi_python_client", reason="openapi-python-client is not in this set of versions")

pytestmark = pytest.mark.drivers("sqlite+aiosqlite", "postgresql+asyncpg")
Client = Callable[[str], ModuleType]
_KEYS = IdempotencyKeys(MetaData())


class Versioned(BaseModel):
    id: int
    version: int


class _PublicRoute(IdempotentRoute):
    caller = Depends(everybody)


def create_shop(db: AsyncDatabase) -> FastAPI:
    """What the blog does not have: entity tags, keys, pages, and fewer fields than there are."""
    app = FastAPI(title="Shop", lifespan=lifespan(db))
    install(app, db, idempotency=_KEYS, validation_problems=True)
    router = APIRouter(route_class=_PublicRoute)

    @app.get("/sparse", operation_id="sparse")
    async def sparse(db: Reader, fields: str | None = None) -> Json[list[UserOut]]:
        return Json(await db.fetch(UserOut, select(User).order_by(User.id), fields=fields).json())

    @app.get("/page", operation_id="page")
    async def page(db: Reader, fields: str | None = None, after: str | None = None) -> Json[Page[PostSummary]]:
        posts = select(Post).order_by(Post.id)
        return Json(await db.fetch(PostSummary, posts, fields=fields).json_page(size=2, after=after))

    @app.get("/known", operation_id="known")
    async def known(match: IfNoneMatch, response: Response) -> Versioned:
        row = Versioned(id=1, version=3)
        match.check(row)
        response.headers["ETag"] = '"3"'
        return row

    @app.put("/changed", operation_id="changed")
    async def changed(match: IfMatch) -> Versioned:
        row = Versioned(id=1, version=3)
        match.check(row)
        return row

    @router.post("/once", operation_id="once", status_code=201)
    async def once(tx: Writer) -> Versioned:
        await tx.run_sync(lambda sync: _KEYS.table.create(sync.connection(), checkfirst=True))
        return Versioned(id=1, version=1)

    app.include_router(router)
    return app


@pytest.fixture
def blog_client(blog: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, Any]]:
    yield from generated(blog, "blog_client", tmp_path, monkeypatch)


@pytest.fixture
def shop_client(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, Any]]:
    for served in serve(url, create_shop):
        yield from generated(served, "shop_client", tmp_path, monkeypatch)


def generated(served: Served, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, Any]]:
    """Write a client of an application; gives its modules by name, and a connection."""
    schema = httpx.get(f"{served.address}/openapi.json").json()
    (folder / "openapi.json").write_text(json.dumps(schema))
    (folder / "config.yaml").write_text("post_hooks: []\n")
    files = ["--path", folder / "openapi.json", "--output-path", folder / name, "--config", folder / "config.yaml"]
    program = [sys.executable, "-m", "openapi_python_client"]
    command = [*program, "generate", *map(str, files), "--meta", "none", "--fail-on-warning"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - as written above
    assert done.returncode == 0, done.stdout + done.stderr
    operations = sum(len(methods) for methods in schema["paths"].values())
    modules = [path for path in (folder / name / "api").rglob("*.py") if path.stem != "__init__"]
    assert len(modules) == operations, "none is left out"
    monkeypatch.syspath_prepend(str(folder))
    client = importlib.import_module(name).Client(base_url=served.address, raise_on_unexpected_status=True)
    with client:
        yield lambda module: importlib.import_module(f"{name}.{module}"), client
    for loaded in [each for each in sys.modules if each.partition(".")[0] == name]:
        del sys.modules[loaded]


def test_the_blog(blog_client: tuple[Client, Any]) -> None:
    module, client = blog_client
    models = module("models")

    def call(operation: str, *arguments: Any, **named: Any) -> tuple[int, Any]:
        answer = module(f"api.default.{operation}").sync_detailed(*arguments, client=client, **named)
        return int(answer.status_code), answer.parsed

    status, users = call("list_users_users_get", limit=2)
    assert (status, [user.id for user in users]) == (200, [1, 2])
    assert isinstance(users[0].posts, list)
    user = models.UserIn(name="New", email="new@example.com")
    status, made = call("create_user_users_post", body=user)
    assert (status, made.name) == (201, "New")
    status, problem = call("create_user_users_post", body=user)
    assert (status, problem.status, problem.title) == (409, 409, "Conflict")
    post = models.PostIn(author_id=made.id, title="Title", body="Body", tags=["sql"])
    status, written = call("create_post_posts_post", body=post)
    assert (status, [tag.name for tag in written.tags]) == (201, ["sql"])
    patch = models.PostPatch(title="Better")
    assert call("update_post_posts_post_id_patch", written.id, body=patch)[1].title == "Better"
    assert call("get_post_posts_post_id_get", written.id)[1].author.name == "New"
    assert [each.id for each in call("search_posts_posts_get", q="Better")[1]] == [written.id]
    assert call("delete_post_posts_post_id_delete", written.id)[0] == 204
    status, problem = call("get_post_posts_post_id_get", written.id)
    assert (status, problem.detail) == (404, "No Post matches the statement.")
    status, refusal = call("list_users_users_get", limit=1000)
    assert (status, refusal.detail[0].loc) == (422, ["query", "limit"])


def test_what_the_blog_does_not_have(shop_client: tuple[Client, Any]) -> None:
    module, client = shop_client
    unset = module("types").UNSET

    def call(operation: str, **named: Any) -> tuple[int, Any]:
        answer = module(f"api.default.{operation}").sync_detailed(client=client, **named)
        return int(answer.status_code), answer.parsed

    _, whole = call("sparse")
    assert whole[0].name
    _, sparse = call("sparse", fields="id,posts.title")
    assert (sparse[0].id, sparse[0].name) == (1, unset)
    assert sparse[0].posts is not unset
    status, problem = call("sparse", fields="secret")
    assert (status, problem.errors[0].type_) == (422, "unknown_fields")
    _, first = call("page", fields="title")
    assert (len(first.items), first.total, first.items[0].id) == (2, 6, unset)
    assert call("page", after=first.next_)[1].items[0].id == 3
    assert call("known")[1].version == 3
    assert call("known", if_none_match='"3"')[0] == HTTPStatus.NOT_MODIFIED
    assert call("changed", if_match='"3"')[1].version == 3
    status, problem = call("changed", if_match='"2"')
    assert (status, problem.title) == (412, "Precondition Failed")
    assert call("once")[0] == 201
    answers = [call("once", idempotency_key="k")[0] for _ in range(2)]
    assert answers == [201, 201]
    assert call("once", idempotency_key="k" * 300)[0] == 422
