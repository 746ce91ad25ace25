"""SQLModel: its own table models on the same tables, and its own response models."""

# No deferred annotations: SQLModel resolves a Relationship by the annotation itself.
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import selectinload
from sqlmodel import Field, Relationship, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from benchmarks.contenders.base import Contender, Place, keys
from querywright import UTCDateTime


class WriterRow(SQLModel, table=True):
    __tablename__ = "bench_writers"

    id: int = Field(primary_key=True)
    name: str
    email: str
    active: bool
    created_at: dt.datetime = Field(sa_type=UTCDateTime)
    texts: list["TextRow"] = Relationship(sa_relationship_kwargs={"order_by": "TextRow.id"})


class TextRow(SQLModel, table=True):
    __tablename__ = "bench_texts"

    id: int = Field(primary_key=True)
    writer_id: int = Field(foreign_key="bench_writers.id")
    title: str
    body: str
    created_at: dt.datetime = Field(sa_type=UTCDateTime)
    remarks: list["RemarkRow"] = Relationship(sa_relationship_kwargs={"order_by": "RemarkRow.id"})


class RemarkRow(SQLModel, table=True):
    __tablename__ = "bench_remarks"

    id: int = Field(primary_key=True)
    text_id: int = Field(foreign_key="bench_texts.id")
    words: str
    created_at: dt.datetime = Field(sa_type=UTCDateTime)


class RemarkRead(SQLModel):
    id: int
    words: str
    created_at: dt.datetime


class TextRead(SQLModel):
    id: int
    title: str
    created_at: dt.datetime
    remarks: list[RemarkRead]


class WriterRead(SQLModel):
    id: int
    name: str
    email: str
    created_at: dt.datetime
    texts: list[TextRead]


class FlatRead(SQLModel):
    id: int
    name: str
    email: str
    active: bool
    created_at: dt.datetime


many_nested, many_flat = TypeAdapter(list[WriterRead]), TypeAdapter(list[FlatRead])
FLAT = select(WriterRow).order_by(col(WriterRow.id))
NESTED = FLAT.limit(50).options(selectinload(WriterRow.texts).selectinload(TextRow.remarks))


@asynccontextmanager
async def sqlmodel(place: Place) -> AsyncIterator[Contender]:
    engine = create_async_engine(place.url)
    ids = keys()

    async def nested() -> bytes:
        async with AsyncSession(engine) as session:
            rows = (await session.exec(NESTED)).all()
            return many_nested.dump_json(many_nested.validate_python(rows, from_attributes=True))

    async def flat() -> bytes:
        async with AsyncSession(engine) as session:
            rows = (await session.exec(FLAT)).all()
            return many_flat.dump_json(many_flat.validate_python(rows, from_attributes=True))

    async def by_key() -> bytes:
        async with AsyncSession(engine) as session:
            return FlatRead.model_validate(await session.get(WriterRow, next(ids))).model_dump_json().encode()

    yield Contender("SQLModel", nested, flat, by_key)
    await engine.dispose()
