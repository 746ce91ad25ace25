"""Tables of 500 columns, 10,000 bound values, long names: what is large but not unreasonable works."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import create_model
from sqlalchemy import ForeignKey, Integer, bindparam, select
from sqlalchemy.orm import DeclarativeBase, mapped_column, relationship

from querywright import prepare
from tests.suite.models import Author, NameOut, Out
from tests.suite.support import AnyDatabase, add, resolve, run_sync, session

ONE_OF_EACH = pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite", "postgresql+psycopg", "postgresql+asyncpg")
pytestmark = ONE_OF_EACH
COLUMNS = 500


class WideBase(DeclarativeBase):
    pass


def wide(name: str, **more: Any) -> Any:
    columns = {f"column_number_{n}": mapped_column(Integer, nullable=True) for n in range(COLUMNS)}
    return type(
        name,
        (WideBase,),
        {"__tablename__": name.lower(), "id": mapped_column(Integer, primary_key=True), **columns, **more},
    )


Wide = wide("Wide")
Wider = wide(
    "Wider", wide_id=mapped_column(ForeignKey("wide.id"), nullable=False), wide=relationship(Wide, backref="wider")
)


async def test_tables_of_five_hundred_columns(db: AnyDatabase) -> None:
    fields: Any = {f"column_number_{n}": (int | None, ...) for n in range(COLUMNS)}
    inner = create_model("WiderOut", __base__=Out, **fields)
    outer = create_model("WideOut", __base__=Out, **fields, wider=(list[inner], ...))
    async with session(db) as opened:
        await run_sync(opened, lambda sync: WideBase.metadata.create_all(sync.connection()))
        opened.add(Wide(id=1, **{f"column_number_{n}": n for n in range(COLUMNS)}))
        await resolve(opened.flush())
        opened.add(Wider(id=1, wide_id=1, column_number_499=7))
        [row] = json.loads(await resolve(opened.fetch(outer, select(Wide)).json()))
    assert list(row) == [*(f"column_number_{n}" for n in range(COLUMNS)), "wider"]
    assert (row["column_number_499"], row["wider"][0]["column_number_499"]) == (499, 7)


names_in = prepare(NameOut, select(Author).where(Author.id.in_(bindparam("ids", expanding=True))).order_by(Author.id))


async def test_ten_thousand_bound_values(db: AnyDatabase) -> None:
    await add(db, *(Author(id=n, name=f"name {n}") for n in (1, 9_999, 10_001)))
    ids = list(range(10_000))
    statement = select(Author).where(Author.id.in_(ids)).order_by(Author.id)
    assert [row.id for row in await resolve(db.fetch(NameOut, statement).all())] == [1, 9_999]
    assert [row.id for row in await resolve(names_in(db, ids=ids).all())] == [1, 9_999]
    assert await resolve(db.fetch(NameOut, statement).count()) == 2
