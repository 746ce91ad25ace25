"""What a path operation must not return, or give to a response: JSON in JSON, what nobody awaited, a fetch as it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from querywright import AsyncDatabase, ConfigurationError, JsonBytes
from querywright.fastapi import Json, JsonStream, Reader, etag, install
from querywright.fastapi.responses.etags import Match, NoneMatch
from tests.suite.models import Tag, TagOut
from tests.suite.support import add

pytestmark = pytest.mark.drivers("sqlite+aiosqlite")
WRITTEN = JsonBytes[Any](b'[{"name":"x"}]')
TAGS = select(Tag)


@pytest.fixture
async def app(db: AsyncDatabase) -> FastAPI:
    await add(db, Tag(name="x"))
    app = FastAPI()
    install(app, db)
    return app


@pytest.mark.parametrize(
    "annotated", [JsonBytes, JsonBytes[list[TagOut]], JsonBytes[TagOut] | None, dict[str, JsonBytes[TagOut]]]
)
def test_json_that_is_written_already_is_no_response_model(annotated: Any) -> None:
    app = FastAPI()

    def read() -> Any: ...

    read.__annotations__["return"] = annotated
    with pytest.raises(ConfigurationError, match="return Json"):
        app.get("/annotated")(read)
    with pytest.raises(ConfigurationError, match="return Json"):
        app.get("/model", response_model=annotated)(lambda: None)


async def written(db: Reader):  # type: ignore[no-untyped-def]  # noqa: ANN201 - that nothing is annotated is the point
    return await db.fetch(TagOut, TAGS).json()


async def within(db: Reader):  # type: ignore[no-untyped-def]  # noqa: ANN201 - as above
    return {"tags": [await db.fetch(TagOut, TAGS).json()]}


def in_a_thread():  # type: ignore[no-untyped-def]  # noqa: ANN201 - as above
    return WRITTEN


async def not_awaited(db: Reader):  # type: ignore[no-untyped-def]  # noqa: ANN201 - as above
    return db.fetch(TagOut, TAGS).all()


async def without_a_verb(db: Reader):  # type: ignore[no-untyped-def]  # noqa: ANN201 - as above
    return db.fetch(TagOut, TAGS)


async def given(db: Reader) -> Json[list[TagOut]]:
    return Json(db.fetch(TagOut, TAGS).json())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


RETURNED: dict[Callable[..., Any], str] = {
    written: "Return Json(...) of it",
    within: "Return Json(...) of it",
    in_a_thread: "Return Json(...) of it",
    not_awaited: "AsyncFetch.all() was not awaited: there is a coroutine where its result belongs. Await it",
    without_a_verb: "Call one, such as await fetch(...).json()",
    given: "AsyncFetch.json() was not awaited: there is a coroutine where its result belongs. Await it",
}


@pytest.mark.parametrize("returned", RETURNED)
async def test_what_is_no_response_says_what_to_write(
    app: FastAPI, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, returned: Callable[..., Any]
) -> None:
    options: dict[str, Any] = {} if returned is given else {"response_model": None}
    app.get("/returned", **options)(returned)
    response = await client.get("/returned")
    [report] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert (response.status_code, RETURNED[returned] in report) == (500, True), report


@pytest.mark.parametrize(
    "content", [None, {"a": 1}, [], TagOut(name="x"), 5], ids=lambda content: type(content).__name__
)
def test_json_takes_nothing_else(content: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"was given {type(content).__name__}"):
        Json(content)


@pytest.mark.parametrize("pieces", [WRITTEN, "[]", None, [b"[]"]], ids=lambda pieces: type(pieces).__name__)
def test_a_stream_takes_pieces(pieces: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"was given {type(pieces).__name__}"):
        JsonStream(pieces)


async def row() -> Any:
    return SimpleNamespace(version=3)


TAKERS: list[Callable[[Any], Any]] = [
    etag,
    JsonStream,
    *(Match(tags).check for tags in ((), ("*",))),
    *(NoneMatch(tags, reads=True).check for tags in ((), ("*",))),
]


@pytest.mark.parametrize("take", TAKERS)
async def test_what_takes_a_result_says_that_it_was_not_awaited(take: Callable[[Any], Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"row\(\) was not awaited: .* Await it: await row\(\.\.\.\)\."):
        take(row())
    assert etag(await row()) == '"3"'
