"""What is compared: Querywright, and what its users would write instead. Each returns JSON bytes."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from pydantic import TypeAdapter
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import selectinload

from benchmarks.data import WRITERS
from benchmarks.models import FlatOut, Text, Writer, WriterOut
from querywright import AsyncDatabase

Work = Callable[[], Awaitable[bytes]]
NESTED = select(Writer).order_by(Writer.id).limit(50)
FLAT = select(Writer).order_by(Writer.id)
EAGER = selectinload(Writer.texts).selectinload(Text.remarks)
many_nested, many_flat = TypeAdapter(list[WriterOut]), TypeAdapter(list[FlatOut])


@dataclass(frozen=True)
class Contender:
    """One way to do the three jobs."""

    name: str
    nested: Work
    flat: Work
    by_key: Work


def keys() -> Iterator[int]:
    """Ask for another row each time."""
    return itertools.cycle(range(1, WRITERS + 1))


def querywright(db: AsyncDatabase) -> Contender:
    ids = keys()

    async def nested() -> bytes:
        return await db.fetch(WriterOut, select(Writer).order_by(Writer.id).limit(50)).json()

    async def flat() -> bytes:
        return await db.fetch(FlatOut, select(Writer).order_by(Writer.id)).json()

    async def by_key() -> bytes:
        return await db.fetch(FlatOut, select(Writer).where(Writer.id == next(ids))).json_one()

    return Contender("Querywright", nested, flat, by_key)


BY_KEY = select(Writer).where(Writer.id == bindparam("id"))


def querywright_once(db: AsyncDatabase) -> Contender:
    """Statements that were built once, as a module would."""
    ids = keys()

    async def nested() -> bytes:
        return await db.fetch(WriterOut, NESTED).json()

    async def flat() -> bytes:
        return await db.fetch(FlatOut, FLAT).json()

    async def by_key() -> bytes:
        return await db.fetch(FlatOut, BY_KEY, {"id": next(ids)}).json_one()

    return Contender("Querywright, statement built once", nested, flat, by_key)


def querywright_typed(db: AsyncDatabase) -> Contender:
    ids = keys()

    async def nested() -> bytes:
        return many_nested.dump_json(await db.fetch(WriterOut, NESTED).all())

    async def flat() -> bytes:
        return many_flat.dump_json(await db.fetch(FlatOut, FLAT).all())

    async def by_key() -> bytes:
        row = await db.fetch(FlatOut, select(Writer).where(Writer.id == next(ids))).one()
        return row.model_dump_json().encode()

    return Contender("Querywright, typed", nested, flat, by_key)


def plain_sqlalchemy(url: str) -> tuple[Contender, AsyncEngine]:
    engine = create_async_engine(url)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    ids = keys()

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

    return Contender("SQLAlchemy + Pydantic", nested, flat, by_key), engine


class WriterRepository(SQLAlchemyAsyncRepository[Writer]):  # type: ignore[type-var]
    model_type = Writer


def advanced_alchemy(url: str) -> tuple[Contender, AsyncEngine]:
    engine = create_async_engine(url)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    ids = keys()

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

    return Contender("Advanced Alchemy + Pydantic", nested, flat, by_key), engine


FLAT_COLUMNS = "id, name, email, active, created_at"
PG_NESTED_JSON = """
SELECT coalesce(json_agg(row_to_json(w)), '[]')::text FROM (
  SELECT w.id, w.name, w.email, w.created_at, t.texts
  FROM (SELECT id, name, email, created_at FROM bench_writers ORDER BY id LIMIT 50) w
  LEFT JOIN LATERAL (
    SELECT coalesce(json_agg(row_to_json(t)), '[]') AS texts FROM (
      SELECT t.id, t.title, t.created_at, r.remarks FROM bench_texts t
      LEFT JOIN LATERAL (
        SELECT coalesce(json_agg(row_to_json(r)), '[]') AS remarks FROM (
          SELECT r.id, r.words, r.created_at FROM bench_remarks r WHERE r.text_id = t.id ORDER BY r.id
        ) r
      ) r ON true
      WHERE t.writer_id = w.id ORDER BY t.id
    ) t
  ) t ON true
) w"""
PG_FLAT_JSON = f"SELECT json_agg(row_to_json(w))::text FROM (SELECT {FLAT_COLUMNS} FROM bench_writers ORDER BY id) w"  # noqa: S608 - constants
PG_KEY_JSON = f"SELECT row_to_json(w)::text FROM (SELECT {FLAT_COLUMNS} FROM bench_writers WHERE id = $1) w"  # noqa: S608 - constants


async def asyncpg_json(url: str) -> tuple[Contender, Any]:
    """One hand-written JSON statement each, on one connection without a pool."""
    connection = await asyncpg.connect(url)
    ids = keys()

    async def nested() -> bytes:
        return (await connection.fetchval(PG_NESTED_JSON)).encode()  # type: ignore[no-any-return]

    async def flat() -> bytes:
        return (await connection.fetchval(PG_FLAT_JSON)).encode()  # type: ignore[no-any-return]

    async def by_key() -> bytes:
        return (await connection.fetchval(PG_KEY_JSON, next(ids))).encode()  # type: ignore[no-any-return]

    return Contender("asyncpg connection, JSON by hand", nested, flat, by_key), connection


async def asyncpg_rows(url: str) -> tuple[Contender, Any]:
    """Rows by hand, assembled in Python and written by orjson, on asyncpg's own pool."""
    pool = await asyncpg.create_pool(url, min_size=1, max_size=5)
    ids = keys()

    async def nested() -> bytes:
        async with pool.acquire() as connection:
            return await _assemble(connection)

    async def flat() -> bytes:
        async with pool.acquire() as connection:
            rows = await connection.fetch(f"SELECT {FLAT_COLUMNS} FROM bench_writers ORDER BY id")  # noqa: S608 - constants
        return orjson.dumps([dict(row) for row in rows])

    async def by_key() -> bytes:
        async with pool.acquire() as connection:
            row = await connection.fetchrow(f"SELECT {FLAT_COLUMNS} FROM bench_writers WHERE id = $1", next(ids))  # noqa: S608 - constants
        return orjson.dumps(dict(row))

    return Contender("asyncpg pool, rows + orjson", nested, flat, by_key), pool


async def _assemble(connection: Any) -> bytes:
    writers = await connection.fetch("SELECT id, name, email, created_at FROM bench_writers ORDER BY id LIMIT 50")
    texts = await connection.fetch(
        "SELECT id, writer_id, title, created_at FROM bench_texts WHERE writer_id = ANY($1) ORDER BY id",
        [row["id"] for row in writers],
    )
    remarks = await connection.fetch(
        "SELECT id, text_id, words, created_at FROM bench_remarks WHERE text_id = ANY($1) ORDER BY id",
        [row["id"] for row in texts],
    )
    by_text: dict[int, list[Any]] = {row["id"]: [] for row in texts}
    for row in remarks:
        by_text[row["text_id"]].append({"id": row["id"], "words": row["words"], "created_at": row["created_at"]})
    by_writer: dict[int, list[Any]] = {row["id"]: [] for row in writers}
    for row in texts:
        by_writer[row["writer_id"]].append(
            {"id": row["id"], "title": row["title"], "created_at": row["created_at"], "remarks": by_text[row["id"]]}
        )
    return orjson.dumps([{**dict(row), "texts": by_writer[row["id"]]} for row in writers])


LITE_UTC = "replace(created_at, ' ', 'T') || 'Z'"
LITE_NESTED_JSON = f"""
SELECT json_group_array(json_object('id', id, 'name', name, 'email', email, 'created_at', {LITE_UTC}, 'texts', json((
  SELECT json_group_array(json_object('id', id, 'title', title, 'created_at', {LITE_UTC}, 'remarks', json((
    SELECT json_group_array(json_object('id', id, 'words', words, 'created_at', {LITE_UTC}))
    FROM (SELECT * FROM bench_remarks r WHERE r.text_id = t.id ORDER BY r.id)
  )))) FROM (SELECT * FROM bench_texts t WHERE t.writer_id = w.id ORDER BY t.id) t
)))) FROM (SELECT * FROM bench_writers ORDER BY id LIMIT 50) w"""  # noqa: S608 - constants
LITE_FLAT = f"""json_object('id', id, 'name', name, 'email', email,
  'active', json(CASE WHEN active THEN 'true' ELSE 'false' END), 'created_at', {LITE_UTC})"""
LITE_FLAT_JSON = f"SELECT json_group_array({LITE_FLAT}) FROM (SELECT * FROM bench_writers ORDER BY id)"  # noqa: S608 - constants
LITE_KEY_JSON = f"SELECT {LITE_FLAT} FROM bench_writers WHERE id = ?"  # noqa: S608 - constants


def sqlite_json(path: str) -> tuple[Contender, Any]:
    """One hand-written JSON statement each, on one connection in a thread."""
    connection = sqlite3.connect(path, check_same_thread=False)
    ids = keys()

    def run(sql: str, *parameters: int) -> bytes:
        return str(connection.execute(sql, parameters).fetchone()[0]).encode()

    async def nested() -> bytes:
        return await asyncio.to_thread(run, LITE_NESTED_JSON)

    async def flat() -> bytes:
        return await asyncio.to_thread(run, LITE_FLAT_JSON)

    async def by_key() -> bytes:
        return await asyncio.to_thread(run, LITE_KEY_JSON, next(ids))

    return Contender("sqlite3 in a thread, JSON by hand", nested, flat, by_key), connection


def same(one: bytes, other: bytes) -> bool:
    """Say whether two results mean the same; the notation of a timestamp may differ."""
    return bool(_moments_parsed(one) == _moments_parsed(other))


def _moments_parsed(text: bytes) -> Any:
    rows = json.loads(text)
    adapter = many_nested if isinstance(rows, list) and "texts" in rows[0] else many_flat
    return adapter.validate_python(rows if isinstance(rows, list) else [rows])
