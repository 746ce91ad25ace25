"""Values of every type, in every annotation that holds them, come out as Pydantic makes them of ORM objects."""

from __future__ import annotations

import datetime as dt
import enum
import math
import re
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
import sqlalchemy as sa
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    IPvAnyAddress,
    PlainSerializer,
    RootModel,
    TypeAdapter,
    create_model,
)
from sqlalchemy import TypeDecorator, select
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, mapped_column

from querywright import AsyncDatabase, Database, Document, ExactDecimal, UTCDateTime
from tests.suite.support import AnyDatabase, resolve, run_sync, session, validate

UTC = dt.timezone.utc
UTC_NAMES = re.compile(r"TzInfo\((UTC|0)\)|datetime\.timezone\.utc|zoneinfo\.ZoneInfo\(key='(Etc/)?UTC'\)")
FAR = dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


class Out(BaseModel):
    model_config = ConfigDict(from_attributes=True, arbitrary_types_allowed=True)


class Color(enum.Enum):
    RED = "red"
    BLUE = 'bl"ue'


class Size(str, enum.Enum):
    SMALL = "s"
    LARGE = "l"


class Pair(enum.Enum):
    A = (1, 2)
    B = (3, 4)


class Shout(TypeDecorator[str]):
    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return value and value.lower()

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.upper() + "!"


class Guid(TypeDecorator[uuid.UUID]):
    """The recipe of SQLAlchemy's documentation: another type on each database."""

    impl = sa.CHAR
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        return dialect.type_descriptor(sa.UUID() if dialect.name == "postgresql" else sa.CHAR(32))

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return value if value is None or dialect.name == "postgresql" else value.hex

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return value if value is None or isinstance(value, uuid.UUID) else uuid.UUID(value)


class Minutes(TypeDecorator[dt.timedelta]):
    impl = sa.Integer
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return value and value.total_seconds() // 60

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else dt.timedelta(minutes=value)


class Trimmed(sa.String):
    cache_ok = True

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        return lambda value: value and value.strip()


class Lowered(sa.String):
    cache_ok = True

    def column_expression(self, column: Any) -> Any:
        return sa.func.lower(column, type_=self)


class Settings(BaseModel):
    theme: str
    size: int = 3


class Names(RootModel[list[str]]):
    pass


class Text(RootModel[str]):
    pass


def _repr(value: object) -> str:
    return f"<{value!r}>"


Shown = Annotated[Any, PlainSerializer(_repr, return_type=str)]
# Column type, annotations, values.
TYPES: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "big integer": (sa.BigInteger(), [int, Any, Decimal], [2**53 + 1, -(2**63), 2**63 - 1]),
    "constrained": (sa.Integer(), [Annotated[int, Field(gt=0)], int | str], [1, 5]),
    "time": (sa.Time(), [dt.time, Any], [dt.time(1, 2, 3), dt.time(23, 59, 59, 999999), dt.time(0)]),
    "interval": (
        sa.Interval(),
        [dt.timedelta, Any],
        [dt.timedelta(0), dt.timedelta(days=-3, microseconds=7), dt.timedelta(days=400, hours=5, seconds=1.5)],
    ),
    "bytes": (sa.LargeBinary(), [bytes, str, Any], [b"", b"abc", "é\n".encode()]),
    "uuid": (sa.Uuid(), [uuid.UUID, Any, Annotated[uuid.UUID, BeforeValidator(lambda key: key)]], [uuid.UUID(int=7)]),
    "uuid as text": (sa.Uuid(as_uuid=False), [str, Any], [str(uuid.UUID(int=2**127))]),
    "enum": (sa.Enum(Color), [Color, Any, Literal[Color.RED, Color.BLUE]], list(Color)),
    "text enum": (sa.Enum(Size), [Size, str, Any], list(Size)),
    "odd enum": (sa.Enum(Pair), [Pair, Any], list(Pair)),
    "enum by value": (sa.Enum(Size, values_callable=lambda kind: [m.value for m in kind], name="size2"), [Size], list(Size)),
    "enum of strings": (sa.Enum("a", "b", name="letters"), [Literal["a", "b"], str, Literal["a", "b", "c"]], ["a", "b"]),
    "text as others": (sa.String(100), [Literal["1", "2"], int, Text, Decimal, list | str], ["1", "2"]),
    "link": (sa.String(100), [HttpUrl, str], ["https://example.com/a?b=c"]),
    "address": (sa.String(100), [IPvAnyAddress], ["10.0.0.1", "::1"]),
    "datetime": (sa.DateTime(), [dt.datetime, Any, dt.datetime | str], [dt.datetime(1, 1, 1), FAR.replace(tzinfo=None)]),  # noqa: DTZ001
    "aware": (UTCDateTime(), [AwareDatetime, dt.datetime, Any], [dt.datetime(2026, 1, 1, tzinfo=UTC), FAR]),
    "date": (sa.Date(), [dt.date, Any], [dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    "decimal": (ExactDecimal(12, 3), [Decimal, float, Any], [Decimal("1.500"), Decimal("-0.001"), Decimal("120000.000")]),
    "float": (sa.Double(), [float, Any, Decimal], [0.1, -1e300, 5e-324, 1.0]),
    "shout": (Shout(100), [str, Any, Annotated[str, AfterValidator(str.title)]], ["a", "é", ""]),
    "guid": (Guid(), [uuid.UUID, Any], [uuid.UUID(int=3)]),
    "minutes": (Minutes(), [dt.timedelta, Any], [dt.timedelta(minutes=90)]),
    "pickle": (sa.PickleType(), [Any, dict[str, Any]], [{"a": [1, None]}]),
    "trimmed": (Trimmed(100), [str], [" a "]),
    "lowered": (Lowered(100), [str], ["ABC"]),
    "document": (Document(), [Any, dict[str, Any]], [{"a": [1.5, None, {"b": "c"}]}, {}]),
    "model in JSON": (sa.JSON(), [Settings, dict[str, int | str]], [{"theme": "dark"}, {"theme": "x", "size": 5}]),
    "list in JSON": (sa.JSON(), [list[str], Names, tuple[str, ...], set[str]], [["a"], []]),
    "null in JSON": (sa.JSON(), [Any], [None, sa.JSON.NULL, {"a": None}]),
}  # fmt: skip


def cases(types: dict[str, tuple[Any, list[Any], list[Any]]]) -> list[Any]:
    return [
        pytest.param(column, annotation, values, id=f"{name} as {getattr(annotation, '__name__', annotation)!s:.30}")
        for name, (column, annotations, values) in types.items()
        for annotation in annotations
    ]


async def check(db: AnyDatabase, column: Any, annotation: Any, values: list[Any]) -> None:
    """Write values, read them by fetch and by the ORM, and undo; once as they are, once with NULL among them."""

    class Base(DeclarativeBase):
        pass

    nullable = None in values

    class Row(Base):
        __tablename__ = "rows"
        id = mapped_column(sa.Integer, primary_key=True)
        needed = mapped_column(column, nullable=nullable)
        maybe = mapped_column(column, nullable=True)

    model = create_model("M", __base__=Out, needed=(annotation, ...), maybe=(annotation | None, ...))
    model.model_rebuild()
    rows = [Row(needed=value, maybe=maybe) for value in values for maybe in (value, None)]
    statement = select(Row).order_by(Row.id)
    async with session(db) as opened:
        if db.engine.dialect.name == "mariadb":
            # Its DDL commits, so the table of the test before is still there.
            await run_sync(opened, lambda sync: Base.metadata.drop_all(sync.connection()))
        await run_sync(opened, lambda sync: Base.metadata.create_all(sync.connection()))
        opened.add_all(rows)
        await resolve(opened.flush())
        opened.expunge_all()
        expected = await run_sync(opened, lambda sync: validate(sync, model, statement))
        assert same(await resolve(opened.fetch(model, statement).all()), expected)
        written = TypeAdapter(list[model]).dump_json(expected, by_alias=True)
        assert await resolve(opened.fetch(model, statement).json()) == written


def same(one: Any, other: Any) -> bool:
    """Compare with types; take NaN for NaN, and one class of UTC for another."""
    return UTC_NAMES.sub("UTC", repr(one)) == UTC_NAMES.sub("UTC", repr(other))


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg", "postgresql+asyncpg", "mariadb+pymysql")
@pytest.mark.parametrize(("column", "annotation", "values"), cases(TYPES))
async def test_types(db: AnyDatabase, column: Any, annotation: Any, values: list[Any]) -> None:
    await check(db, column, annotation, values)


WEEK = pg.Range(dt.date(2026, 1, 1), dt.date(2026, 1, 8))
POSTGRESQL: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "integers": (sa.ARRAY(sa.Integer), [list[int], Sequence[int], list[int | None], tuple[int, ...], set[int], Any], [[1, 2], []]),
    "texts": (sa.ARRAY(sa.Text), [list[str], list[Any]], [["a", 'q"\\,{}', ""], ["NULL", "é"]]),
    "nothing among": (sa.ARRAY(sa.Text), [list[str | None]], [["a", None]]),
    "flags": (sa.ARRAY(sa.Boolean), [list[bool]], [[True, False]]),
    "keys": (sa.ARRAY(sa.Uuid), [list[uuid.UUID], list[Any]], [[uuid.UUID(int=1)]]),
    "prices": (sa.ARRAY(sa.Numeric(12, 2)), [list[Decimal], list[float]], [[Decimal("1.50"), Decimal(-2)]]),
    "floats": (sa.ARRAY(sa.Double), [list[float]], [[0.1, math.inf], [1e-300]]),
    "moments": (sa.ARRAY(sa.DateTime(timezone=True)), [list[dt.datetime]], [[dt.datetime(2026, 1, 1, tzinfo=UTC)]]),
    "days": (sa.ARRAY(sa.Date), [list[dt.date]], [[dt.date(2026, 1, 1)]]),
    "colors": (sa.ARRAY(sa.Enum(Color, name="color")), [list[Color]], [[Color.RED, Color.BLUE]]),
    "documents": (sa.ARRAY(pg.JSONB), [list[dict[str, Any]]], [[{"a": 1}]]),
    "blobs": (sa.ARRAY(sa.LargeBinary), [list[bytes]], [[b"a", b""]]),
    "custom": (sa.ARRAY(Shout), [list[str]], [["a", "b"]]),
    "matrix": (sa.ARRAY(sa.Integer, dimensions=2), [list[list[int]], Any], [[[1, 2], [3, 4]], []]),
    "interval": (
        pg.INTERVAL(),
        [dt.timedelta, Any],
        [dt.timedelta(days=-3, microseconds=7), dt.timedelta(days=400, hours=5, seconds=1.5)],
    ),
    "zoned time": (sa.Time(timezone=True), [dt.time], [dt.time(1, 2, 3, tzinfo=UTC)]),
    "zoned": (sa.DateTime(timezone=True), [dt.datetime], [dt.datetime(2026, 5, 5, 3, 4, 5, 6, tzinfo=UTC)]),
    "inet": (pg.INET(), [IPvAnyAddress, Shown], ["10.0.0.1", "::1"]),
    "network": (pg.CIDR(), [Shown], ["10.0.0.0/8"]),
    "mac": (pg.MACADDR(), [str], ["08:00:2b:01:02:03"]),
    "numbers between": (pg.INT4RANGE(), [Shown], [pg.Range(1, 5), pg.Range(None, 3), pg.Range(empty=True)]),
    "decimals between": (pg.NUMRANGE(), [Shown], [pg.Range(Decimal("1.5"), Decimal("2.50"), bounds="[]")]),
    "days between": (pg.DATERANGE(), [Shown], [WEEK, pg.Range()]),
    "weeks": (sa.ARRAY(pg.DATERANGE), [Shown], [[WEEK, pg.Range()], []]),
    "counts": (sa.ARRAY(pg.INT4RANGE, as_tuple=True), [Shown], [(pg.Range(1, 5), None), (pg.Range(empty=True),)]),
    "zoned moments between": (pg.TSTZRANGE(), [Shown], [pg.Range(dt.datetime(2026, 1, 1, tzinfo=UTC), None)]),
    "moments between": (pg.TSRANGE(), [Shown], [pg.Range(dt.datetime(2026, 1, 1), None, bounds="()")]),  # noqa: DTZ001
    "binary document": (pg.JSONB(), [Any, Settings], [{"theme": "a"}]),
    "json null": (pg.JSONB(), [Any], [None, sa.JSON.NULL]),
    "numeric": (sa.Numeric(20, 5), [Decimal, Any], [Decimal("12345.67890")]),
    "float": (sa.Double(), [float, Any], [math.nan, math.inf, -math.inf]),
    "real": (sa.REAL(), [float], [0.5]),
    "big decimal": (sa.Numeric(), [Decimal], [Decimal("123456789012345678901234567890.123456789")]),
}  # fmt: skip


@pytest.mark.drivers("postgresql+psycopg", "postgresql+asyncpg")
@pytest.mark.parametrize(("column", "annotation", "values"), cases(POSTGRESQL))
async def test_types_of_postgresql(db: AnyDatabase, column: Any, annotation: Any, values: list[Any]) -> None:
    await check(db, column, annotation, values)


@pytest.mark.drivers("postgresql+psycopg", "postgresql+asyncpg")
async def test_addresses_that_an_engine_reads_as_texts(db: AnyDatabase) -> None:
    asynchronous = isinstance(db, AsyncDatabase)
    make: Any = create_async_engine if asynchronous else sa.create_engine
    engine = make(db.engine.url, native_inet_types=False, poolclass=sa.NullPool)
    own: AnyDatabase = AsyncDatabase(engine) if asynchronous else Database(engine)
    await check(own, pg.INET(), Shown, ["10.0.0.1", "::1"])
