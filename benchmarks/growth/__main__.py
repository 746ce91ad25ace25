"""How the time grows with depth, with rows and over a network: Querywright, and SQLAlchemy's ORM + Pydantic."""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

import asyncpg
from sqlalchemy import make_url, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from benchmarks.growth.models import MANY, OUT, Level1, eager, fill
from benchmarks.growth.proxy import Proxy, proxy
from benchmarks.measure import ms, take_turns
from benchmarks.results import options, save, versions_line, waited
from querywright import AsyncDatabase
from querywright.testing import EmbeddedPostgres

DEPTHS = (1, 2, 3, 4, 5)
WIDTHS = (1, 3, 10, 30, 100, 300, 1_000)
DEPTH_OF_WIDTHS = 3
ROOTS_OF_DEPTHS = 10
ROUND_TRIP_DEPTH = 4
ONE_WAY = 0.001
NAMES = ("Querywright", "SQLAlchemy + Pydantic")
Work = Callable[[], Awaitable[bytes]]
Figures = dict[str, dict[str, dict[str, float]]]  # by depth or width, then by contender, then by what was measured


@dataclass(frozen=True)
class Sides:
    """Both contenders on one address of the database."""

    db: AsyncDatabase
    engine: AsyncEngine

    @classmethod
    def at(cls, url: str) -> Sides:
        return cls(AsyncDatabase(url), create_async_engine(url))

    async def close(self) -> None:
        await self.db.dispose()
        await self.engine.dispose()

    def works(self, depth: int, roots: int) -> tuple[Work, Work]:
        async def ours() -> bytes:
            return await self.db.fetch(OUT[depth], select(Level1).order_by(Level1.id).limit(roots)).json()

        async def theirs() -> bytes:
            statement = select(Level1).order_by(Level1.id).limit(roots).options(*eager(depth))
            async with AsyncSession(self.engine) as session:
                rows = (await session.scalars(statement)).all()
                return MANY[depth].dump_json(MANY[depth].validate_python(rows))  # type: ignore[no-any-return]

        return ours, theirs


async def measure(sides: Sides, depth: int, roots: int, scale: float) -> dict[str, dict[str, float]]:
    works = sides.works(depth, roots)
    first, second = [json.loads(await work()) for work in works]
    assert first == second, "the contenders differ"  # noqa: S101 - compare like with like
    started = time.perf_counter()
    await works[1]()
    # As many rounds as fit into a second or so.
    rounds = max(3, min(40, round(0.5 * scale / (time.perf_counter() - started))))
    samples = await take_turns(works, None, rounds=rounds, repeats=1)
    return {
        name: {"wall": statistics.median(sample.wall), "client": statistics.median(sample.client)}
        for name, sample in zip(NAMES, samples, strict=True)
    }


async def grow(sides: Sides, title: str, steps: list[tuple[int, int, int]], scale: float) -> Figures:
    """Measure step by step, each a label, a depth and a number of root rows."""
    figures: Figures = {}
    print(f"\n{title}")
    print(f"  {'':>8}{NAMES[0]:>14}{NAMES[1]:>24}{'ratio':>8}")
    for label, depth, roots in steps:
        one = figures[str(label)] = await measure(sides, depth, roots, scale)
        ours, theirs = (one[name]["wall"] for name in NAMES)
        print(f"  {label:>8,}{ms(ours):>14}{ms(theirs):>24}{theirs / ours:>8.1f}")
    return figures


async def count(sides: Sides, network: Proxy) -> dict[str, dict[str, int]]:
    """Count what one fetch of four levels sends, once both sides are warm."""
    figures = {}
    print(f"\nOne fetch of {ROUND_TRIP_DEPTH} levels")
    for name, work in zip(NAMES, sides.works(ROUND_TRIP_DEPTH, ROOTS_OF_DEPTHS), strict=True):
        for _ in range(3):
            await work()
        before = network.counts()
        await work()
        counts = network.counts() - before
        figures[name] = asdict(counts)
        words = f"{counts.statements} SELECT, {counts.commands} BEGIN or ROLLBACK, {counts.round_trips} round trips"
        print(f"  {name:24}{words}")
    return figures


async def round_trip(port: int) -> float:
    """Measure what the simulated network costs a statement that does nothing."""
    connection = await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres")
    times = []
    for _ in range(50):
        started = time.perf_counter()
        await connection.fetchval("SELECT 1")
        times.append(time.perf_counter() - started)
    await connection.close()
    return statistics.median(times)


async def run(scale: float) -> dict[str, Any]:
    depths = [(depth, depth, ROOTS_OF_DEPTHS) for depth in DEPTHS]
    widths = [(roots, DEPTH_OF_WIDTHS, roots) for roots in WIDTHS]
    figures: dict[str, Any] = {}
    with EmbeddedPostgres(shared_buffers="256MB") as server, proxy(server.port, ONE_WAY) as network:
        near = Sides.at(server.url("asyncpg"))
        far = Sides.at(make_url(near.db.engine.url).set(port=network.port).render_as_string(hide_password=False))
        await fill(near.db)
        gc.freeze()
        figures["depth"] = await grow(near, f"Levels, {ROOTS_OF_DEPTHS} root rows, 3 below each row", depths, scale)
        figures["width"] = await grow(near, f"Root rows, {DEPTH_OF_WIDTHS} levels, 3 below each row", widths, scale)
        figures["round_trip"] = {"near": await round_trip(server.port), "far": await round_trip(network.port)}
        far_away = f"1 ms away: a statement takes {ms(figures['round_trip']['far'])}"
        figures["depth_far"] = await grow(far, f"Levels, {ROOTS_OF_DEPTHS} root rows, {far_away}", depths, scale)
        figures["width_far"] = await grow(far, f"Root rows, {DEPTH_OF_WIDTHS} levels, {far_away}", widths, scale)
        figures["counts"] = await count(far, network)
        await near.close()
        await far.close()
    return figures


def main() -> None:
    arguments: Any = options("benchmarks.growth", __doc__)
    print(versions_line())
    figures = asyncio.run(run(arguments.scale))
    print(f"\nThis process waited for a core during {waited():.0%} of its work; above 10%, trust CPU more than time.")
    if arguments.save:
        save("growth", figures, arguments.scale)


if __name__ == "__main__":
    main()
