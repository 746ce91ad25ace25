"""What instances cost: ``fetch(...).all()``, and the ORM's objects validated by Pydantic, in turns."""

from __future__ import annotations

import asyncio
import gc
import statistics
from typing import Any

from sqlalchemy.ext.asyncio import async_sessionmaker

from benchmarks.contenders.base import EAGER, NESTED, many_nested
from benchmarks.data import fill
from benchmarks.measure import ms, take_turns
from benchmarks.models import WriterOut
from benchmarks.results import options
from querywright import AsyncDatabase
from querywright.testing import EmbeddedPostgres

ROUNDS = 30


async def measure(url: str, server: EmbeddedPostgres, scale: float) -> None:
    async with AsyncDatabase(url) as db:
        await fill(db)
        sessions = async_sessionmaker(db.engine, expire_on_commit=False)

        async def ours() -> Any:
            return await db.fetch(WriterOut, NESTED).all()

        async def by_orm() -> Any:
            async with sessions() as session:
                return many_nested.validate_python((await session.scalars(NESTED.options(EAGER))).all())

        assert await ours() == await by_orm()  # noqa: S101 - compare like with like
        gc.freeze()
        samples = await take_turns([ours, by_orm], server, rounds=max(3, round(ROUNDS * scale)), repeats=3)
    one, other = (statistics.median(sample.wall) for sample in samples)
    print(f"50 x 20 x 5 instances: .all() {ms(one)}, ORM + validate {ms(other)}: {other / one:.2f} times")


def main() -> None:
    arguments: Any = options("benchmarks.typed", __doc__)
    with EmbeddedPostgres(shared_buffers="256MB") as server:
        asyncio.run(measure(server.url("asyncpg"), server, arguments.scale))


if __name__ == "__main__":
    main()
