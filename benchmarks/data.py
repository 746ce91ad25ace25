"""Fill the tables: 1,000 writers, 20 texts each, 5 remarks each."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import insert, text

from benchmarks.models import Remark, Text, Writer
from querywright import AsyncDatabase, Base

WRITERS, TEXTS, REMARKS = 1_000, 20, 5
START = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
TABLES = [Base.metadata.tables[cls.__tablename__] for cls in (Writer, Text, Remark)]


def _when(number: int) -> dt.datetime:
    return START + dt.timedelta(seconds=number, microseconds=number * 7919 % 1_000_000)


def _rows() -> list[list[dict[str, Any]]]:
    writers = [
        {
            "id": n,
            "name": f"Writer {n}",
            "email": f"writer{n}@example.com",
            "active": n % 7 != 0,
            "created_at": _when(n),
        }
        for n in range(1, WRITERS + 1)
    ]
    texts = [
        {
            "id": n,
            "writer_id": (n - 1) // TEXTS + 1,
            "title": f"On the number {n}",
            "body": "word " * 40,
            "created_at": _when(n),
        }
        for n in range(1, WRITERS * TEXTS + 1)
    ]
    remarks = [
        {"id": n, "text_id": (n - 1) // REMARKS + 1, "words": f'I liked "{n}" best', "created_at": _when(n)}
        for n in range(1, WRITERS * TEXTS * REMARKS + 1)
    ]
    return [writers, texts, remarks]


async def fill(db: AsyncDatabase) -> None:
    """Create the tables anew and fill them."""
    async with db.engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all, tables=TABLES)
        await connection.run_sync(Base.metadata.create_all, tables=TABLES)
        for table, rows in zip(TABLES, _rows(), strict=True):
            await connection.execute(insert(table), rows)
    async with db.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE" if db.engine.dialect.name == "postgresql" else "ANALYZE"))
