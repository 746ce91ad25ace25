"""Any size: the memory that a stream of a million rows takes, and page 10,000 against page 1."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Index, String, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Mapped, mapped_column

from benchmarks.measure import ms, take_turns
from benchmarks.models import Out
from benchmarks.results import options, save, versions_line
from querywright import AsyncDatabase, Base
from querywright.testing import EmbeddedPostgres

ROWS = 1_000_000
WARM_ROWS = 100  # so few that no buffer has grown before it is measured
PAGE, PAGE_SIZE = 10_000, 20
ROUNDS = 40
KEY = b'"email":'  # one in each row
BATCH = 1_000  # rows that the ORM's stream validates and writes at once


class Row(Base):
    __tablename__ = "bench_rows"
    __table_args__ = (Index("ix_bench_rows_order", "created_at", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[dt.datetime]


class RowOut(Out):
    id: int
    name: str
    email: str
    created_at: dt.datetime


many = TypeAdapter(list[RowOut])
IN_ORDER = select(Row).order_by(Row.created_at, Row.id)
TABLE = Base.metadata.tables[Row.__tablename__]


async def fill(db: AsyncDatabase) -> None:
    """Create the table anew with its million rows; three rows share each timestamp."""
    async with db.engine.begin() as connection:
        await connection.run_sync(TABLE.drop, checkfirst=True)
        await connection.run_sync(TABLE.create)
        await connection.execute(
            text(
                "INSERT INTO bench_rows (id, name, email, created_at) SELECT n, 'Row ' || n, "
                "'row' || n || '@example.com', timestamptz '2026-01-01 00:00Z' + interval '1 second' * (n / 3) "
                "FROM generate_series(1, :rows) AS n"
            ),
            {"rows": ROWS},
        )
    async with db.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE bench_rows"))


async def stream_json(url: str, rows: int) -> AsyncIterator[bytes]:
    async with AsyncDatabase(url) as db:
        fetch: Any = db.fetch(RowOut, IN_ORDER.limit(rows))
        async for chunk in fetch.stream_json():
            yield chunk


async def json_at_once(url: str, rows: int) -> AsyncIterator[bytes]:
    async with AsyncDatabase(url) as db:
        yield await db.fetch(RowOut, IN_ORDER.limit(rows)).json()


async def orm_stream(url: str, rows: int) -> AsyncIterator[bytes]:
    """Write what SQLAlchemy streams as one JSON array, as a StreamingResponse would."""
    engine = create_async_engine(url)
    separator = b"["
    async with AsyncSession(engine) as session:
        result = await session.stream_scalars(IN_ORDER.limit(rows), execution_options={"yield_per": BATCH})
        async for batch in result.partitions():
            yield separator + many.dump_json(many.validate_python(batch))[1:-1]
            separator = b","
    yield b"]"
    await engine.dispose()


STREAMS: dict[str, tuple[str, Callable[[str, int], AsyncIterator[bytes]]]] = {
    "stream_json": ("Querywright, stream_json()", stream_json),
    "json": ("Querywright, json()", json_at_once),
    "orm": ("SQLAlchemy stream + Pydantic", orm_stream),
}


async def stream_once(kind: str, url: str) -> dict[str, float]:
    """Stream every row in this process, which is fresh, and measure by how much its memory grows."""
    stream = STREAMS[kind][1]
    async for _ in stream(url, WARM_ROWS):
        pass
    _forget_peak()
    before, started = _memory("VmRSS"), time.perf_counter()
    rows = size = largest = 0
    tail = b""
    async for chunk in stream(url, ROWS):
        rows += chunk.count(KEY) + (tail + chunk[: len(KEY) - 1]).count(KEY)  # a chunk may end anywhere
        tail = (tail + chunk[1 - len(KEY) :])[1 - len(KEY) :]
        size += len(chunk)
        largest = max(largest, len(chunk))
    seconds = time.perf_counter() - started
    assert rows == ROWS, f"{rows} rows instead of {ROWS}"  # noqa: S101 - a part of the rows would need less memory
    return {
        "seconds": seconds,
        "megabytes": size / 1e6,
        "largest_chunk": largest / 1e6,
        "extra_memory": (_memory("VmHWM") - before) / 1e6,
    }


def _forget_peak() -> None:
    """Let VmHWM start again, proc_pid_clear_refs(5)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _memory(name: str) -> int:
    """Read a field of this process's memory, in bytes (Linux only)."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None, "proc_pid_status(5)"  # noqa: S101
    return int(found[1]) * 1024


async def streams(url: str) -> dict[str, dict[str, float]]:
    """Measure each stream in a process of its own."""
    figures = {}
    print(f"\n{ROWS:,} rows as JSON\n  {'':32}{'time':>10}{'bytes':>10}{'largest chunk':>16}{'extra memory':>16}")
    for kind, (name, _) in STREAMS.items():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.sizes", kind, url, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"the stream {kind} failed")
        one = figures[name] = json.loads(output)
        sizes = f"{one['megabytes']:>7.1f} MB{one['largest_chunk']:>13.2f} MB{one['extra_memory']:>13.1f} MB"
        print(f"  {name:32}{one['seconds']:>8.2f} s{sizes}")
    return figures


async def pages(db: AsyncDatabase, engine: AsyncEngine, server: EmbeddedPostgres, scale: float) -> dict[str, Any]:
    """Compare a page far away with the first, by cursor and by OFFSET."""
    cursor = await _walk(db)

    # The total is left out: to count a million rows takes the same time on every page, and would hide all else.
    async def ours(after: Any) -> Any:
        return (await db.fetch(RowOut, IN_ORDER).page(size=PAGE_SIZE, after=after, total=False)).items

    async def theirs(page: int) -> Any:
        async with AsyncSession(engine) as session:
            rows = await session.scalars(IN_ORDER.offset((page - 1) * PAGE_SIZE).limit(PAGE_SIZE))
            return many.validate_python(rows.all())

    works: list[Callable[[], Awaitable[Any]]] = [
        lambda: ours(None),
        lambda: ours(cursor),
        lambda: theirs(1),
        lambda: theirs(PAGE),
    ]
    results = [await work() for work in works]
    assert results[:2] == results[2:], "cursor and OFFSET find other rows"  # noqa: S101 - compare like with like
    samples = await take_turns(works, server, rounds=max(3, round(ROUNDS * scale)), repeats=5)
    medians = [statistics.median(sample.wall) for sample in samples]
    figures: dict[str, Any] = {}
    print(f"\nPages of {PAGE_SIZE} rows\n  {'':32}{'page 1':>12}{f'page {PAGE:,}':>14}{'ratio':>8}")
    for name, (first, far) in {"Querywright, page()": medians[:2], "SQLAlchemy, OFFSET": medians[2:]}.items():
        figures[name] = {"first": first, "far": far, "ratio": far / first}
        print(f"  {name:32}{ms(first):>12}{ms(far):>14}{far / first:>8.2f}")
    return figures


async def _walk(db: AsyncDatabase) -> Any:
    """Turn the pages as a client would; return the cursor of the page to measure."""
    cursor = None
    for _ in range(PAGE - 1):
        cursor = (await db.fetch(RowOut, IN_ORDER).page(size=PAGE_SIZE, after=cursor, total=False)).next
    return cursor


async def run(scale: float) -> dict[str, Any]:
    with EmbeddedPostgres(shared_buffers="512MB") as server:
        url = server.url("asyncpg")
        async with AsyncDatabase(url) as db:
            await fill(db)
            engine = create_async_engine(url)
            figures = {"streams": await streams(url), "pages": await pages(db, engine, server, scale)}
            await engine.dispose()
    return figures


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] in STREAMS:  # noqa: PLR2004 - the process that streams() starts
        print(json.dumps(asyncio.run(stream_once(*sys.argv[1:]))))
        return
    arguments: Any = options("benchmarks.sizes", __doc__)
    print(versions_line())
    figures = asyncio.run(run(arguments.scale))
    if arguments.save:
        save("sizes", figures, arguments.scale)


if __name__ == "__main__":
    main()
