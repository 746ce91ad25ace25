"""SQLAlchemy's ORM as its tutorial teaches it, and two repository libraries on top of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from fastcrud import FastCRUD
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.contenders.base import EAGER, FLAT, NESTED, Contender, Place, keys, many_flat, many_nested
from benchmarks.models import FlatOut, Remark, RemarkOut, Text, TextOut, Writer, WriterOut


@asynccontextmanager
async def _sessions(place: Place) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    engine = create_async_engine(place.url)
    yield async_sessionmaker(engine, expire_on_commit=False)
    await engine.dispose()


@asynccontextmanager
async def plain_sqlalchemy(place: Place) -> AsyncIterator[Contender]:
    ids = keys()
    async with _sessions(place) as sessions:

        async def nested() -> bytes:
            async with sessions() as session:
                rows = (await session.scalars(NESTED.options(EAGER))).all()
                return many_nested.dump_json(many_nested.validate_python(rows))

        async def flat() -> bytes:
            async with sessions() as session:
                return many_flat.dump_json(many_flat.validate_python((await session.scalars(FLAT)).all()))

        async def by_key() -> bytes:
            async with sessions() as session:
                return FlatOut.model_validate(await session.get(Writer, next(ids))).model_dump_json().encode()

        yield Contender("SQLAlchemy + Pydantic", nested, flat, by_key)


class WriterRepository(SQLAlchemyAsyncRepository[Writer]):  # type: ignore[type-var]
    model_type = Writer


@asynccontextmanager
async def advanced_alchemy(place: Place) -> AsyncIterator[Contender]:
    ids = keys()
    async with _sessions(place) as sessions:

        async def nested() -> bytes:
            async with sessions() as session:
                rows = await WriterRepository(session=session, statement=NESTED).get_many(load=[EAGER])
                return many_nested.dump_json(many_nested.validate_python(rows))

        async def flat() -> bytes:
            async with sessions() as session:
                rows = await WriterRepository(session=session, statement=FLAT).get_many()
                return many_flat.dump_json(many_flat.validate_python(rows))

        async def by_key() -> bytes:
            async with sessions() as session:
                row = await WriterRepository(session=session).get(next(ids))
                return FlatOut.model_validate(row).model_dump_json().encode()

        yield Contender("Advanced Alchemy + Pydantic", nested, flat, by_key)


writer_crud, text_crud, remark_crud = FastCRUD(Writer), FastCRUD(Text), FastCRUD(Remark)


class TextColumns(TextOut):
    writer_id: int


class RemarkColumns(RemarkOut):
    text_id: int


@asynccontextmanager
async def fastcrud(place: Place) -> AsyncIterator[Contender]:
    ids = keys()
    async with _sessions(place) as sessions:

        async def nested() -> bytes:
            async with sessions() as session:
                return many_nested.dump_json(many_nested.validate_python(await _fastcrud_nested(session)))

        async def flat() -> bytes:
            async with sessions() as session:
                found = await writer_crud.get_multi(
                    session, limit=None, schema_to_select=FlatOut, sort_columns="id", return_total_count=False
                )
                return many_flat.dump_json(many_flat.validate_python(found["data"]))

        async def by_key() -> bytes:
            async with sessions() as session:
                row: Any = await writer_crud.get(
                    session, schema_to_select=FlatOut, return_as_model=True, one_or_none=True, id=next(ids)
                )
                return row.model_dump_json().encode()  # type: ignore[no-any-return]

        yield Contender("FastCRUD + Pydantic", nested, flat, by_key)


async def _fastcrud_nested(session: AsyncSession) -> list[dict[str, Any]]:
    """Read level by level: its joins nest one level, and joining two of these three takes three times as long."""
    wanted: dict[str, Any] = {"limit": None, "sort_columns": "id", "return_total_count": False}
    found = await writer_crud.get_multi(session, schema_to_select=WriterOut, **{**wanted, "limit": 50})
    writers = {row["id"]: {**row, "texts": []} for row in found["data"]}
    found = await text_crud.get_multi(session, schema_to_select=TextColumns, **wanted, writer_id__in=list(writers))
    texts = {row["id"]: {**row, "remarks": []} for row in found["data"]}
    found = await remark_crud.get_multi(session, schema_to_select=RemarkColumns, **wanted, text_id__in=list(texts))
    for remark in found["data"]:
        texts[remark["text_id"]]["remarks"].append(remark)
    for row in texts.values():
        writers[row["writer_id"]]["texts"].append(row)
    return list(writers.values())
