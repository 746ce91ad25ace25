"""Every column type comes out of every database as Pydantic would have written it."""

from __future__ import annotations

import datetime as dt
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter
from sqlalchemy import select, text

from tests.suite.models import Everything, EverythingOut, Genre, Level, Out
from tests.suite.support import AnyDatabase, add, by_orm, resolve, transaction

UTC = dt.timezone.utc


def a_row(**values: Any) -> Everything:
    defaults: dict[str, Any] = {
        "number": 9_007_199_254_740_993 % 2**31,
        "text": 'it\'s "quoted" \\ \n\t\x02 % :x é 漢 😀',
        "flag": False,
        "ratio": 0.1 + 0.2,
        "price": Decimal("-0.05"),
        "moment": dt.datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
        "local": dt.datetime(2026, 2, 3, 4, 5, 6),  # noqa: DTZ001 - naive on purpose
        "day": dt.date(1999, 12, 31),
        "genre": Genre.ESSAY,
        "level": Level.HIGH,
        "data": {"a": [1, None, {"b": "c'\""}], "é": 1.5},
        "items": [],
    }
    return Everything(**{**defaults, **values})


FULL = {
    "number_or_none": -5,
    "text_or_none": "null",
    "flag_or_none": True,
    "ratio_or_none": -1e-300,
    "price_or_none": Decimal(-120_000_000),
    "moment_or_none": dt.datetime(2026, 1, 1, tzinfo=UTC),
    "local_or_none": dt.datetime(2026, 1, 1, 0, 0, 0, 1),  # noqa: DTZ001 - naive on purpose
    "day_or_none": dt.date(1, 1, 1),
    "key_or_none": uuid.UUID(int=5),
    "genre_or_none": Genre.NOVEL,
    "level_or_none": Level.LOW,
    "data_or_none": {},
}


async def test_every_type_equals_orm_and_pydantic(db: AnyDatabase) -> None:
    await add(db, a_row(), a_row(**FULL), a_row(text="", ratio=1e20, number=-(2**31)))
    statement = select(Everything).order_by(Everything.id)
    expected = await by_orm(db, EverythingOut, statement)
    assert await resolve(db.fetch(EverythingOut, statement).all()) == expected
    written = TypeAdapter(list[EverythingOut]).dump_json(expected)
    assert await resolve(db.fetch(EverythingOut, statement).json()) == written


class RatioOut(Out):
    ratio: float


@pytest.mark.parametrize("value", [math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 123456789.123456789, -0.0])
async def test_floats_are_exact(db: AnyDatabase, value: float) -> None:
    if math.isinf(value) and db.engine.dialect.name == "mariadb":
        pytest.skip("MariaDB's DOUBLE holds no infinity")
    await add(db, a_row(ratio=value))
    statement = select(Everything)
    assert (await resolve(db.fetch(RatioOut, statement).one())).ratio == value
    [row] = json.loads(await resolve(db.fetch(RatioOut, statement).json()))
    assert row["ratio"] == (value if math.isfinite(value) else None)


@pytest.mark.drivers("postgresql+psycopg", "postgresql+asyncpg")
async def test_nan_is_null_for_clients_and_nan_for_models(db: AnyDatabase) -> None:
    await add(db, a_row(ratio=math.nan))
    assert math.isnan((await resolve(db.fetch(RatioOut, select(Everything)).one())).ratio)
    assert await resolve(db.fetch(RatioOut, select(Everything)).json()) == b'[{"ratio":null}]'


class DataOut(Out):
    data_or_none: dict[str, Any] | None


async def test_json_null_and_sql_null_are_both_null(db: AnyDatabase) -> None:
    await add(db, a_row(data_or_none=None), a_row())
    rows = json.loads(await resolve(db.fetch(DataOut, select(Everything)).json()))
    assert rows == [{"data_or_none": None}] * 2


class NumberOut(Out):
    number: int


async def test_bound_values_go_through_their_types(db: AnyDatabase) -> None:
    """An enum is bound as its name, a UUID on SQLite as its digits, a decimal there as an integer."""
    wanted = a_row(id=uuid.UUID(int=7), number=1, price=Decimal("10.50"))
    await add(db, wanted, a_row(number=2, genre=Genre.POEM, price=Decimal("9.50"), moment=dt.datetime.now(UTC)))
    for condition in (
        Everything.id == wanted.id,
        Everything.id.in_([wanted.id, uuid.UUID(int=8)]),
        Everything.genre == Genre.ESSAY,
        Everything.genre.in_([Genre.ESSAY, Genre.NOVEL]),
        Everything.price > Decimal("9.99"),
        Everything.moment == wanted.moment,
        Everything.moment.in_([wanted.moment]),
    ):
        assert await resolve(db.fetch(NumberOut, select(Everything).where(condition)).json()) == b'[{"number":1}]'


async def test_not_a_number_in_a_document_is_null(db: AnyDatabase) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL's and MariaDB's JSON holds no NaN")
    await add(db, a_row(data_or_none={}))
    # As others may have stored it; an engine of ours refuses it.
    async with transaction(db) as tx:
        stored = {"document": '{"a": [NaN, Infinity, "NaN"]}'}
        await resolve(tx.execute(text(f"UPDATE {Everything.__tablename__} SET data_or_none = :document"), stored))
    expected = b'[{"data_or_none":{"a":[null,null,"NaN"]}}]'
    assert await resolve(db.fetch(DataOut, select(Everything)).json()) == expected


class KeyOut(Out):
    moment: dt.datetime
    key_or_none: uuid.UUID | None


@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite")
@pytest.mark.parametrize(
    ("stored", "written"),
    [
        ("2026-01-02 03:04:05", "2026-01-02T03:04:05Z"),
        ("2026-01-02 03:04:05.000000", "2026-01-02T03:04:05Z"),
        ("2026-01-02 03:04:05.100000", "2026-01-02T03:04:05.100000Z"),
        ("2026-01-02 03:04:05.000789", "2026-01-02T03:04:05.000789Z"),
        ("2026-01-02 03:04:05.123", "2026-01-02T03:04:05.123000Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05.500000Z"),
        ("2026-01-02 00:04:05.25+02:00", "2026-01-01T22:04:05.250000Z"),
        ("2026-01-02T03:04:05-0530", "2026-01-02T08:34:05Z"),
        ("2026-01-02 03:04:05.1+0200", "2026-01-02T01:04:05.100000Z"),
        ("2026-01-02 03:04:05.123+02", "2026-01-02T01:04:05.123000Z"),
        ("2026-01-02 03:04:05.12345Z", "2026-01-02T03:04:05.123450Z"),
        ("2026-01-02 03:04", "2026-01-02T03:04:00Z"),
        ("2026-01-02", "2026-01-02T00:00:00Z"),
    ],
)
async def test_values_that_others_wrote_to_sqlite(db: AnyDatabase, stored: str, written: str) -> None:
    await add(db, a_row())
    key = "00000000-0000-0000-0000-00000000000A"
    async with transaction(db) as tx:
        await resolve(tx.execute(text(f"UPDATE everything SET moment = '{stored}', key_or_none = '{key}'")))
    [row] = json.loads(await resolve(db.fetch(KeyOut, select(Everything)).json()))
    assert row == {"moment": written, "key_or_none": key.lower()}
