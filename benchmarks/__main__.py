"""Print one table: every contender at every job, side by side in one run."""

from __future__ import annotations

import argparse
import asyncio
import gc
import platform
import statistics
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import contenders as c
from benchmarks.data import fill
from querywright import AsyncDatabase
from querywright.testing import EmbeddedPostgres

JOBS = {"nested": "50 x 20 x 5 nested", "flat": "1,000 flat rows", "by_key": "one row by key"}
ROUNDS = {"nested": 15, "flat": 60, "by_key": 60}
REPEATS = {"nested": 3, "flat": 3, "by_key": 40}


@dataclass
class Sample:
    """What one contender needed for one job, per call."""

    wall: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)


async def measure(job: str, entrants: list[c.Contender], server: EmbeddedPostgres | None, scale: float) -> list[Sample]:
    """Let the contenders take turns, so that a slow moment of the machine hits them all."""
    works = [getattr(entrant, job) for entrant in entrants]
    reference = await works[0]()
    if job != "by_key":
        for entrant, work in zip(entrants, works, strict=True):
            assert c.same(await work(), reference), f"{entrant.name} returns something else"  # noqa: S101 - compare like with like
    samples = [Sample() for _ in works]
    repeats = REPEATS[job]
    for _ in range(max(3, round(ROUNDS[job] * scale))):
        for work, sample in zip(works, samples, strict=True):
            gc.collect()
            # Not counted: the contender before has left the processor's caches to its own data.
            await work()
            busy, cpu = _server_cpu(server), time.process_time()
            for _ in range(repeats):
                started = time.perf_counter()
                await work()
                sample.wall.append(time.perf_counter() - started)
            sample.client.append((time.process_time() - cpu) / repeats)
            sample.server.append((_server_cpu(server) - busy) / repeats)
    return samples


def _server_cpu(server: EmbeddedPostgres | None) -> float:
    """Add up the seconds that the server's processes have run (Linux only)."""
    if server is None:
        return 0.0
    total = 0
    for children in Path(f"/proc/{server.pid}/task").glob("*/children"):
        for pid in children.read_text().split():
            with suppress(OSError):  # the process may have just ended
                total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    return total / 1e9


def show(title: str, names: list[str], samples: list[Sample]) -> None:
    """Print a table; ratios are to the first contender."""
    print(f"\n{title}")
    print(f"  {'':34}{'median':>10}{'ratio':>8}{'client CPU':>12}{'server CPU':>12}")
    base = statistics.median(samples[0].wall)
    for name, sample in zip(names, samples, strict=True):
        wall, client, server = (statistics.median(values) for values in (sample.wall, sample.client, sample.server))
        cpu = f"{_ms(client):>12}{_ms(server) if any(sample.server) else '-':>12}"
        print(f"  {name:34}{_ms(wall):>10}{wall / base:>8.2f}{cpu}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3f} ms" if seconds < 0.01 else f"{seconds * 1000:.1f} ms"  # noqa: PLR2004


async def on_postgres(scale: float) -> None:
    with EmbeddedPostgres(shared_buffers="256MB") as server:
        async with AsyncDatabase(server.url("asyncpg")) as db:
            await fill(db)
            plain, engine = c.plain_sqlalchemy(server.url("asyncpg"))
            alchemy, other_engine = c.advanced_alchemy(server.url("asyncpg"))
            dsn = f"postgresql://postgres@127.0.0.1:{server.port}/postgres"
            by_hand, connection = await c.asyncpg_json(dsn)
            rows, pool = await c.asyncpg_rows(dsn)
            entrants = [
                c.querywright(db),
                c.querywright_once(db),
                c.querywright_typed(db),
                plain,
                alchemy,
                by_hand,
                rows,
            ]
            await _run("PostgreSQL, asyncpg", entrants, server, scale)
            await engine.dispose()
            await other_engine.dispose()
            await connection.close()
            await pool.close()


async def on_sqlite(scale: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/bench.db"
        url = f"sqlite+aiosqlite:///{path}"
        async with AsyncDatabase(url) as db:
            await fill(db)
            plain, engine = c.plain_sqlalchemy(url)
            alchemy, other_engine = c.advanced_alchemy(url)
            by_hand, connection = c.sqlite_json(path)
            entrants = [c.querywright(db), c.querywright_once(db), c.querywright_typed(db), plain, alchemy, by_hand]
            await _run("SQLite, aiosqlite", entrants, None, scale)
            await engine.dispose()
            await other_engine.dispose()
            connection.close()


async def _run(where: str, entrants: list[c.Contender], server: EmbeddedPostgres | None, scale: float) -> None:
    names = [entrant.name for entrant in entrants]
    for job, title in JOBS.items():
        show(f"{where}: {title}", names, await measure(job, entrants, server, scale))


def _versions() -> str:
    packages = ("sqlalchemy", "pydantic", "asyncpg", "aiosqlite", "orjson", "advanced-alchemy")
    return " ".join((f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer rounds")
    arguments: Any = parser.parse_args()
    print(_versions())
    print("median time of a call; ratio to the first line; CPU per call of this process and of the server's")
    asyncio.run(on_postgres(arguments.scale))
    asyncio.run(on_sqlite(arguments.scale))


if __name__ == "__main__":
    main()
