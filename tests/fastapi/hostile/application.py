"""An application that hands what it is given to its database: by each way in, through each kind of statement."""

# No future annotations: those of the routes are made here.

from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, FastAPI, Header, Query
from fastapi.responses import JSONResponse
from pydantic_core import to_json
from sqlalchemy import insert, select
from typing_extensions import override

from querywright import AsyncDatabase, AsyncRepository, Database, Page, Repository, fetch
from querywright.fastapi import (
    IdempotentRoute,
    IfMatch,
    Json,
    Reader,
    SyncReader,
    SyncWriter,
    Writer,
    everybody,
    install,
)
from tests.fastapi.hostile.models import FIELDS, Found, Sample, SampleIn, SampleOut, keys
from tests.suite.support import AnyDatabase, resolve

__all__ = ["application"]

ORDERED = select(Sample).order_by(Sample.id)


class Written(JSONResponse):
    """A response as Pydantic writes it; FastAPI's own had no JSON for infinity until it left that to Pydantic."""

    @override
    def render(self, content: Any) -> bytes:
        return to_json(content)


def application(db: AnyDatabase) -> FastAPI:
    """Make the application of a database of either kind."""
    app = FastAPI(default_response_class=Written)
    install(app, db, idempotency=keys)
    reader, writer = (Reader, Writer) if isinstance(db, AsyncDatabase) else (SyncReader, SyncWriter)
    depends = get_args(reader)[1], get_args(writer)[1]
    _write(app, depends[1])
    _read(app, *depends)
    _choose(app, *depends)
    for name, kind in FIELDS.items():
        _look(app, name, kind, *depends)
    return app


class _PublicRoute(IdempotentRoute):
    caller = Depends(everybody)


def _write(app: FastAPI, writer: Any) -> None:
    router = APIRouter(route_class=_PublicRoute)

    async def create(sent: SampleIn, tx: Any = writer) -> SampleOut:
        row = Sample(**sent.model_dump(exclude_unset=True))
        tx.add(row)
        await tx.flush()
        written: SampleOut = await tx.fetch(SampleOut, select(Sample).where(Sample.id == row.id)).one()
        return written

    def create_in_thread(sent: SampleIn, tx: Any = writer) -> SampleOut:
        row = Sample(**sent.model_dump(exclude_unset=True))
        tx.add(row)
        tx.flush()
        written: SampleOut = tx.fetch(SampleOut, select(Sample).where(Sample.id == row.id)).one()
        return written

    is_sync = isinstance(app.state.querywright, Database)
    router.post("/rows", status_code=201)(create_in_thread if is_sync else create)

    @app.post("/bulk", status_code=201)
    async def bulk(sent: list[SampleIn], tx: Any = writer) -> int:
        await resolve(tx.execute(insert(Sample), [row.model_dump(exclude_unset=True) for row in sent]))
        return len(sent)

    @app.patch("/rows/{row_id}")
    async def change(row_id: int, sent: SampleIn, match: IfMatch, tx: Any = writer) -> None:
        row = await resolve(tx.get_one(Sample, row_id))
        match.check(row)
        for name, value in sent.model_dump(exclude_unset=True).items():
            setattr(row, name, value)

    app.include_router(router)


def _read(app: FastAPI, reader: Any, writer: Any) -> None:
    repository: Any = Repository if isinstance(app.state.querywright, Database) else AsyncRepository

    @app.get("/get_one/{row_id}")
    async def get_one(row_id: int, tx: Any = writer) -> SampleOut:
        return SampleOut.model_validate(await resolve(tx.get_one(Sample, row_id)))

    @app.get("/scalar/{row_id}")
    async def scalar(row_id: int, tx: Any = writer) -> SampleOut:
        return SampleOut.model_validate((await resolve(tx.scalars(select(Sample).where(Sample.id == row_id)))).one())

    @app.get("/repository/{row_id}")
    async def by_repository(row_id: int, tx: Any = writer) -> SampleOut:
        return SampleOut.model_validate(await resolve(repository(Sample, tx).one(row_id)))

    @app.get("/fetch/{row_id}")
    async def fetch_one(row_id: int, db: Any = reader) -> SampleOut:
        return await resolve(db.fetch(SampleOut, select(Sample).where(Sample.id == row_id)).one())

    @app.post("/several")
    async def several(ids: list[int], db: Any = reader) -> Json[list[SampleOut]]:
        return Json(await resolve(db.fetch(SampleOut, select(Sample).where(Sample.id.in_(ids))).json()))

    @app.get("/objects")
    async def objects(tx: Any = writer) -> list[SampleOut]:
        return [SampleOut.model_validate(row) for row in (await resolve(tx.scalars(ORDERED))).all()]

    @app.get("/bytes")
    async def as_bytes(db: Any = reader) -> Json[list[SampleOut]]:
        return Json(await resolve(db.fetch(SampleOut, ORDERED).json()))

    @app.get("/pages")
    async def pages(
        after: str | None = None, before: str | None = None, size: int = 2, number: int | None = None, db: Any = reader
    ) -> Json[Page[SampleOut]]:
        fetched = db.fetch(SampleOut, ORDERED)
        return Json(await resolve(fetched.json_page(size=size, after=after, before=before, number=number)))

    @app.get("/sparse")
    async def sparse(fields: Annotated[list[str], Query()], db: Any = reader) -> Json[list[SampleOut]]:
        return Json(await resolve(fetch(db, SampleOut, ORDERED, fields=fields).json()))


def _choose(app: FastAPI, reader: Any, writer: Any) -> None:
    """Let a client choose how many rows, by which key of a document, and by which pattern."""

    @app.get("/limited")
    async def limited(limit: int, offset: int = 0, db: Any = reader) -> Json[list[SampleOut]]:
        return Json(await resolve(db.fetch(SampleOut, ORDERED.limit(limit).offset(offset)).json()))

    @app.get("/limited_objects")
    async def limited_objects(limit: int, offset: int = 0, tx: Any = writer) -> list[SampleOut]:
        found = await resolve(tx.scalars(ORDERED.limit(limit).offset(offset)))
        return [SampleOut.model_validate(row) for row in found.all()]

    @app.get("/documents/{key:path}")
    async def documents(key: str, db: Any = reader) -> Json[list[Found]]:
        having = select(Sample).where(Sample.data[key].as_string() == "1", Sample.document["a", key].as_string() == "1")
        return Json(await resolve(db.fetch(Found, having).json()))

    @app.get("/matching")
    async def matching(pattern: str, tx: Any = writer) -> list[Found]:
        found = await resolve(tx.scalars(select(Sample).where(Sample.name.regexp_match(pattern))))
        return [Found(id=row.id) for row in found.all()]


def _look(app: FastAPI, name: str, kind: Any, reader: Any, writer: Any) -> None:
    """Compare a column with a value from the path, the query or a header."""
    column = getattr(Sample, name)

    @app.get(f"/path/{name}/{{value:path}}")
    async def by_path(value: kind, db: Any = reader) -> Json[list[Found]]:  # pyright: ignore[reportInvalidTypeForm] - made here
        return Json(await resolve(db.fetch(Found, select(Sample).where(column == value)).json()))

    @app.get(f"/query/{name}")
    async def by_query(value: kind, tx: Any = writer) -> list[Found]:  # pyright: ignore[reportInvalidTypeForm]
        found = await resolve(tx.scalars(select(Sample).where(column == value)))
        return [Found(id=row.id) for row in found.all()]

    @app.get(f"/header/{name}")
    async def by_header(value: Annotated[kind, Header()], tx: Any = writer) -> Json[list[Found]]:  # pyright: ignore[reportInvalidTypeForm]
        return Json(await resolve(tx.fetch(Found, select(Sample).where(column == value)).json()))
