"""The application under load: /plain as FastAPI's documentation teaches, /querywright with bytes of the database."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import selectinload

from benchmarks.models import FlatOut, Text, Writer, WriterOut
from querywright import AsyncDatabase
from querywright.fastapi import Json, Reader, install, lifespan

URL = os.environ["BENCH_URL"]
POOL_SIZE = 10  # more than the connections of the load, so that no pool opens and closes any
engine = create_async_engine(URL, pool_size=POOL_SIZE)
sessions = async_sessionmaker(engine, expire_on_commit=False)
db = AsyncDatabase(URL, pool_size=POOL_SIZE)
app = FastAPI(lifespan=lifespan(db))
install(app, db)


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]


@app.get("/plain/writers", response_model=list[WriterOut])
async def plain_writers(session: Session, limit: int = 50) -> object:
    eager = selectinload(Writer.texts).selectinload(Text.remarks)
    return (await session.scalars(select(Writer).order_by(Writer.id).limit(limit).options(eager))).all()


@app.get("/plain/writers/{writer_id}", response_model=FlatOut)
async def plain_writer(writer_id: int, session: Session) -> object:
    writer = await session.get(Writer, writer_id)
    if writer is None:
        raise HTTPException(404)
    return writer


@app.get("/querywright/writers")
async def list_writers(db: Reader, limit: int = 50) -> Json[list[WriterOut]]:
    return Json(await db.fetch(WriterOut, select(Writer).order_by(Writer.id).limit(limit)).json())


@app.get("/querywright/writers/{writer_id}")
async def get_writer(writer_id: int, db: Reader) -> Json[FlatOut]:
    return Json(await db.fetch(FlatOut, select(Writer).where(Writer.id == writer_id)).json_one())
