"""Values that no column should have, settings that change what a database writes, types with a will of their own."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextvars import ContextVar
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from pydantic import AllowInfNan, ConfigDict, TypeAdapter, create_model
from sqlalchemy import ForeignKey, bindparam, select, text
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column, relationship

from querywright import Count, DatabaseError, Grouped, InvalidRow, Many, ShapeError, fetch
from tests.suite.models import Author, Book, Out
from tests.suite.support import AnyDatabase, add, resolve, run_sync, session, validate

POSTGRES = pytest.mark.drivers("postgresql+psycopg", "postgresql+asyncpg")
SQLITE = pytest.mark.drivers("sqlite+pysqlite")


class Lower(sa.TypeDecorator[str]):
    impl = sa.String(20)
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return value and value.lower()


class NoNull(sa.TypeDecorator[str]):
    """Makes a value of NULL."""

    impl = sa.String(20)
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Any) -> str:
        return value or "-"


class Documents(sa.TypeDecorator[Any]):
    """Makes a value of NULL, and of a document."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return [] if value is None else value


def one_table(key: Any, **columns: Any) -> tuple[Any, Any]:
    """Map a table, and one whose rows belong to its rows."""

    class Base(DeclarativeBase):
        pass

    below = {"id": mapped_column(sa.Integer, primary_key=True), "fk": mapped_column(key, ForeignKey("hostile.k"))}
    child = type("Child", (Base,), {"__tablename__": "hostile_children", **below})
    mapped = {name: mapped_column(kind) for name, kind in columns.items()}
    children = relationship(child, order_by=below["id"])
    attributes = {"k": mapped_column(key, primary_key=True, autoincrement=False), "children": children, **mapped}
    return type("Parent", (Base,), {"__tablename__": "hostile", **attributes}), child


async def fetched(
    db: AnyDatabase, parent: Any, before: list[str], ask: Callable[[Any], Any], reset: str = "SELECT 1"
) -> Any:
    """Make the tables of a class, run some statements, fetch, and undo all."""
    async with session(db) as opened:
        if db.engine.dialect.name == "mariadb":
            await run_sync(opened, lambda sync: parent.metadata.drop_all(sync.connection()))
        await run_sync(opened, lambda sync: parent.metadata.create_all(sync.connection()))
        for statement in before:
            await resolve(opened.execute(text(statement.replace(":", r"\:"))))
        try:
            return await ask(opened)
        finally:
            await resolve(opened.rollback())
            await resolve(opened.execute(text(reset)))


async def both(opened: Any, model: Any, parent: Any) -> list[Any]:
    """Check that bytes and instances are those of the ORM, which they are returned of."""
    statement = select(parent).order_by(parent.k)
    expected = await run_sync(opened, lambda sync: validate(sync, model, statement))
    for strategy in ("statement", "levels"):
        found = opened.fetch(model, statement, strategy=strategy)
        assert await resolve(found.all()) == expected
        assert json.loads(await resolve(found.json())) == TypeAdapter(list[model]).dump_python(expected, mode="json")
    return expected


class ChildOut(Out):
    id: int


class ParentOut(Out):
    children: list[ChildOut]


@POSTGRES
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("stored", ["1500-01-01 00:00+00", "1850-06-01 12:00:00.123456+00", "2024-10-27 00:30+00"])
async def test_moments_as_keys(db: AnyDatabase, stored: str, zone: str) -> None:
    """Before there were time zones, their offsets had seconds."""
    parent, _ = one_table(sa.DateTime(timezone=True))
    rows = [f"INSERT INTO hostile VALUES ('{stored}')", f"INSERT INTO hostile_children VALUES (1, '{stored}')"]
    [only] = await fetched(db, parent, [f"SET LOCAL timezone = '{zone}'", *rows], lambda s: both(s, ParentOut, parent))
    assert [child.id for child in only.children] == [1]


@POSTGRES
async def test_keys_that_no_driver_binds_are_an_error(db: AnyDatabase) -> None:
    parent, _ = one_table(sa.DateTime(timezone=True))
    rows = ["INSERT INTO hostile VALUES ('infinity')", "INSERT INTO hostile_children VALUES (1, 'infinity')"]

    async def ask(opened: Any) -> None:
        assert await resolve(opened.fetch(ParentOut, select(parent)).json()) == b'[{"children":[{"id":1}]}]'
        with pytest.raises(InvalidRow, match="a date beyond those of Python"):
            await resolve(opened.fetch(ParentOut, select(parent), strategy="levels").json())

    await fetched(db, parent, rows, ask)


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg", "postgresql+asyncpg", "mariadb+pymysql")
async def test_floats_as_keys_are_never_split(db: AnyDatabase) -> None:
    parent, _ = one_table(sa.REAL)
    rows = ["INSERT INTO hostile VALUES (0.5)", "INSERT INTO hostile_children VALUES (1, 0.5)"]

    async def ask(opened: Any) -> None:
        options = {"querywright_largest_json": 1}
        for statement in (select(parent), select(parent).execution_options(**options)):
            assert await resolve(opened.fetch(ParentOut, statement).json()) == b'[{"children":[{"id":1}]}]'
        with pytest.raises(ShapeError, match="Parent has a key of floating-point numbers"):
            await resolve(opened.fetch(ParentOut, select(parent), strategy="levels").json())

    await fetched(db, parent, rows, ask)


async def test_types_that_make_a_value_of_null(db: AnyDatabase) -> None:
    parent, _ = one_table(sa.Integer, name=NoNull, data=Documents)
    model = create_model("NullOut", __base__=Out, k=(int, ...), name=(str | None, ...), data=(Any, ...))
    rows = ["INSERT INTO hostile VALUES (1, NULL, NULL)", "INSERT INTO hostile VALUES (2, 'x', '{\"a\": null}')"]
    first, second = await fetched(db, parent, rows, lambda s: both(s, model, parent))
    assert (first.name, first.data, second.name, second.data) == ("-", [], "x", {"a": None})


@SQLITE
async def test_keys_of_groups_have_plain_types(db: AnyDatabase) -> None:
    parent, child = one_table(sa.Integer)
    child.name = mapped_column(Lower)
    grouped = Annotated[dict[str, list[ChildOut]], Grouped("children", by="name")]
    model = create_model("GroupsOut", __base__=Out, children=(grouped, ...))
    with pytest.raises(ShapeError, match=r"GroupsOut.children: Child.name has a type of its own"):
        await resolve(db.fetch(model, select(parent)).json())


def unseal(stored: str) -> Any:
    return json.loads(base64.b64decode(json.loads(stored)["sealed"]))


@pytest.mark.parametrize(
    ("stored", "parse"),
    [
        (json.dumps({"sealed": base64.b64encode(b'{"a": [1.5, null]}').decode()}), unseal),
        ('{"a": 1.5}', lambda written: json.loads(written, parse_float=Decimal)),
        ('{"a": 1.5}', json.loads),
    ],
)
def test_the_parser_of_an_engine_reads_documents(stored: str, parse: Any) -> None:
    parent, _ = one_table(sa.Integer, data=sa.JSON, more=Documents)
    model = create_model("DataOut", __base__=Out, data=(Any, ...), more=(Any, ...))
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool, json_deserializer=parse)
    parent.metadata.create_all(engine)
    with Session(engine) as opened:
        opened.execute(text("INSERT INTO hostile VALUES (1, :stored, :stored)"), {"stored": stored})
        [expected] = validate(opened, model, select(parent))
        found = fetch(opened, model, select(parent))
        assert found.one() == expected
        assert found.json_one() == expected.model_dump_json().encode()
    engine.dispose()


@POSTGRES
@pytest.mark.parametrize("digits", [0, -15])
async def test_settings_that_cut_numbers_off(db: AnyDatabase, digits: int) -> None:
    parent, _ = one_table(sa.Integer, double=sa.Double)
    model = create_model("DoubleOut", __base__=Out, double=(float | None, ...))
    rows = ["INSERT INTO hostile VALUES (1, 0.1 + 0.2)", f"SET LOCAL extra_float_digits = {digits}"]

    async def ask(opened: Any) -> None:
        for verb in ("json", "all"):
            with pytest.raises(DatabaseError, match="extra_float_digits is below 1"):
                await resolve(getattr(opened.fetch(model, select(parent)), verb)())

    await fetched(db, parent, rows, ask)


@POSTGRES
@pytest.mark.parametrize("stored", ["NaN", "Infinity", "-Infinity"])
async def test_decimals_that_pydantic_takes_for_none(db: AnyDatabase, stored: str) -> None:
    parent, _ = one_table(sa.Integer, number=sa.Numeric)
    rows = [f"INSERT INTO hostile VALUES (1, '{stored}')"]
    strict = create_model("StrictOut", __base__=Out, number=(Decimal | None, ...))
    config = ConfigDict(from_attributes=True)
    lenient = create_model("LenientOut", __config__=config, number=(Annotated[Decimal, AllowInfNan(True)] | None, ...))

    async def ask(opened: Any) -> None:
        with pytest.raises(InvalidRow, match="a decimal that is not finite"):
            await resolve(opened.fetch(strict, select(parent)).json())
        with pytest.raises(ValueError, match="finite"):
            await resolve(opened.fetch(strict, select(parent)).all())
        assert str((await resolve(opened.fetch(lenient, select(parent)).one())).number) == stored

    await fetched(db, parent, rows, ask)


@pytest.mark.drivers("mariadb+pymysql", "mariadb+aiomysql")
async def test_zeros_in_front_and_sets(db: AnyDatabase) -> None:
    kinds = {"known": mysql.INTEGER(5, zerofill=True), "number": mysql.DECIMAL(5, 2, zerofill=True)}
    parent, _ = one_table(sa.Integer, plain=sa.Integer, **kinds, names=mysql.SET("a", "b"))
    held = {"plain": int, "known": int, "number": Decimal, "names": set[str]}
    fields: dict[str, Any] = {name: (kind | None, ...) for name, kind in held.items()}
    model = create_model("ZerosOut", __base__=Out, **fields)
    rows = ["ALTER TABLE hostile MODIFY plain INT(5) ZEROFILL", "INSERT INTO hostile VALUES (1, 5, 5, 1.5, 'a')"]
    [only] = await fetched(db, parent, rows, lambda s: both(s, model, parent), "DROP TABLE hostile_children, hostile")
    assert (only.plain, only.names) == (5, {"a"})


@SQLITE
@pytest.mark.parametrize("stored", ["''", "'n/a'", "'2020-01-01'", "x'00'"])
@pytest.mark.parametrize("kind", [sa.Float, sa.Numeric, sa.Numeric(30, 20)])
async def test_numbers_that_are_none(db: AnyDatabase, kind: Any, stored: str) -> None:
    parent, _ = one_table(sa.Integer, number=kind)
    model = create_model("NumberOut", __base__=Out, number=((float if kind is sa.Float else Decimal) | None, ...))

    async def ask(opened: Any) -> None:
        for verb in ("json", "all"):
            with pytest.raises(InvalidRow, match=r"a value that is not a number"):
                await resolve(getattr(opened.fetch(model, select(parent)), verb)())

    await fetched(db, parent, [f"INSERT INTO hostile VALUES (1, {stored})"], ask)


_DAY_AND_TIME = ["1", "-7", "2451545.5", "9e999", "''", "'12'", "'now'", "x'3132'"]
_OF_OTHER_KINDS = [
    *((sa.DateTime, datetime, stored, "a value that is not a moment") for stored in [*_DAY_AND_TIME, "'12:00:00'"]),
    *((sa.Time, time, stored, "a value that is not a time") for stored in [*_DAY_AND_TIME, "'2020-01-01 12:00:00'"]),
    *((sa.Date, date, stored, "a value that is not a date") for stored in [*_DAY_AND_TIME, "'2020-01-01 12:00:00'"]),
    *((sa.Uuid, UUID, stored, "a value that is not a uuid") for stored in ["1", "''", "'abc'"]),
    *(
        (kind, int, stored, "an integer that is infinite")
        for kind in (sa.Integer, sa.BigInteger)
        for stored in ["9e999"]
    ),
    *((sa.Integer, int, stored, "an integer that is infinite") for stored in ["-9e999"]),
]


@SQLITE
@pytest.mark.parametrize(("kind", "of_field", "stored", "told"), _OF_OTHER_KINDS)
async def test_values_of_another_kind(db: AnyDatabase, kind: Any, of_field: Any, stored: str, told: str) -> None:
    """SQLite takes a number for a moment, and keeps any value in any column."""
    parent, _ = one_table(sa.Integer, value=kind)
    model = create_model("KindOut", __base__=Out, k=(int, ...), value=(of_field | None, ...))

    async def ask(opened: Any) -> None:
        for strategy in ("statement", "levels"):
            for verb in ("json", "all"):
                with pytest.raises(InvalidRow, match=told):
                    await resolve(getattr(opened.fetch(model, select(parent), strategy=strategy), verb)())

    await fetched(db, parent, [f"INSERT INTO hostile VALUES (1, {stored})"], ask)


@pytest.mark.parametrize(
    ("kind", "of_field"),
    [(sa.Integer(), int), (sa.String(20), str), (sa.Boolean(), bool), (sa.Date(), date), (sa.Numeric(9, 2), Decimal)],
    ids=repr,
)
async def test_a_null_of_which_the_mapping_does_not_know(db: AnyDatabase, kind: Any, of_field: Any) -> None:
    class Base(DeclarativeBase):
        pass

    parent, _ = one_table(sa.Integer, value=kind)
    columns = {"k": mapped_column(sa.Integer, primary_key=True), "value": mapped_column(kind, nullable=False)}
    strict = type("Strict", (Base,), {"__tablename__": "hostile", **columns})
    model = create_model("StrictOut", __base__=Out, k=(int, ...), value=(of_field, ...))

    async def ask(opened: Any) -> None:
        for strategy in ("statement", "levels"):
            for verb in ("json", "all"):
                with pytest.raises(InvalidRow, match="StrictOut"):
                    await resolve(getattr(opened.fetch(model, select(strict), strategy=strategy), verb)())

    await fetched(db, parent, ["INSERT INTO hostile (k) VALUES (1)"], ask)


@SQLITE
async def test_an_empty_text_is_false_and_texts_that_look_infinite_stay(db: AnyDatabase) -> None:
    parent, _ = one_table(sa.Integer, flag=sa.Boolean, text=sa.String)
    model = create_model("FlagOut", __base__=Out, flag=(bool | None, ...), text=(str | None, ...))
    rows = ["(1, '', '\"a\":Inf,')", "(2, 'x', ':Inf,')", "(3, NULL, '[Inf]')", "(4, 0, '\"}')"]
    found = await fetched(
        db, parent, [f"INSERT INTO hostile VALUES {row}" for row in rows], lambda s: both(s, model, parent)
    )
    assert [row.flag for row in found] == [False, True, None, False]


TENANT: ContextVar[int] = ContextVar("TENANT")


class OfTenant(Out):
    books: Annotated[list[ChildOut], Many("books", where=lambda b: b.pages == bindparam(None, callable_=TENANT.get))]
    count: Annotated[int, Count("books", where=Book.pages == bindparam(None, callable_=TENANT.get))]


async def test_values_of_the_moment(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="Ada"))
    await add(db, *(Book(id=n, author_id=1, title="t", pages=n) for n in (1, 2)))
    for tenant in (1, 2, 1):
        TENANT.set(tenant)
        for strategy in ("statement", "levels"):
            [row] = await resolve(db.fetch(OfTenant, select(Author), strategy=strategy).all())
            assert ([book.id for book in row.books], row.count) == ([tenant], 1)
