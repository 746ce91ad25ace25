"""Numbers and moments are written by the letter of Pydantic, as each driver reads them; see also test_fetch_types."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import random
import struct
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import TypeAdapter, create_model
from sqlalchemy import select, text
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.orm import DeclarativeBase, mapped_column

from querywright import ExactDecimal, InvalidRow, UTCDateTime
from tests.suite.support import AnyDatabase, resolve, run_sync, session, validate
from tests.suite.test_fetch_types import Out, check

D = Decimal
UTC = dt.timezone.utc
FIRST, LAST = dt.datetime(1, 1, 1, 0, 0, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999998)  # noqa: DTZ001
FRACTIONS = (0, 1, 12, 120, 789, 10_000, 100_000, 120_000, 123_456, 999_999)
MOMENTS = [FIRST, LAST, *(dt.datetime(2026, 2, 3, 4, 5, 6, fraction) for fraction in FRACTIONS)]  # noqa: DTZ001
ZONED = [dt.datetime(1900, 1, 1, tzinfo=UTC), *(moment.replace(tzinfo=UTC) for moment in MOMENTS)]
TIMES = [dt.time(0), dt.time(23, 59, 59, 999999), *(dt.time(4, 5, 6, fraction) for fraction in FRACTIONS)]


def _floats() -> list[float]:
    """Floats of every size and length, and those where one notation ends and another begins."""
    chosen = random.Random(7)  # noqa: S311 - the same for everyone
    edges = [
        1e-7,
        9.99e-7,
        1e-6,
        9.999e-6,
        1e-5,
        1.5e-5,
        9.999e-5,
        1e-4,
        1e14,
        999999999999999.9,
        1e15,
        1.5e15,
        1e16,
        1e22,
    ]
    plain = [
        0.0,
        18.0,
        0.1,
        0.1 + 0.2,
        0.125,
        1.005,
        123456.789,
        1e9,
        1e10,
        5e-324,
        1.7976931348623157e308,
        2.0**53 + 2,
    ]
    # fmt: on
    patterns = [struct.unpack("d", chosen.randbytes(8))[0] for _ in range(200)]
    decimals = [
        round(chosen.uniform(-(10**size), 10**size), digits) for size in range(-8, 18) for digits in (0, 2, 6, 11)
    ]
    # In some of these the shortest number lies in the middle between two floats.
    integers = [float(chosen.randrange(10**16, 10**24)) for _ in range(200)]
    return [value for value in (*edges, *plain, *patterns, *decimals, *integers) if math.isfinite(value)]


FLOATS = _floats()
REALS = [value for value in FLOATS if value == 0 or 1e-37 < abs(value) < 3e38]
SMALL = [
    D(text)
    for text in ("0E-9", "1E-9", "0.00000012", "-0.000000120", "0.000001", "0.0000009", "5", "-5.5", "0.100000000")
]
WHOLE = [D(text) for text in ("0", "1", "100", "1000", "10000", "-10000", "120000000", "6250000", "99990000")]
# What SQLAlchemy's Numeric holds on SQLite is a float.
ROUGH = [value for value in FLOATS if abs(value) < 1e17]
EVERYWHERE: dict[str, tuple[Any, Any, list[Any]]] = {
    "double": (sa.Double(), float, FLOATS),
    "aware": (UTCDateTime(), dt.datetime, ZONED),
    "day": (sa.Date(), dt.date, [dt.date(1, 1, 1), dt.date(2024, 2, 29), dt.date(9999, 12, 31)]),
    "exact": (ExactDecimal(18, 9), Decimal, SMALL),
    "exact integer": (ExactDecimal(12, 0), Decimal, WHOLE),
    "cents": (ExactDecimal(12, 2), Decimal, [D("0.00"), D("-0.05"), D("9999999999.99")]),
    "numeric": (sa.Numeric(18, 9), Decimal, SMALL),
    "numeric integer": (sa.Numeric(12, 0), Decimal, WHOLE),
    "numeric float": (sa.Numeric(12, 3, asdecimal=False), float, [0.5, 18.0, 0.001, -123.456, 0.0]),
    "text": (sa.Text(), str, ["".join(map(chr, (*range(1, 32), 127, 133, 8232))) + "/\"\\\\u001F\\u001F'é😀"]),
    "document": (sa.JSON(), Any, [{"é": [1.0, 1e16, 1e-7, None, {"b": "\x1f\x7f"}], "a": 10**20}, [], "", 0, 1.5]),
}
SQLITE: dict[str, tuple[Any, Any, list[Any]]] = {
    "moment": (sa.DateTime(), dt.datetime, MOMENTS),
    "time": (sa.Time(), dt.time, TIMES),
    "shorter moment": (sqlite.DATETIME(truncate_microseconds=True), dt.datetime, MOMENTS),
    "rough numeric": (sa.Numeric(), Decimal, ROUGH),
    "rough cents": (sa.Numeric(12, 2), Decimal, ROUGH),
    "rough integer": (sa.Numeric(12, 0), Decimal, ROUGH),
    "rough small": (sa.Numeric(30, 20), Decimal, ROUGH),
    "rough float": (sa.Numeric(12, 3, asdecimal=False), float, ROUGH),
}
POSTGRESQL: dict[str, tuple[Any, Any, list[Any]]] = {
    "moment": (sa.DateTime(), dt.datetime, MOMENTS),
    "zoned": (sa.DateTime(timezone=True), dt.datetime, ZONED),
    "time": (sa.Time(), dt.time, TIMES),
    "real": (sa.REAL(), float, REALS),
    "short float": (sa.Float(24), float, REALS),
    "any numeric": (sa.Numeric(), Decimal, [*SMALL, *WHOLE, D("12345678901234567890000"), D("1E+30"), D("1.10")]),
    "decimals": (sa.ARRAY(sa.Numeric), list[Decimal], [SMALL, WHOLE, []]),
    "exact decimals": (sa.ARRAY(ExactDecimal(12, 2)), list[Decimal], [[D("1.50"), D("0.00")]]),
    "nested decimals": (sa.ARRAY(sa.Numeric, dimensions=2), list[list[Decimal]], [[[D("1E-7")], [D("1.50")]]]),
    "nested floats": (sa.ARRAY(sa.Double, dimensions=2), list[list[float]], [[[0.1, 1e16], [1.5, 1e-7]]]),
    "moments": (sa.ARRAY(sa.DateTime(timezone=True)), list[dt.datetime], [ZONED]),
}
MARIADB: dict[str, tuple[Any, Any, list[Any]]] = {
    "moment": (mysql.DATETIME(fsp=6), dt.datetime, MOMENTS),
    "thousandths": (mysql.DATETIME(fsp=3), dt.datetime, [dt.datetime(2026, 1, 1, 0, 0, 0, n) for n in (0, 100_000)]),  # noqa: DTZ001
    "seconds": (sa.DateTime(), dt.datetime, [dt.datetime(2026, 1, 1)]),  # noqa: DTZ001
    "time": (mysql.TIME(fsp=6), dt.time, TIMES),
    "short float": (sa.Float(), float, REALS),
    "exact numeric": (sa.Numeric(65, 20), Decimal, [*SMALL, *WHOLE]),
}  # fmt: skip


def cases(types: dict[str, tuple[Any, Any, list[Any]]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("column", "annotation", "values"), types.values(), ids=types)


@cases(EVERYWHERE)
async def test_everywhere(db: AnyDatabase, column: Any, annotation: Any, values: list[Any]) -> None:
    await check(db, column, annotation, values)


@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite")
@cases(SQLITE)
async def test_sqlite(db: AnyDatabase, column: Any, annotation: Any, values: list[Any]) -> None:
    await check(db, column, annotation, values)


@pytest.mark.drivers("postgresql+psycopg", "postgresql+asyncpg")
@cases(POSTGRESQL)
async def test_postgresql(db: AnyDatabase, column: Any, annotation: Any, values: list[Any]) -> None:
    await check(db, column, annotation, values)


@pytest.mark.drivers("mariadb+pymysql", "mariadb+aiomysql")
@cases(MARIADB)
async def test_mariadb(db: AnyDatabase, column: Any, annotation: Any, values: list[Any]) -> None:
    await check(db, column, annotation, values)


async def stored(db: AnyDatabase, column: Any, annotation: Any, type_name: str, values: list[str]) -> None:
    """Let somebody else write values into a table that has another type, and compare."""

    class Base(DeclarativeBase):
        pass

    class Row(Base):
        __tablename__ = "stored_rows"
        id = mapped_column(sa.Integer, primary_key=True)
        value = mapped_column(column)

    model = create_model("M", __base__=Out, value=(annotation | None, ...))
    statement = select(Row).order_by(Row.id)
    async with session(db) as opened:
        await resolve(opened.execute(text(f"CREATE TABLE stored_rows (id INTEGER PRIMARY KEY, value {type_name})")))
        for number, value in enumerate([*values, None]):
            await resolve(opened.execute(text("INSERT INTO stored_rows VALUES (:id, NULL)"), {"id": number}))
            if value is not None:
                await resolve(opened.execute(text(f"UPDATE stored_rows SET value = '{value}' WHERE id = {number}")))
        await same(opened, model, statement)
        await resolve(opened.rollback())


async def same(opened: Any, model: Any, statement: Any) -> None:
    expected = await run_sync(opened, lambda sync: validate(sync, model, statement))
    opened.expunge_all()
    written = TypeAdapter(list[model]).dump_json(expected)
    assert await resolve(opened.fetch(model, statement).json()) == written
    assert TypeAdapter(list[model]).dump_json(await resolve(opened.fetch(model, statement).all())) == written
    one = statement.where(statement.selected_columns[0] == 0)
    assert b"[" + await resolve(opened.fetch(model, one).json_one()) + b"]" == TypeAdapter(list[model]).dump_json(
        expected[:1]
    )


# What a mapped class declares need not be what its table has.
OTHERS = [
    (sa.DateTime(), dt.datetime, "timestamptz", ["2026-01-02 03:04:05.1+00", "2026-07-02 03:04:05+00"]),
    (sa.DateTime(timezone=True), dt.datetime, "timestamp", ["2026-01-02 03:04:05.1", "2026-07-02 03:04:05"]),
    (UTCDateTime(), dt.datetime, "timestamp", ["2026-01-02 03:04:05.1", "2026-07-02 03:04:05"]),
    (sa.Float(), float, "real", ["0.1", "18", "1e20", "16777217"]),
    (sa.Double(), float, "numeric", ["0.1", "18", "1e20"]),
    (sa.Numeric(), Decimal, "integer", ["10000", "5"]),
]


@pytest.mark.drivers("postgresql+psycopg", "postgresql+asyncpg")
@pytest.mark.parametrize(("column", "annotation", "type_name", "values"), OTHERS)
async def test_types_that_are_not_declared(
    db: AnyDatabase, column: Any, annotation: Any, type_name: str, values: list[str]
) -> None:
    await stored(db, column, annotation, type_name, values)


@pytest.mark.drivers("postgresql+psycopg", "postgresql+asyncpg")
@pytest.mark.parametrize(
    ("zone", "style"), list(itertools.product(["UTC", "America/New_York", "Asia/Kolkata"], ["ISO", "German"]))
)
async def test_whatever_the_session_says(db: AnyDatabase, zone: str, style: str) -> None:
    if style != "ISO" and db.engine.dialect.driver in {"psycopg", "psycopg2"}:
        pytest.skip("psycopg reads a timestamptz only in ISO style")

    class Base(DeclarativeBase):
        pass

    class Row(Base):
        __tablename__ = "zoned_rows"
        id = mapped_column(sa.Integer, primary_key=True)
        aware = mapped_column(UTCDateTime, nullable=False)
        zoned = mapped_column(sa.DateTime(timezone=True), nullable=False)
        naive = mapped_column(sa.DateTime, nullable=False)
        day = mapped_column(sa.Date, nullable=False)
        zones = mapped_column(sa.ARRAY(sa.DateTime(timezone=True)), nullable=False)

    fields: dict[str, Any] = dict.fromkeys(("aware", "zoned", "naive"), (dt.datetime, ...))
    model = create_model("M", __base__=Out, **fields, day=(dt.date, ...), zones=(list[dt.datetime], ...))
    moments = [dt.datetime(2026, month, 2, 3, 4, 5, n, tzinfo=UTC) for month in (1, 7) for n in FRACTIONS]
    async with session(db) as opened:
        await resolve(opened.execute(text(f"SET LOCAL timezone = '{zone}'; ").bindparams()))
        await resolve(opened.execute(text(f"SET LOCAL datestyle = '{style}'")))
        await run_sync(opened, lambda sync: Base.metadata.create_all(sync.connection()))
        for number, moment in enumerate(moments):
            naive = moment.replace(tzinfo=None)
            opened.add(Row(id=number, aware=moment, zoned=moment, naive=naive, day=naive.date(), zones=[moment]))
        await resolve(opened.flush())
        opened.expunge_all()
        await same(opened, model, select(Row).order_by(Row.id))
        await resolve(opened.rollback())


@pytest.mark.drivers("postgresql+psycopg", "postgresql+asyncpg")
async def test_moments_that_python_cannot_hold_are_no_text(db: AnyDatabase) -> None:
    for column, type_name in ((sa.DateTime(), "timestamp"), (UTCDateTime(), "timestamptz"), (sa.Date(), "date")):
        for value in ("0044-03-15 BC", "10000-01-01"):
            with pytest.raises(InvalidRow):
                await stored_json(db, column, type_name, value)


async def stored_json(db: AnyDatabase, column: Any, type_name: str, value: str) -> bytes:
    class Base(DeclarativeBase):
        pass

    class Row(Base):
        __tablename__ = "far_rows"
        id = mapped_column(sa.Integer, primary_key=True)
        value = mapped_column(column, nullable=False)

    model = create_model("M", value=(dt.date if isinstance(column, sa.Date) else dt.datetime, ...))
    async with session(db) as opened:
        await resolve(opened.execute(text(f"CREATE TABLE far_rows (id INTEGER PRIMARY KEY, value {type_name})")))
        await resolve(opened.execute(text(f"INSERT INTO far_rows VALUES (1, '{value}')")))
        written: bytes = await resolve(opened.fetch(model, select(Row)).json())
        return written
