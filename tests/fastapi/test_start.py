"""What is wrong with a declared query ends the start of an application, before any request and without a database."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import JSON, Numeric, bindparam, func, select, type_coerce
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, query_expression, with_expression

from querywright import AsyncDatabase, ConfigurationError, Database, ShapeError, prepare
from querywright.fastapi import install, lifespan
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
