"""One set of tables for a whole test, and a transaction of its own for each example."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, StaticPool, create_engine, event
from sqlalchemy.ext.asyncio import create_async_engine

from querywright import use_cursor_secret
from tests.conftest import CURSOR_SECRET
from tests.paging.tables import Base

Work = Callable[[Connection], None]


@contextmanager
def opened(url: str) -> Iterator[Callable[[Work], None]]:
    """Give a function that runs work in a transaction, and rolls it back."""
    options: dict[str, Any] = {"poolclass": StaticPool} if url.startswith("sqlite") else {}
    if "+a" in url:
        with _asynchronous(url, options) as run:
            yield run
        return
    engine = create_engine(url, **options)
    use_cursor_secret(engine, CURSOR_SECRET)
    _begin(engine)
    with engine.begin() as connection:
        Base.metadata.create_all(connection)

    def run_rolled_back(work: Work) -> None:
        with engine.connect() as connection:
            try:
                work(connection)
            finally:
                connection.rollback()

    try:
        yield run_rolled_back
    finally:
        Base.metadata.drop_all(engine)
        engine.dispose()


@contextmanager
def _asynchronous(url: str, options: dict[str, Any]) -> Iterator[Callable[[Work], None]]:
    loop, engine = asyncio.new_event_loop(), create_async_engine(url, **options)
    use_cursor_secret(engine, CURSOR_SECRET)
    _begin(engine.sync_engine)

    async def change(how: Any) -> None:
        async with engine.begin() as connection:
            await connection.run_sync(how)

    async def run_rolled_back(work: Work) -> None:
        async with engine.connect() as connection:
            try:
                await connection.run_sync(work)
            finally:
                await connection.rollback()

    try:
        loop.run_until_complete(change(Base.metadata.create_all))
        yield lambda work: loop.run_until_complete(run_rolled_back(work))
        loop.run_until_complete(change(Base.metadata.drop_all))
    finally:
        loop.run_until_complete(engine.dispose())
        loop.close()


def _begin(engine: Any) -> None:
    """Let SQLite begin when SQLAlchemy does: sqlite3 waits for the first INSERT, and takes savepoints for none."""
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def plain(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")
