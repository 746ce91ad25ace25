"""Querywright, in the three ways its users write it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import bindparam, select

from benchmarks.contenders.base import FLAT, NESTED, Contender, Place, keys, many_flat, many_nested
from benchmarks.models import FlatOut, Writer, WriterOut
from querywright import prepare

nested_writers = prepare(WriterOut, NESTED)
flat_writers = prepare(FlatOut, FLAT)
writer_by_id = prepare(FlatOut, select(Writer).where(Writer.id == bindparam("id")))


@asynccontextmanager
async def querywright(place: Place) -> AsyncIterator[Contender]:
    db, ids = place.db, keys()

    async def nested() -> bytes:
        return await db.fetch(WriterOut, select(Writer).order_by(Writer.id).limit(50)).json()

    async def flat() -> bytes:
        return await db.fetch(FlatOut, select(Writer).order_by(Writer.id)).json()

    async def by_key() -> bytes:
        return await db.fetch(FlatOut, select(Writer).where(Writer.id == next(ids))).json_one()

    yield Contender("Querywright", nested, flat, by_key)


@asynccontextmanager
async def querywright_prepared(place: Place) -> AsyncIterator[Contender]:
    """Queries that a module declares once."""
    db, ids = place.db, keys()

    async def nested() -> bytes:
        return await nested_writers(db).json()

    async def flat() -> bytes:
        return await flat_writers(db).json()

    async def by_key() -> bytes:
        return await writer_by_id(db, id=next(ids)).json_one()

    yield Contender("Querywright, prepared", nested, flat, by_key)


@asynccontextmanager
async def querywright_typed(place: Place) -> AsyncIterator[Contender]:
    db, ids = place.db, keys()

    async def nested() -> bytes:
        return many_nested.dump_json(await db.fetch(WriterOut, NESTED).all())

    async def flat() -> bytes:
        return many_flat.dump_json(await db.fetch(FlatOut, FLAT).all())

    async def by_key() -> bytes:
        row = await db.fetch(FlatOut, select(Writer).where(Writer.id == next(ids))).one()
        return row.model_dump_json().encode()

    yield Contender("Querywright, typed", nested, flat, by_key)
