"""Print one table: every contender at every job, side by side in one run."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.contenders import POSTGRES, SQLITE, Contender, Entry, Place, same
from benchmarks.data import fill
from benchmarks.measure import ms, take_turns
from benchmarks.results import options, save, versions_line, waited
from querywright import AsyncDatabase
from querywright.testing import EmbeddedPostgres

JOBS = {"nested": "50 x 20 x 5 nested", "flat": "1,000 flat rows", "by_key": "one row by key"}
ROUNDS = {"nested": 15, "flat": 60, "by_key": 60}
REPEATS = {"nested": 3, "flat": 3, "by_key": 40}
Figures = dict[str, dict[str, float]]  # of one job: by contender, then by what was measured


async def measure(job: str, entrants: list[Contender], server: EmbeddedPostgres | None, scale: float) -> Figures:
    """Let every contender do one job; that all do the same is checked first."""
    works = [getattr(entrant, job) for entrant in entrants]
    # The objects of so many libraries are no contender's own: its garbage collections shall not walk through them.
    gc.freeze()
    reference = await works[0]()
    for entrant, work in zip(entrants[1:], works[1:], strict=True):
        assert same(await work(), reference), f"{entrant.name} returns something else"  # noqa: S101 - compare like with like
    rounds = max(3, round(ROUNDS[job] * scale))
    samples = await take_turns(works, server, rounds=rounds, repeats=REPEATS[job])
    return {entrant.name: sample.medians() for entrant, sample in zip(entrants, samples, strict=True)}


def show(title: str, figures: Figures) -> None:
    """Print a table; the ratios are of wall time and of total CPU to the first contender's."""
    print(f"\n{title}")
    heads = ("median", "ratio", "client CPU", "server CPU", "total CPU", "ratio")
    print(f"  {'':34}{''.join(f'{head:>12}' for head in heads)}")
    first = next(iter(figures.values()))
    for name, one in figures.items():
        server = ms(one["server"]) if one["server"] else "-"
        cells = (ms(one["wall"]), f"{one['wall'] / first['wall']:.2f}", ms(one["client"]), server)
        cells += (ms(one["cpu"]), f"{one['cpu'] / first['cpu']:.2f}")
        print(f"  {name:34}{''.join(f'{cell:>12}' for cell in cells)}")


async def on_postgres(scale: float) -> dict[str, Figures]:
    with EmbeddedPostgres(shared_buffers="256MB") as server:
        async with AsyncDatabase(server.url("asyncpg")) as db:
            place = Place(db, server.url("asyncpg"))
            return await _run("PostgreSQL, asyncpg", place, POSTGRES, server, scale=scale)


async def on_sqlite(scale: float) -> dict[str, Figures]:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/bench.db"
        async with AsyncDatabase(url) as db:
            return await _run("SQLite, aiosqlite", Place(db, url), SQLITE, None, scale=scale)


async def _run(
    where: str, place: Place, entries: Sequence[Entry], server: EmbeddedPostgres | None, *, scale: float
) -> dict[str, Figures]:
    await fill(place.db)
    figures: dict[str, Figures] = {}
    async with AsyncExitStack() as stack:
        entrants = [await stack.enter_async_context(entry(place)) for entry in entries]
        for job, title in JOBS.items():
            figures[job] = await measure(job, entrants, server, scale)
            show(f"{where}: {title}", figures[job])
    return figures


def main() -> None:
    arguments: Any = options("benchmarks", __doc__)
    print(versions_line())
    print("median time of a call; CPU per call of this process and of the server's; ratios to the first line")
    figures = {
        "postgresql": asyncio.run(on_postgres(arguments.scale)),
        "sqlite": asyncio.run(on_sqlite(arguments.scale)),
    }
    print(f"\nThis process waited for a core during {waited():.0%} of its work; above 10%, trust CPU more than time.")
    if arguments.save:
        save("jobs", figures, arguments.scale)


if __name__ == "__main__":
    main()
