"""Piccolo: its own tables and select queries; nested rows are read level by level and put together here.

Its documentation gives a query for each foreign key and a join for each parent, but none that nests child rows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from piccolo.columns import Boolean, ForeignKey, Serial, Timestamptz, Varchar
from piccolo.columns import Text as TextColumn
from piccolo.engine.postgres import PostgresEngine
from piccolo.table import Table

from benchmarks.contenders.base import Contender, Place, keys, many_flat, many_nested
from benchmarks.models import FlatOut


class WriterRow(Table, tablename="bench_writers"):
    id = Serial(primary_key=True)
    name = Varchar(length=100)
    email = Varchar(length=200)
    active = Boolean()
    created_at = Timestamptz()


class TextRow(Table, tablename="bench_texts"):
    id = Serial(primary_key=True)
    writer_id = ForeignKey(WriterRow, db_column_name="writer_id")
    title = Varchar(length=200)
    body = TextColumn()
    created_at = Timestamptz()


class RemarkRow(Table, tablename="bench_remarks"):
    id = Serial(primary_key=True)
    text_id = ForeignKey(TextRow, db_column_name="text_id")
    words = TextColumn()
    created_at = Timestamptz()


FLAT = (WriterRow.id, WriterRow.name, WriterRow.email, WriterRow.active, WriterRow.created_at)


@asynccontextmanager
async def piccolo(place: Place) -> AsyncIterator[Contender]:
    engine = PostgresEngine({"dsn": place.dsn}, extensions=())
    for table in (WriterRow, TextRow, RemarkRow):
        table._meta.db = engine  # noqa: SLF001 - what its documentation does for an engine made at run time
    await engine.start_connection_pool(min_size=1, max_size=5)
    ids = keys()

    async def nested() -> bytes:
        return many_nested.dump_json(many_nested.validate_python(await _nested()))

    async def flat() -> bytes:
        rows = await WriterRow.select(*FLAT).order_by(WriterRow.id)
        return many_flat.dump_json(many_flat.validate_python(rows))

    async def by_key() -> bytes:
        row = await WriterRow.select(*FLAT).where(WriterRow.id == next(ids)).first()
        return FlatOut.model_validate(row).model_dump_json().encode()

    yield Contender("Piccolo + Pydantic", nested, flat, by_key)
    await engine.close_connection_pool()


async def _nested() -> list[dict[str, Any]]:
    rows = await WriterRow.select().order_by(WriterRow.id).limit(50)
    writers = {row["id"]: {**row, "texts": []} for row in rows}
    columns = (TextRow.id, TextRow.writer_id, TextRow.title, TextRow.created_at)
    rows = await TextRow.select(*columns).where(TextRow.writer_id.is_in(list(writers))).order_by(TextRow.id)
    texts = {row["id"]: {**row, "remarks": []} for row in rows}
    for remark in await RemarkRow.select().where(RemarkRow.text_id.is_in(list(texts))).order_by(RemarkRow.id):
        texts[remark["text_id"]]["remarks"].append(remark)
    for row in texts.values():
        writers[row["writer_id"]]["texts"].append(row)
    return list(writers.values())
