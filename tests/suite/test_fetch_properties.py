"""Whatever the rows, the response model and the statement: fetch equals the ORM and Pydantic."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from sqlalchemy import select

from tests.suite.models import Author, Base, Book, Everything, EverythingOut, Profile, Tag, book_tags
from tests.suite.strategies import everything, models, worlds
from tests.suite.support import AnyDatabase, resolve, run_sync, session, validate

ONE_OF_EACH = pytest.mark.drivers(
    "sqlite+pysqlite", "sqlite+aiosqlite", "postgresql+psycopg", "postgresql+asyncpg",
    "mariadb+pymysql", "mariadb+aiomysql",
)  # fmt: skip
EXAMPLES = settings(suppress_health_check=list(HealthCheck))


async def check(db: AnyDatabase, rows: list[list[object]], tagged: list[dict[str, Any]], pairs: list[Any]) -> None:
    """Write rows, compare every model and statement, and undo."""
    async with session(db) as opened:
        for group in rows:
            opened.add_all(group)
            await resolve(opened.flush())
        if tagged:
            await resolve(opened.execute(book_tags.insert(), tagged))
        opened.expunge_all()
        for model, statement in pairs:
            expected = await run_sync(opened, lambda sync, m=model, s=statement: validate(sync, m, s))
            opened.expunge_all()
            adapter = TypeAdapter(list[model])
            assert await resolve(opened.fetch(model, statement).all()) == expected
            split = await resolve(opened.fetch(model, statement, strategy="levels").json())
            text = await resolve(opened.fetch(model, statement).json())
            assert split == text
            assert text == adapter.dump_json(expected)


@ONE_OF_EACH
@EXAMPLES
@given(world=worlds())
async def test_related_rows(db: AnyDatabase, world: tuple[Any, Any, Any]) -> None:
    await check(db, *world)


def can_hold(db: AnyDatabase, rows: list[Everything]) -> bool:
    """Say whether a database can hold rows: MariaDB has no infinity."""
    ratios = [value for row in rows for value in (row.ratio, row.ratio_or_none)]
    return db.engine.dialect.name != "mariadb" or not any(value and math.isinf(value) for value in ratios)


@ONE_OF_EACH
@EXAMPLES
@given(rows=st.lists(everything(), max_size=3, unique_by=lambda row: row.id), model=models(Everything))
async def test_values(db: AnyDatabase, rows: list[Everything], model: Any) -> None:
    assume(can_hold(db, rows))
    statement = select(Everything).order_by(Everything.id)
    await check(db, [[copy(row) for row in rows]], [], [(model, statement), (EverythingOut, statement)])


def copy(row: Everything) -> Everything:
    """Make a row that no session has seen: Hypothesis may use one example twice."""
    return Everything(**{name: getattr(row, name) for name in EverythingOut.model_fields})


def test_every_table_is_drawn() -> None:
    assert {Author, Book, Tag, Profile, Everything} == {mapper.class_ for mapper in Base.registry.mappers}
