"""The errors of a route are described as they are sent: the one format of a 422, and what a route raises itself."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi import status as statuses_of_fastapi
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException

from querywright import AsyncDatabase, Conflict, InvalidRequest
from querywright.fastapi import (
    Reader,
    Writer,
    install,
)
from tests.fastapi.documents import documented, unused
from tests.faults.web import in_process
from tests.suite.models import Tag


class TagIn(BaseModel):
    name: str


async def create(data: TagIn, tx: Writer) -> None:
    tx.add(Tag(name=data.name))


def refusing(*, validation_problems: bool = False) -> FastAPI:
    app = FastAPI()
    install(app, unused, validation_problems=validation_problems)

    @app.get("/checked")
    async def checked(size: Annotated[int, Query(le=10)], db: Reader) -> int:
        raise InvalidRequest("It does not fit.", hint="Try another.")

    @app.post("/written")
    async def written(tx: Writer) -> int:
        return 1

    return app


async def test_every_422_has_the_format_of_fastapi() -> None:
    app = refusing()
    async with in_process(app) as client:
        answers = [await client.get("/checked", params={"size": size}) for size in (1, 99)]
    for answer, kind in zip(answers, ("invalid_request", "less_than_equal"), strict=True):
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/json")
        [refusal] = answer.json()["detail"]
        assert refusal["type"] == kind
        assert refusal.keys() >= {"loc", "msg", "type", "input"}
    assert answers[0].json()["detail"][0]["msg"] == "It does not fit. Try another."
    for path, method in (("/checked", "get"), ("/written", "post")):
        content = documented(app, path, method)["responses"]["422"]["content"]
        assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}}
    assert {"HTTPValidationError", "ValidationError"} <= app.openapi()["components"]["schemas"].keys()


async def test_every_422_has_problem_details_by_one_option() -> None:
    app = refusing(validation_problems=True)
    app.post("/body")(create)
    app.get("/plain")(lambda number: number)
    async with in_process(app) as client:
        ours, theirs = [await client.get("/checked", params={"size": size}) for size in (1, 99)]
        broken = await client.post("/body", content=b"{", headers={"content-type": "application/json"})
    assert ours.json() == {
        "type": "about:blank",
        "title": ours.json()["title"],
        "status": 422,
        "detail": "It does not fit. Try another.",
        "errors": [{"loc": ["request"], "msg": "It does not fit. Try another.", "type": "invalid_request"}],
    }
    assert theirs.json()["detail"] == "query.size: Input should be less than or equal to 10"
    assert theirs.json()["errors"][0]["loc"] == ["query", "size"]
    for answer in (ours, theirs, broken):
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    for path, method in (("/checked", "get"), ("/written", "post"), ("/plain", "get")):
        content = documented(app, path, method)["responses"]["422"]["content"]
        schema = {"$ref": "#/components/schemas/ValidationProblemDetails"}
        assert content == {"application/problem+json": {"schema": schema}}
    assert not {"HTTPValidationError", "ValidationError"} & app.openapi()["components"]["schemas"].keys()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("asynchronous", [True, False])
async def test_an_application_keeps_its_own_format(first: bool, asynchronous: bool) -> None:  # noqa: FBT001
    def own(_request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"wrong": [each["msg"] for each in error.errors()]}, 422)

    async def own_async(request: Request, error: RequestValidationError) -> JSONResponse:
        return own(request, error)

    app = FastAPI()
    if first:
        app.add_exception_handler(RequestValidationError, own_async if asynchronous else own)  # type: ignore[arg-type]
    install(app, unused)
    if not first:
        app.add_exception_handler(RequestValidationError, own_async if asynchronous else own)  # type: ignore[arg-type]

    @app.post("/a")
    async def refused(tx: Writer) -> None:
        raise InvalidRequest("It does not fit.")

    async with in_process(app) as client:
        answer = await client.post("/a")
    assert (answer.status_code, answer.json()) == (422, {"wrong": ["It does not fit."]})
    assert "content" not in documented(app, "/a", "post")["responses"]["422"]


def require_owner(owner: str) -> None:
    if owner == "nobody":
        raise HTTPException(status_code=statuses_of_fastapi.HTTP_403_FORBIDDEN, detail={"owner": owner})


async def raising(kind: int, tx: Writer, _owner: Annotated[None, Depends(require_owner)]) -> None:
    if kind > 450:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY if kind == 500 else 409, "Said by the route.")
    if kind == 409:
        raise Conflict("Said by Querywright.")
    raise InvalidRequest("Said by Querywright.")


def fits(schema: dict[str, Any], value: Any, schemas: dict[str, Any]) -> bool:
    """Compare a body with a schema, as far as those of errors go."""
    if "$ref" in schema:
        return fits(schemas[schema["$ref"].rpartition("/")[2]], value, schemas)
    if "anyOf" in schema:
        return any(fits(each, value, schemas) for each in schema["anyOf"])
    kinds = {"object": dict, "array": list, "string": str, "integer": int}
    if not isinstance(value, kinds.get(schema.get("type", ""), object)):
        return False
    if not isinstance(value, dict):
        return True
    members = {name: each for name, each in schema.get("properties", {}).items() if name in value}
    whole = set(schema.get("required", ())) <= set(value)
    return whole and all(fits(each, value[name], schemas) for name, each in members.items())


@pytest.mark.drivers("sqlite+aiosqlite")
@pytest.mark.parametrize("problems", [False, True])
async def test_what_a_route_raises_itself_is_described_as_it_is_sent(db: AsyncDatabase, *, problems: bool) -> None:
    app = FastAPI()
    install(app, db, validation_problems=problems)
    app.post("/raising")(raising)
    app.post("/described", responses={409: {"description": "Mine."}, 403: {"description": "Mine."}})(raising)
    described = documented(app, "/raising", "post")["responses"]
    assert sorted(described) == ["200", "403", "409", "422", "503"]
    mine = documented(app, "/described", "post")["responses"]
    assert mine["409"] == mine["403"] == {"description": "Mine."}
    schemas = app.openapi()["components"]["schemas"]
    async with in_process(app) as client:
        for kind, owner in ((409, "ann"), (451, "ann"), (422, "ann"), (500, "ann"), (0, "nobody"), ("x", "ann")):
            answer = await client.post("/raising", params={"kind": kind, "owner": owner})
            content = described[str(int(answer.status_code))]["content"][answer.headers["content-type"]]
            assert fits(content["schema"], answer.json(), schemas), (kind, answer.text)


def test_a_handler_of_its_own_answers_what_a_route_raises() -> None:
    app = FastAPI()
    install(app, unused)
    app.post("/raising")(raising)

    @app.exception_handler(StarletteHTTPException)
    async def handle(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(str(error), 400)

    assert sorted(documented(app, "/raising", "post")["responses"]) == ["200", "409", "422", "503"]
    assert list(documented(app, "/raising", "post")["responses"]["409"]["content"]) == ["application/problem+json"]
