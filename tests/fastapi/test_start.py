"""What is wrong with a declared query ends the start of an application, before any request and without a database."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from pydantic import BaseModel
from sqlalchemy import JSON, MetaData, Numeric, bindparam, func, select, type_coerce
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, query_expression, with_expression

from querywright import AsyncDatabase, ConfigurationError, Database, IdempotencyKeys, ShapeError, prepare
from querywright.fastapi import IdempotentRoute, Reader, SyncWriter, Writer, everybody, install, lifespan
from querywright.fastapi.dependencies import READERS
from tests.suite.models import Author, NameOut

URLS = (
    "sqlite+aiosqlite:///never-opened.db",
    "sqlite+pysqlite:///never-opened.db",
    "postgresql+asyncpg://nobody@127.0.0.1:1/none",
    "postgresql+psycopg://nobody@127.0.0.1:1/none",
    "mariadb+aiomysql://nobody@127.0.0.1:1/none",
    "mysql+pymysql://nobody@127.0.0.1:1/none",
)


class Late(DeclarativeBase):
    pass


class Parcel(Late):
    __tablename__ = "parcels"

    id: Mapped[int] = mapped_column(primary_key=True)
    weight: Mapped[Decimal] = mapped_column(Numeric(9, 2))
    total: Mapped[Decimal | None] = query_expression()


class TotalOut(BaseModel):
    total: Decimal | None


class ParcelOut(BaseModel):
    id: int


async def start(url: str) -> None:
    db = AsyncDatabase(url) if "aio" in url or "asyncpg" in url else Database(url)
    app = FastAPI(lifespan=lifespan(db))
    async with app.router.lifespan_context(app):
        pass


@pytest.mark.parametrize("address", URLS)
async def test_all_that_do_not_fit_are_named(address: str) -> None:
    documents = select(Parcel).options(with_expression(Parcel.total, type_coerce(Parcel.id, JSON)))
    only_postgresql = select(Parcel).where(Parcel.id == func.any(array([1, 2])))
    queries = [prepare(TotalOut, documents), prepare(ParcelOut, only_postgresql)]
    with pytest.raises(ShapeError) as caught:
        await start(address)
    assert "TotalOut.total: its with_expression()" in str(caught.value)
    assert ("ParcelOut: " in str(caught.value)) == (not address.startswith("postgresql"))
    del queries
    await start(address)


@pytest.mark.parametrize("address", URLS)
async def test_what_fits_starts(address: str) -> None:
    query = prepare(NameOut, select(Author).where(Author.id == bindparam("id")))
    await start(address)
    assert query is not None


@pytest.mark.parametrize("given", ["sqlite+aiosqlite:///a.db", FastAPI(), None])
def test_what_is_no_database_is_not_installed(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="is given an AsyncDatabase or a Database, not"):
        install(FastAPI(), given)


ASYNC, SYNC = "sqlite+aiosqlite:///never-opened.db", "sqlite+pysqlite:///never-opened.db"
metadata = MetaData()
keys = IdempotencyKeys(metadata)


class PublicRoute(IdempotentRoute):
    caller = Depends(everybody)


def keyed(app: FastAPI) -> None:
    router = APIRouter(route_class=PublicRoute)

    @router.post("/needs")
    async def write(tx: Writer) -> None: ...

    app.include_router(router)


def service(db: Reader) -> None: ...


def asynchronous(app: FastAPI) -> None:
    @app.get("/needs")
    async def read(given: Annotated[None, Depends(service)]) -> None: ...


def synchronous(app: FastAPI) -> None:
    @app.websocket("/needs")
    async def read(socket: WebSocket, tx: SyncWriter) -> None: ...


NO_TABLE = "The application has no table of idempotency keys."
OTHER_KIND = "The application's database is {}, this dependency needs {}."


@pytest.mark.parametrize(
    ("address", "add", "problem"),
    [
        (ASYNC, keyed, NO_TABLE),
        (SYNC, asynchronous, OTHER_KIND.format("Database", "AsyncDatabase")),
        (ASYNC, synchronous, OTHER_KIND.format("AsyncDatabase", "Database")),
    ],
)
@pytest.mark.parametrize("mounted", [False, True])
async def test_what_is_not_installed_ends_the_start(
    address: str, add: Callable[[FastAPI], None], problem: str, *, mounted: bool
) -> None:
    db = AsyncDatabase(address) if address == ASYNC else Database(address)
    app = FastAPI(lifespan=lifespan(db))
    inner = FastAPI() if mounted else app
    if mounted:
        app.mount("/inner", inner)
        install(app, db, idempotency=keys)
    install(inner, db)
    add(inner)
    with pytest.raises(ConfigurationError) as caught:
        async with app.router.lifespan_context(app):
            pass
    assert str(caught.value).startswith(f"/needs: {problem} ")


async def test_an_application_without_a_database_does_not_start() -> None:
    app = FastAPI(lifespan=lifespan(AsyncDatabase(ASYNC)))
    asynchronous(app)
    with pytest.raises(ConfigurationError, match=r"^/needs: The application has no database\. Call install\(app, db\)"):
        async with app.router.lifespan_context(app):
            pass


@pytest.mark.parametrize("way", ["installed", "overridden"])
async def test_what_is_installed_starts(way: str) -> None:
    db = AsyncDatabase(ASYNC)
    app = FastAPI(lifespan=lifespan(db))
    if way == "installed":
        install(app, db, idempotency=keys)
        keyed(app)
    else:
        app.dependency_overrides[READERS[0]] = lambda: None
    asynchronous(app)
    async with app.router.lifespan_context(app):
        pass
