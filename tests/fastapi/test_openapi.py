"""OpenAPI tells what a client gets: headers, problems, statuses, the one format of a 422, and reduced shapes."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from pydantic import BaseModel
from sqlalchemy import select

from querywright import AsyncDatabase, AsyncRepository, AsyncUnitOfWork, Conflict, NotFound, Page
from querywright.fastapi import (
    IdempotentRoute,
    IfMatch,
    IfNoneMatch,
    Json,
    KeepingWriter,
    OptionalIfMatch,
    Reader,
    Writer,
    everybody,
    install,
)
from tests.fastapi.documents import documented, unused
from tests.faults.web import in_process
from tests.suite.models import Author, AuthorOut, Tag, TagOut

TAGS = select(Tag).order_by(Tag.id)


class TagIn(BaseModel):
    name: str


class Tags:
    """A service, as applications have them."""

    def __init__(self, db: AsyncDatabase) -> None:
        self._db = db

    async def by_name(self, name: str) -> TagOut:
        return await self._db.fetch(TagOut, TAGS.where(Tag.name == name)).one()

    async def everything(self) -> list[TagOut]:
        return await self._db.fetch(TagOut, TAGS).all()


def tags_of(db: Reader) -> Tags:
    return Tags(db)


class Work(AsyncUnitOfWork):
    tags: AsyncRepository[Tag]


async def _found(tag: TagOut | None) -> TagOut:
    if tag is None:
        raise NotFound("Tag")
    return tag


async def lists(db: Reader) -> Json[list[TagOut]]:
    return Json(await db.fetch(TagOut, TAGS).json())


async def one(tag_id: int, db: Reader) -> Json[TagOut]:
    return Json(await db.fetch(TagOut, TAGS.where(Tag.id == tag_id)).json_one())


async def by_name(name: str, db: Reader) -> TagOut:
    return await db.fetch(TagOut, TAGS.where(Tag.name == name)).one()


async def by_function(name: str, db: Reader) -> TagOut:
    return await _found(await db.fetch(TagOut, TAGS.where(Tag.name == name)).one_or_none())


async def of_tag(tag_id: int, db: Reader) -> list[TagOut]:
    return await db.fetch(TagOut, TAGS.where(Tag.id > tag_id)).all()


async def by_service(name: str, tags: Annotated[Tags, Depends(tags_of)]) -> TagOut:
    return await tags.by_name(name)


async def all_by_service(tags: Annotated[Tags, Depends(tags_of)]) -> list[TagOut]:
    return await tags.everything()


async def hidden(tag_id: int, db: Reader, request: Request) -> Any:
    return await request.app.state.elsewhere(db, tag_id)


async def at_import() -> TagOut:
    return await unused.fetch(TagOut, TAGS).one()


async def create(data: TagIn, tx: Writer) -> TagOut:
    tag = Tag(name=data.name)
    tx.add(tag)
    await tx.flush()
    return await tx.fetch(TagOut, TAGS.where(Tag.id == tag.id)).one()


async def create_numbered(number: int, data: TagIn, tx: Writer) -> TagOut:
    tag = Tag(id=number, name=data.name)
    tx.add(tag)
    await tx.flush()
    return await tx.fetch(TagOut, TAGS.where(Tag.id == tag.id)).one()


async def create_below(author_id: int, data: TagIn, tx: KeepingWriter) -> None:
    await AsyncRepository(Author, tx).one(author_id)
    tx.add(Tag(name=data.name))
    await tx.flush()


async def in_transaction(db: Reader) -> None:
    async with db.transaction() as tx:
        tx.add(Tag(name="one"))


async def in_unit(db: Reader) -> None:
    async with Work(db) as work:
        work.tags.add(Tag(name="one"))


async def change(tag_id: int, tx: Writer, match: IfMatch) -> None:
    match.check(await tx.get(Tag, tag_id))


async def change_freely(tag_id: int, tx: Writer, match: OptionalIfMatch) -> None:
    match.check(await tx.get(Tag, tag_id))


async def known(db: Reader, match: IfNoneMatch) -> TagOut:
    tag = await db.fetch(TagOut, TAGS).one()
    match.check(tag)
    return tag


async def put_new(tx: Writer, match: IfNoneMatch) -> None:
    match.check(await tx.get(Tag, 1))


async def raises() -> None:
    raise Conflict("Somebody was faster.")


async def nothing() -> int:
    return 1


STATUSES: list[tuple[str, str, Callable[..., Any], set[int]]] = [
    ("get", "/a", lists, {503}),
    ("get", "/a/{tag_id}", one, {404, 422, 503}),
    ("get", "/a", by_name, {404, 422, 503}),
    ("get", "/a", by_function, {404, 422, 503}),
    ("get", "/a/{tag_id}/tags", of_tag, {422, 503}),
    ("get", "/a", by_service, {404, 422, 503}),
    ("get", "/a", all_by_service, {503}),
    ("get", "/a/{tag_id}", hidden, {404, 422, 503}),
    ("get", "/a", at_import, {404, 503}),
    ("post", "/a", create, {409, 422, 503}),
    ("post", "/a/{number}", create_numbered, {409, 422, 503}),
    ("post", "/a/{author_id}", create_below, {404, 409, 422, 503}),
    ("post", "/a", in_transaction, {409, 422, 503}),
    ("post", "/a", in_unit, {409, 422, 503}),
    ("put", "/a/{tag_id}", change, {404, 409, 412, 422, 428, 503}),
    ("patch", "/a/{tag_id}", change_freely, {404, 409, 412, 422, 503}),
    ("get", "/a", known, {304, 404, 422, 503}),
    ("put", "/a", put_new, {409, 412, 422, 503}),
    ("get", "/a", raises, {409}),
    ("get", "/a", nothing, set()),
]


@pytest.mark.parametrize(
    ("method", "path", "endpoint", "statuses"), STATUSES, ids=lambda value: getattr(value, "__name__", "")
)
@pytest.mark.parametrize("nested", [False, True])
def test_statuses(method: str, path: str, endpoint: Callable[..., Any], statuses: set[int], nested: bool) -> None:  # noqa: FBT001
    app = FastAPI()
    install(app, unused)
    router = APIRouter()
    getattr(router if nested else app, method)(path)(endpoint)
    if nested:
        outer = APIRouter(prefix="/outer")
        outer.include_router(router, prefix="/inner")
        app.include_router(outer)
    operation = documented(app, f"/outer/inner{path}" if nested else path, method)
    body = {400} if "requestBody" in operation else set()
    assert {int(status) for status in operation["responses"]} - {200} == statuses | body
    for status in statuses - {304, 422}:
        response = operation["responses"][str(status)]
        assert response["content"] == {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
        }
    assert ("ProblemDetails" in app.openapi()["components"]["schemas"]) == bool(statuses - {304, 422})


def test_what_a_route_says_of_itself_stays() -> None:
    app = FastAPI()
    install(app, unused)
    own: dict[int | str, dict[str, Any]] = {
        404: {"description": "Gone."},
        503: {"model": TagOut},
        418: {"description": "A teapot."},
    }
    app.get("/a", responses=own)(by_name)
    responses = documented(app, "/a", "get")["responses"]
    assert responses["404"] == {"description": "Gone."}
    assert list(responses["503"]["content"]) == ["application/json"]
    assert responses["418"]["description"] == "A teapot."


def test_a_model_of_the_same_name_stays() -> None:
    class ProblemDetails(BaseModel):
        mine: int

    app = FastAPI()
    install(app, unused)
    app.get("/a")(lists)
    app.post("/b", response_model=ProblemDetails)(nothing)
    schemas = app.openapi()["components"]["schemas"]
    assert list(schemas["ProblemDetails"]["properties"]) == ["mine"]
    assert schemas["QuerywrightProblemDetails"]["required"] == ["type", "title", "status"]
    reference = documented(app, "/a", "get")["responses"]["503"]["content"]["application/problem+json"]["schema"]
    assert reference == {"$ref": "#/components/schemas/QuerywrightProblemDetails"}


def test_routes_that_are_added_later() -> None:
    app = FastAPI()
    install(app, unused)
    assert app.openapi() is app.openapi()
    app.get("/a")(lists)
    app.openapi_schema = None
    assert "503" in documented(app, "/a", "get")["responses"]


def parameters(endpoint: Callable[..., Any], route_class: Any = None) -> list[tuple[str, bool, dict[str, Any]]]:
    app = FastAPI()
    router = APIRouter(route_class=route_class) if route_class else APIRouter()
    router.put("/a/{tag_id}")(endpoint)
    app.include_router(router)
    found = documented(app, "/a/{tag_id}", "put").get("parameters", ())
    headers = [each for each in found if each["in"] == "header"]
    kept = ("type", "minLength", "maxLength", "anyOf", "items")
    return [
        (each["name"], each["required"], {key: each["schema"][key] for key in kept if key in each["schema"]})
        for each in headers
    ]


class Public(IdempotentRoute):
    caller = Depends(everybody)


class Required(Public):
    required = True


def test_headers_are_strings() -> None:
    assert parameters(change) == [("If-Match", True, {"type": "string"})]
    assert parameters(change_freely) == [("If-Match", False, {"type": "string"})]
    assert parameters(put_new) == [("If-None-Match", False, {"type": "string"})]
    key = {"type": "string", "minLength": 1, "maxLength": 255}
    assert parameters(create, Public) == [("Idempotency-Key", False, key)]
    assert parameters(create, Required) == [("Idempotency-Key", True, key)]


def test_a_reduced_shape_is_described() -> None:
    app = FastAPI()
    install(app, unused)

    @app.get("/sparse")
    async def sparse(db: Reader, fields: str | None = None) -> Json[list[AuthorOut]]:
        return Json(await db.fetch(AuthorOut, select(Author), fields=fields).json())

    @app.get("/page")
    async def page(db: Reader, fields: str | None = None) -> Json[Page[AuthorOut]]:
        return Json(await db.fetch(AuthorOut, select(Author), fields=fields).json_page(size=2))

    @app.get("/whole")
    async def whole(db: Reader) -> Json[list[AuthorOut]]:
        return Json(await db.fetch(AuthorOut, select(Author)).json())

    def schema(path: str) -> dict[str, Any]:
        found: dict[str, Any] = documented(app, path, "get")["responses"]["200"]["content"]["application/json"][
            "schema"
        ]
        return found

    schemas = app.openapi()["components"]["schemas"]
    assert schema("/whole")["items"] == {"$ref": "#/components/schemas/AuthorOut"}
    assert schemas["AuthorOut"]["required"]
    assert schema("/sparse")["items"] == {"$ref": "#/components/schemas/AuthorOutSparse"}
    reduced = [name for name in schemas if name.endswith("Sparse") and not name.startswith("Page")]
    assert len(reduced) > 1, "and of what is nested"
    assert not any("required" in schemas[name] for name in reduced)
    whole_page = schemas[schema("/page")["$ref"].rpartition("/")[2]]
    assert whole_page["required"] == ["items"]
    assert whole_page["properties"]["items"]["items"] == {"$ref": "#/components/schemas/AuthorOutSparse"}


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_the_status_of_a_route_holds_for_json(db: AsyncDatabase) -> None:
    app = FastAPI()
    install(app, db)

    async def empty(db: Reader) -> Json[list[TagOut]]:
        return Json(await db.fetch(TagOut, TAGS).json())

    async def accepted(db: Reader) -> Json[list[TagOut]]:
        return Json(await db.fetch(TagOut, TAGS).json(), status_code=202)

    async def plainly(db: Reader) -> Json[list[TagOut]]:
        return Json(await db.fetch(TagOut, TAGS).json(), status_code=200)

    router = APIRouter()
    router.get("/inner", status_code=203)(empty)
    app.include_router(router, prefix="/outer")
    app.get("/unsaid")(empty)
    app.post("/a", status_code=201)(empty)
    app.post("/b", status_code=201)(accepted)
    app.post("/c", status_code=201)(plainly)
    async with in_process(app) as client:
        assert (await client.get("/outer/inner")).status_code == 203
        assert (await client.get("/unsaid")).status_code == 200
        for path, status in (("/a", 201), ("/b", 202), ("/c", 200)):
            assert (await client.post(path)).status_code == status


def test_json_as_the_class_of_a_response() -> None:
    app = FastAPI()
    app.get("/a", response_class=Json)(nothing)
    assert list(documented(app, "/a", "get")["responses"]) == ["200"]


def test_one_database_for_each_application() -> None:
    app = FastAPI()
    install(app, unused)
    for db in (unused, AsyncDatabase("sqlite+aiosqlite:///other.db")):
        with pytest.raises(Exception, match="has a database already"):
            install(app, db)
    assert app.state.querywright is unused


class Status(enum.Enum):
    ON = "on"
    OFF = "off"


class SwitchOut(BaseModel):
    id: int
    status: Status
    others: list[Status]


def test_what_has_no_members_is_not_reduced() -> None:
    app = FastAPI()
    install(app, unused)

    @app.get("/sparse")
    async def sparse(db: Reader, fields: str | None = None) -> Json[list[SwitchOut]]:
        return Json(await db.fetch(SwitchOut, select(Author), fields=fields).json())

    schemas = app.openapi()["components"]["schemas"]
    assert [name for name in schemas if name.endswith("Sparse")] == ["SwitchOutSparse"]
    assert schemas["SwitchOutSparse"]["properties"]["status"] == {"$ref": "#/components/schemas/Status"}
