"""Requests per second over HTTP: what FastAPI's documentation teaches, and Querywright."""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.contenders import same
from benchmarks.data import WRITERS, fill
from benchmarks.measure import ms, server_cpu
from benchmarks.results import options, save, versions_line
from benchmarks.web.load import Load, drive
from benchmarks.web.server import Server, serve
from querywright import AsyncDatabase
from querywright.testing import EmbeddedPostgres

JOBS = {"nested": "/writers", "by_key": "/writers/{}"}
TITLES = {"nested": "50 x 20 x 5 nested", "by_key": "one row by key"}
SIDES = {"querywright": "Querywright", "plain": "SQLAlchemy + Pydantic"}
CONNECTIONS = 8
TURNS = 3
SECONDS = 4.0
Figures = dict[str, dict[str, float]]


def paths(side: str, job: str) -> Iterator[str]:
    """Ask for another row each time."""
    return (f"/{side}{JOBS[job]}".format(key) for key in itertools.cycle(range(1, WRITERS + 1)))


async def measure(job: str, application: Server, postgres: EmbeddedPostgres, scale: float) -> Figures:
    """Load both sides in turns, so that a slow moment of the machine hits both."""
    answers = [application.get(next(paths(side, job))) for side in SIDES]
    assert same(*answers), "the endpoints differ"  # noqa: S101 - compare like with like
    loads = {side: Load() for side in SIDES}
    cpu, queued = dict.fromkeys(SIDES, 0.0), dict.fromkeys(SIDES, 0.0)
    for _ in range(TURNS):
        for side, load in loads.items():
            await drive(application.port, paths(side, job), connections=CONNECTIONS, seconds=0.5 * scale)
            busy, waiting = application.cpu() + server_cpu(postgres), application.queued()
            load.add(await drive(application.port, paths(side, job), connections=CONNECTIONS, seconds=SECONDS * scale))
            cpu[side] += application.cpu() + server_cpu(postgres) - busy
            queued[side] += application.queued() - waiting
    return {SIDES[side]: _figures(load, cpu[side], queued[side]) for side, load in loads.items()}


def _figures(load: Load, cpu: float, queued: float) -> dict[str, float]:
    count = len(load.latencies)
    percentiles = statistics.quantiles(load.latencies, n=100, method="inclusive")
    return {
        "requests": count,
        "per_second": count / load.seconds,
        "p50": percentiles[49],
        "p99": percentiles[98],
        "cpu": cpu / count,
        "waited": queued / load.seconds,
        "client_share": load.client_cpu / load.seconds,
        "megabytes_per_second": load.body_bytes / load.seconds / 1e6,
    }


def show(title: str, figures: Figures) -> None:
    """Print a table; the ratio is of requests per second."""
    print(f"\nFastAPI over HTTP, {CONNECTIONS} connections: {title}")
    heads = ("requests/s", "ratio", "p50", "p99", "CPU/request", "app waited", "load client", "MB/s")
    print(f"  {'':24}{''.join(f'{head:>13}' for head in heads)}")
    slowest = min(one["per_second"] for one in figures.values())
    for name, one in figures.items():
        cells = (f"{one['per_second']:.1f}", f"{one['per_second'] / slowest:.2f}", ms(one["p50"]), ms(one["p99"]))
        cells += (ms(one["cpu"]), f"{one['waited']:.0%}", f"{one['client_share']:.0%}")
        cells += (f"{one['megabytes_per_second']:.1f}",)
        print(f"  {name:24}{''.join(f'{cell:>13}' for cell in cells)}")


async def run(scale: float) -> dict[str, Figures]:
    figures: dict[str, Figures] = {}
    with EmbeddedPostgres(shared_buffers="256MB") as postgres:
        url = postgres.url("asyncpg")
        async with AsyncDatabase(url) as db:
            await fill(db)
        with serve(url) as application:
            for job, title in TITLES.items():
                figures[job] = await measure(job, application, postgres, scale)
                show(title, figures[job])
    return figures


def main() -> None:
    arguments: Any = options("benchmarks.web", __doc__)
    print(versions_line())
    print("CPU per request of the application and of the database; the load client's share of one core;")
    print("app waited: the part of the time that the application waited for a core; much for /plain if others are busy")
    figures = asyncio.run(run(arguments.scale))
    if arguments.save:
        save("web", figures, arguments.scale)


if __name__ == "__main__":
    main()
