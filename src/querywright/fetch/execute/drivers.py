"""Call a driver straight: one call does what SQLAlchemy's cursor does with three (asyncpg) to five (aiosqlite)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Dialect

from querywright.fetch.compile.binding import Statement

__all__ = ["Rows", "autocommitting", "direct_call", "has_direct_call"]

# The rows of a result, each a sequence of its columns.
Rows = Sequence[Any]


def has_direct_call(dialect: Dialect) -> bool:
    """Return whether this driver can be called straight."""
    return (dialect.driver, dialect.is_async) in _CALLS


def direct_call(dialect: Dialect, adapted: Any, statement: Statement) -> Rows:
    """Run a statement and return all its rows.

    Args:
        dialect: The dialect of the connection.
        adapted: What SQLAlchemy's pool lends: the driver's connection, or the adapter around an asynchronous one.
        statement: What to run.
    """
    return _CALLS[dialect.driver, dialect.is_async](adapted, statement)


def _asyncpg(adapted: Any, statement: Statement) -> Rows:
    rows: Rows = adapted.run_async(lambda driver: driver.fetch(statement.sql, *statement.parameters))
    return rows


def _aiosqlite(adapted: Any, statement: Statement) -> Rows:
    rows: Rows = adapted.run_async(lambda driver: driver.execute_fetchall(statement.sql, statement.parameters))
    return rows


def _sqlite3(connection: Any, statement: Statement) -> Rows:
    rows: Rows = connection.execute(statement.sql, statement.parameters).fetchall()
    return rows


def _psycopg(connection: Any, statement: Statement) -> Rows:
    with connection.cursor() as cursor:
        rows: Rows = cursor.execute(statement.sql, statement.parameters).fetchall()
    return rows


async def _fetchall(connection: Any, statement: Statement) -> Rows:
    async with connection.cursor() as cursor:
        await cursor.execute(statement.sql, statement.parameters)
        rows: Rows = await cursor.fetchall()
    return rows


def _async_psycopg(adapted: Any, statement: Statement) -> Rows:
    rows: Rows = adapted.run_async(lambda driver: _fetchall(driver, statement))
    return rows


# By driver, and whether it is asynchronous.
_CALLS: dict[tuple[str, bool], Callable[[Any, Statement], Rows]] = {
    ("asyncpg", True): _asyncpg,
    ("aiosqlite", True): _aiosqlite,
    ("pysqlite", False): _sqlite3,
    ("psycopg", False): _psycopg,
    ("psycopg", True): _async_psycopg,
}


@contextmanager
def autocommitting(adapted: Any) -> Iterator[None]:
    """Keep psycopg from beginning a transaction; the other drivers wait to be told."""
    if adapted.autocommit:
        yield
        return
    adapted.autocommit = True
    try:
        yield
    finally:
        if not adapted.closed:
            adapted.autocommit = False
