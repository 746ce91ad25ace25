"""What a transaction costs around one INSERT: ours, and SQLAlchemy's own, in turns."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.measure import Work, ms, take_turns
from querywright import AsyncDatabase
from querywright.testing import EmbeddedPostgres


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


async def _ours(db: AsyncDatabase) -> None:
    async with db.transaction() as tx:
        tx.add(Note(text="one"))


def _plain(db: AsyncDatabase) -> Work:
    maker = async_sessionmaker(db.engine, expire_on_commit=False)

    async def work() -> None:
        async with maker.begin() as session:
            session.add(Note(text="one"))

    return work


async def _measure(url: str, server: EmbeddedPostgres | None, scale: float) -> None:
    async with AsyncDatabase(url) as db:
        async with db.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        works = [partial(_ours, db), _plain(db)]
        ours, plain = await take_turns(works, server, rounds=max(2, round(100 * scale)), repeats=20)
    name = url.partition(":")[0]
    one, other = (statistics.median(sample.wall) for sample in (ours, plain))
    cpu = statistics.median(ours.client) / statistics.median(plain.client)
    print(
        f"{name:20} transaction() {ms(one)}, async_sessionmaker.begin() {ms(other)}: {one / other:.3f}, CPU {cpu:.3f}"
    )


@contextmanager
def _postgres() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(fsync="off") as server:
        yield server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="how long to measure; 1 is about a minute")
    scale = parser.parse_args().scale
    with _postgres() as server:
        for driver in ("asyncpg", "psycopg"):
            asyncio.run(_measure(server.url(driver), server, scale))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure(f"sqlite+aiosqlite:///{Path(folder)}/notes.db", None, scale))


if __name__ == "__main__":
    main()
