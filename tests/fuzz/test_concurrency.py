"""One plan, used from many tasks or threads at once: each gets what it would get alone."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Select, bindparam, select

from querywright import AsyncDatabase, Database, fetch
from tests.fuzz.databases import forget_plans
from tests.suite.models import Author, AuthorOut, Book
from tests.suite.support import AnyDatabase, add, by_orm

TASKS, THREADS, ROUNDS = 64, 16, 5
KEYS = range(1, 9)


async def fill(db: AnyDatabase) -> dict[int, list[Any]]:
    """Write authors with books; give what the ORM and Pydantic make of each."""
    for key in KEYS:
        await add(db, Author(id=key, name=f"{key}'\u2028", mentor_id=key - 1 if key > 1 else None, deleted=False))
    await add(
        db, *(Book(id=key * 10 + n, author_id=key, title=f'"{n}"', pages=n) for key in KEYS for n in range(1, key))
    )
    return {key: await by_orm(db, AuthorOut, of(key)) for key in KEYS}


def of(key: int) -> Select[Any]:
    """Select one author: the same structure each time, with another value."""
    return select(Author).where(Author.id == key)


@pytest.mark.drivers("sqlite+aiosqlite", "postgresql+asyncpg")
async def test_tasks_share_a_plan(db: AsyncDatabase) -> None:
    expected = await fill(db)
    forget_plans()  # so that all of them find it missing

    async def work(number: int) -> None:
        for turn in range(ROUNDS):
            key = KEYS[(number + turn) % len(KEYS)]
            assert await fetch(db, AuthorOut, of(key)).all() == expected[key]
            by_parameter = fetch(db, AuthorOut, select(Author).where(Author.id == bindparam("key")), {"key": key})
            assert AuthorOut.model_validate_json(await by_parameter.json_one()) == expected[key][0]

    await asyncio.gather(*(work(number) for number in range(TASKS)))


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg")
async def test_threads_share_a_plan(db: Database) -> None:
    expected = await fill(db)
    barrier = Barrier(THREADS)
    forget_plans()  # so that all of them find it missing

    def work(number: int) -> None:
        barrier.wait()
        for turn in range(ROUNDS):
            key = KEYS[(number + turn) % len(KEYS)]
            assert fetch(db, AuthorOut, of(key)).all() == expected[key]
            assert AuthorOut.model_validate_json(fetch(db, AuthorOut, of(key)).json_one()) == expected[key][0]

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(work, range(THREADS)))
