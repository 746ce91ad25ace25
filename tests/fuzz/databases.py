"""Databases that are empty for each example, and the memory that examples leave behind."""

from __future__ import annotations

import asyncio
import gc
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from querywright.fetching.execute.cache import LRU

Work = Callable[[Connection], None]
Runner = Callable[[Work], None]

# Tables come back with other ids under the same names, so no statement is kept on the server.
_DRIVER_OPTIONS: dict[str, dict[str, Any]] = {
    "psycopg": {"prepare_threshold": None},
    "asyncpg": {"prepared_statement_cache_size": 0, "statement_cache_size": 0},
}


@contextmanager
def emptied(url: str) -> Iterator[Runner]:
    """Give a function that runs work in an empty database, and undoes it.

    SQLite is a new database in memory each time; PostgreSQL rolls a transaction back, tables included.
    """
    driver = url.partition(":")[0].partition("+")[2]
    options: dict[str, Any] = {"connect_args": _DRIVER_OPTIONS.get(driver, {})}
    if url.startswith("sqlite"):
        options["poolclass"] = NullPool
    if driver in {"aiosqlite", "asyncpg"}:
        with _collecting(), _async_runner(create_async_engine(url, **options)) as run:
            yield run
    else:
        engine = create_engine(url, **options)
        try:
            with _collecting():
                yield lambda work: _run(engine, work)
        finally:
            engine.dispose()


@contextmanager
def _collecting() -> Iterator[None]:
    """Look for garbage only in what the examples make: invented classes are full of cycles."""
    # Hypothesis asks the collector who holds its random numbers, and is told nothing of what is frozen.
    _draw_nothing()
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@settings(max_examples=1, database=None)
@given(st.none())
def _draw_nothing(_: None) -> None:
    pass


def _run(engine: Engine, work: Work) -> None:
    with engine.connect() as connection:
        try:
            work(connection)
        finally:
            connection.rollback()
            _forget(engine)


@contextmanager
def _async_runner(engine: AsyncEngine) -> Iterator[Runner]:
    loop = asyncio.new_event_loop()

    async def run(work: Work) -> None:
        async with engine.connect() as connection:
            try:
                await connection.run_sync(work)
            finally:
                await connection.rollback()
                _forget(engine.sync_engine)

    try:
        yield lambda work: loop.run_until_complete(run(work))
    finally:
        loop.run_until_complete(engine.dispose())
        loop.close()


def _caches() -> list[Any]:
    """Find all that fetch keeps between calls."""
    package = import_module("querywright.fetching")
    modules = [import_module(found.name) for found in pkgutil.walk_packages(package.__path__, "querywright.fetching.")]
    values = {id(value): value for module in modules for value in vars(module).values()}.values()
    return [value for value in values if isinstance(value, LRU) or hasattr(value, "cache_clear")]


_CACHES = _caches()
_COLLECT_EVERY = 100
_count = 0


def forget_plans() -> None:
    """Drop all plans and compiled statements."""
    for cache in _CACHES:
        if isinstance(cache, LRU):
            cache._values.clear()
        else:
            cache.cache_clear()


def _forget(engine: Engine) -> None:
    """Drop what is kept of the classes of an example."""
    global _count  # noqa: PLW0603 - garbage is a matter of the process
    engine.clear_compiled_cache()
    forget_plans()
    _count += 1
    if _count % _COLLECT_EVERY == 0:
        gc.collect()
