"""What one would write by hand, without any of the libraries."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson

from benchmarks.contenders.base import Contender, Place, keys

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


@asynccontextmanager
async def asyncpg_json(place: Place) -> AsyncIterator[Contender]:
    """One hand-written JSON statement each, on one connection without a pool."""
    connection = await asyncpg.connect(place.dsn)
    ids = keys()

    async def nested() -> bytes:
        return (await connection.fetchval(PG_NESTED_JSON)).encode()  # type: ignore[no-any-return]

    async def flat() -> bytes:
        return (await connection.fetchval(PG_FLAT_JSON)).encode()  # type: ignore[no-any-return]

    async def by_key() -> bytes:
        return (await connection.fetchval(PG_KEY_JSON, next(ids))).encode()  # type: ignore[no-any-return]

    yield Contender("asyncpg connection, JSON by hand", nested, flat, by_key)
    await connection.close()


@asynccontextmanager
async def asyncpg_rows(place: Place) -> AsyncIterator[Contender]:
    """Rows by hand, assembled in Python and written by orjson, on asyncpg's own pool."""
    pool = await asyncpg.create_pool(place.dsn, min_size=1, max_size=5)
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

    yield Contender("asyncpg pool, rows + orjson", nested, flat, by_key)
    await pool.close()


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


@asynccontextmanager
async def sqlite_json(place: Place) -> AsyncIterator[Contender]:
    """One hand-written JSON statement each, on one connection in a thread."""
    connection = sqlite3.connect(place.path, check_same_thread=False)
    ids = keys()

    def run(sql: str, *parameters: int) -> bytes:
        return str(connection.execute(sql, parameters).fetchone()[0]).encode()

    async def nested() -> bytes:
        return await asyncio.to_thread(run, LITE_NESTED_JSON)

    async def flat() -> bytes:
        return await asyncio.to_thread(run, LITE_FLAT_JSON)

    async def by_key() -> bytes:
        return await asyncio.to_thread(run, LITE_KEY_JSON, next(ids))

    yield Contender("sqlite3 in a thread, JSON by hand", nested, flat, by_key)
    connection.close()
