"""What only MySQL and MariaDB have: their types, their modes and collations, and texts that they cut."""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from pydantic import Field, TypeAdapter, create_model
from sqlalchemy import BigInteger, Double, Engine, Enum, ForeignKey, NullPool, Select, Uuid, create_engine, select, text
from sqlalchemy import String as Varchar
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from querywright import Database, DatabaseError, InvalidRow, TransactionConflict, fetch
from querywright.engine import classify
from querywright.fetching.writers.mysql import _literal
from tests.mariadb import PrivateMariaDB
from tests.suite.models import Author, AuthorOut, Book, Everything, EverythingOut, NameOut, Out, Tag, TagOut
from tests.suite.support import AnyDatabase, add, by_orm, resolve, session, transaction
from tests.suite.test_fetch_values import FULL, a_row
from tests.tables import needs

MARIADB = pytest.mark.drivers("mariadb+pymysql", "mariadb+aiomysql")
ONE = pytest.mark.drivers("mariadb+pymysql")


class Tables(DeclarativeBase):
    pass


class Mark(enum.Enum):
    a = 'an "a"'
    A = "A"
    b = "\\é"


class Root(Tables):
    __tablename__ = "mysql_roots"

    id: Mapped[int] = mapped_column(primary_key=True)
    items: Mapped[list[Item]] = relationship(order_by="Item.rank")


class Item(Tables):
    """One column of each type that neither of the other databases has, or writes otherwise."""

    __tablename__ = "mysql_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    root_id: Mapped[int] = mapped_column(ForeignKey("mysql_roots.id"))
    rank: Mapped[str] = mapped_column(Varchar(2))
    big: Mapped[int] = mapped_column(BigInteger)
    unsigned: Mapped[int] = mapped_column(mysql.BIGINT(unsigned=True))
    zerofill: Mapped[int] = mapped_column(mysql.INTEGER(unsigned=True, zerofill=True))
    single: Mapped[float] = mapped_column(mysql.FLOAT)
    double: Mapped[float] = mapped_column(Double)
    rounded: Mapped[float] = mapped_column(mysql.DOUBLE(10, 2, asdecimal=False))
    decimal: Mapped[Decimal] = mapped_column(mysql.DECIMAL(65, 30))
    latin1: Mapped[str] = mapped_column(mysql.VARCHAR(9, charset="latin1"))
    ucs2: Mapped[str] = mapped_column(mysql.VARCHAR(9, charset="ucs2"))
    unicode: Mapped[str] = mapped_column(mysql.VARCHAR(9, collation="utf8mb4_unicode_ci"))
    binary: Mapped[str] = mapped_column(mysql.VARCHAR(9, collation="utf8mb4_bin"))
    mark: Mapped[Mark] = mapped_column(mysql.ENUM(Mark, collation="utf8mb4_bin"))
    written: Mapped[str] = mapped_column(Enum('p"q', "é"))
    moment: Mapped[dt.datetime] = mapped_column(mysql.DATETIME(fsp=3))
    stamp: Mapped[dt.datetime] = mapped_column(mysql.TIMESTAMP(fsp=6))
    day: Mapped[dt.date]
    native: Mapped[uuid.UUID]
    digits: Mapped[uuid.UUID] = mapped_column(Uuid(native_uuid=False))
    large: Mapped[str] = mapped_column(mysql.LONGTEXT)
    data: Mapped[dict[str, Any]] = mapped_column(mysql.JSON)


LEAST: dict[str, Any] = {
    "id": 1, "root_id": 1, "rank": "b", "big": -(2**63), "unsigned": 0, "zerofill": 7, "single": 0.1,
    "double": -2.2250738585072014e-308, "rounded": -12345678.12, "decimal": Decimal("-" + "9" * 35 + "." + "9" * 30),
    "latin1": 'é"ß', "ucs2": 'é"漢', "unicode": "é\\😀", "binary": "\x01\x1f/", "mark": Mark.a, "written": 'p"q',
    "moment": dt.datetime(1000, 1, 1), "stamp": dt.datetime(2026, 1, 2, 3, 4, 5, 1),  # noqa: DTZ001 - naive
    "day": dt.date(1, 1, 1), "native": uuid.UUID(int=10), "digits": uuid.UUID(int=10), "large": "\x01" * 400_000,
    "data": {"z": 1, "a": ['é"\\', "😀", None, 1.5]},
}  # fmt: skip
MOST: dict[str, Any] = {
    **LEAST, "id": 2, "rank": "a", "big": 2**63 - 1, "unsigned": 2**64 - 1, "zerofill": 2**32 - 1, "single": 1e9 / 7,
    "double": -1.7976931348623157e308, "mark": Mark.A, "written": "é", "day": dt.date(9999, 12, 31),
    "native": uuid.UUID(int=2**128 - 1), "digits": uuid.UUID(int=2**128 - 1), "large": "漢😀" * 200_000, "data": {},
}  # fmt: skip
FIELDS: dict[str, Any] = {
    name: attribute.type.python_type for name, attribute in Item.__table__.columns.items() if name != "root_id"
}
FIELDS["mark"], FIELDS["data"] = Mark, dict[str, Any]


@pytest.fixture
@needs(Tables.metadata)
async def mysql_items(db: AnyDatabase) -> AnyDatabase:
    await add(db, Root(id=1))
    await add(db, Item(**LEAST), Item(**MOST))
    return db


@MARIADB
@pytest.mark.parametrize("names", [[name] for name in FIELDS] + [list(FIELDS)], ids=lambda names: names[-1])
async def test_every_type_of_theirs_equals_orm_and_pydantic(mysql_items: AnyDatabase, names: list[str]) -> None:
    item = create_model("ItemOut", __base__=Out, **{name: (FIELDS[name], ...) for name in names})
    root = create_model("RootOut", __base__=Out, items=(list[item], ...))
    for model, statement in ((item, select(Item).order_by(Item.rank)), (root, select(Root))):
        expected = await by_orm(mysql_items, model, statement)
        assert await resolve(mysql_items.fetch(model, statement).all()) == expected
        written = await resolve(mysql_items.fetch(model, statement).json())
        assert TypeAdapter(list[model]).validate_json(written) == expected


MODES = ["", "ANSI", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,PIPES_AS_CONCAT", "PAD_CHAR_TO_FULL_LENGTH", "MSSQL"]


class AliasedOut(Out):
    name: str = Field(serialization_alias="back\\slash 'quote' \"é😀\" %s :x \\' OR 1=1")
    email: str | None


@ONE
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("names", ["utf8mb4", "utf8mb4 COLLATE utf8mb4_unicode_520_ci", "utf8mb3", "latin1"])
async def test_any_mode_and_any_character_set(db: Database, mode: str, names: str) -> None:
    await add(db, Author(id=1, name="first"), a_row(text="\\"), a_row(**FULL, text="'"))
    await add(db, Author(id=2, name="second", mentor_id=1), Book(author_id=1, title="\\\"'"))
    begin = {"init_command": f"SET NAMES {names}, sql_mode='{mode}'"}
    engine = create_engine(db.engine.url, connect_args=begin, poolclass=NullPool)
    for model, root in ((AuthorOut, Author), (EverythingOut, Everything)):
        statement = select(root).order_by(root.id)
        expected = await by_orm(db, model, statement)
        assert fetch(engine, model, statement).all() == expected
        assert TypeAdapter(list[model]).validate_json(fetch(engine, model, statement).json()) == expected
    if names.startswith("utf8mb4"):
        # Any other would put question marks for what it does not have, as it does in the ORM's rows.
        row = json.loads(fetch(engine, AliasedOut, select(Author).where(Author.id == 1)).json_one())
        assert list(row) == [AliasedOut.model_fields["name"].serialization_alias, "email"]


@ONE
@pytest.mark.parametrize("mode", MODES)
async def test_a_literal_is_the_text_in_any_mode(db: Database, mode: str) -> None:
    engine = create_engine(db.engine.url, connect_args={"init_command": f"SET sql_mode='{mode}'"}, poolclass=NullPool)
    with engine.connect() as connection:
        for word in (
            "\\",
            "\\' OR 1=1 -- ",
            "it's",
            "''",
            '"',
            "é😀\u2028",
            "\x00\x01\x7f\n",
            "%s %% :x",
            "`",
            "\\\\'",
        ):
            assert connection.scalar(select(_literal(word))) == word


@MARIADB
async def test_names_of_an_enum_are_told_apart_by_case_and_space(db: AnyDatabase) -> None:
    await add(db, a_row())
    for stored in ("essay", "ESSAY ", "éssay"):
        async with transaction(db) as tx:
            await resolve(tx.execute(text(f"UPDATE everything SET genre = '{stored}'")))
        with pytest.raises(InvalidRow, match="Genre"):
            await resolve(db.fetch(EverythingOut, select(Everything)).json())


@MARIADB
async def test_order_survives_where_a_subquery_would_lose_it(db: AnyDatabase) -> None:
    """The order is neither that of the key nor that of the first column, with and without a joined row or a limit."""
    await add(db, *(Author(id=n, name=f"{n * 7 % 10}", email=f"{n * 3 % 10}") for n in range(1, 10)))
    models: tuple[Any, ...] = (NameOut, AuthorOut)
    for model in models:
        for statement in (select(Author).order_by(Author.name.desc()), select(Author).order_by(Author.email).limit(5)):
            expected = [row.id for row in await by_orm(db, NameOut, statement)]
            assert [row.id for row in await resolve(db.fetch(model, statement).all())] == expected
            assert [row["id"] for row in json.loads(await resolve(db.fetch(model, statement).json()))] == expected
            first = await resolve(db.fetch(model, statement).first())
            assert first is not None
            assert first.id == expected[0]


@pytest.fixture
async def small_packets(mariadb: PrivateMariaDB, db: Database) -> AsyncIterator[Engine]:
    """Connections with the smallest packets that leave room for the statements."""
    root = create_engine(db.engine.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with root.connect() as connection:
        connection.execute(text(f"SET GLOBAL max_allowed_packet={PACKET}"))
    engine = create_engine(db.engine.url, poolclass=NullPool)
    yield engine
    with root.connect() as connection:
        connection.execute(text(f"SET GLOBAL max_allowed_packet={2**24}"))


PACKET = 16384


class BooksOut(Out):
    books: list[TitleOut]


class TitleOut(Out):
    title: str


class TextsOut(Out):
    text: str


@ONE
@pytest.mark.parametrize("letter", ["x", "é", "漢", "😀", '"'])
async def test_a_text_is_whole_or_refused(db: Database, small_packets: Engine, letter: str) -> None:
    """Around the limit, byte by byte: what comes back is all there is, or an error that says so."""
    size = len(json.dumps(letter, ensure_ascii=False).encode()) - 2
    title = letter * (180 // size)
    each = 180 + len('{"title":""},')
    count = (PACKET - 40) // each
    with db.transaction() as tx:
        tx.add(Author(id=1, name="first"))
        tx.flush()
        for number in range(1, count + 2):
            tx.add(Book(id=number, author_id=1, title=title))
            # One by one, for an INSERT of all would be too long as well.
            tx.flush()
    outcomes: set[str] = set()
    for length in range(PACKET - count * each - 30, PACKET - count * each - 4):
        with db.transaction() as tx:
            tx.get_one(Book, 1).title = "x" * length
        for model, statement in ((BooksOut, select(Author)), (TitleOut, select(Book).order_by(Book.id))):
            with Session(small_packets) as plain:
                expected = TypeAdapter(list[model]).validate_python(
                    plain.scalars(statement).all(), from_attributes=True
                )
            outcomes.add(_outcome(small_packets, model, statement, expected))
    assert outcomes == {"whole", "refused"}


def _outcome(engine: Engine, model: type[Out], statement: Select[Any], expected: list[Any]) -> str:
    try:
        written, rows = fetch(engine, model, statement).json(), fetch(engine, model, statement).all()
    except DatabaseError as error:
        return "refused" if "max_allowed_packet" in str(error) else str(error)
    assert TypeAdapter(list[model]).validate_json(written) == rows == expected
    return "whole"


@MARIADB
async def test_arrays_longer_than_the_sessions_limit(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="first"))
    await add(db, *(Book(id=n, author_id=1, title="x" * 200) for n in range(1, 101)))
    async with session(db) as opened:
        await resolve(opened.execute(text("SET SESSION group_concat_max_len=1024")))
        [author] = await resolve(opened.fetch(BooksOut, select(Author)).all())
        assert len(author.books) == 100
        assert len(await resolve(opened.fetch(TitleOut, select(Book)).all())) == 100
        assert await resolve(opened.scalar(text("SELECT @@group_concat_max_len"))) == 1024


@ONE
async def test_plain_engines_of_either_name(db: Database) -> None:
    """Also before the first connection has told whose server it is."""
    await add(db, Author(id=1, name="first"), a_row(**FULL))
    expected = await by_orm(db, EverythingOut, select(Everything))
    for name in ("mysql", "mariadb"):
        plain = create_engine(db.engine.url.set(drivername=f"{name}+pymysql"), poolclass=NullPool)
        assert fetch(plain, NameOut, select(Author)).json() == b'[{"id":1,"name":"first"}]'
        assert fetch(plain, EverythingOut, select(Everything)).all() == expected
        asynchronous = create_async_engine(
            db.engine.url.set(drivername=f"{name}+aiomysql", query={}), poolclass=NullPool
        )
        assert await fetch(asynchronous, EverythingOut, select(Everything)).all() == expected
        await asynchronous.dispose()


@MARIADB
async def test_session_settings(db: AnyDatabase) -> None:
    names = ("time_zone", "innodb_lock_wait_timeout", "max_statement_time", "idle_transaction_timeout")
    async with session(db) as opened:
        shown = [await resolve(opened.scalar(text(f"SELECT @@{name}"))) for name in names]
    assert shown == ["+00:00", 10, 30.0, 60]


@ONE
async def test_a_deadlock_ends_the_transaction_for_good(db: Database) -> None:
    """The server has rolled back all of it: what follows must not be committed on its own."""
    with db.transaction() as tx:
        tx.add_all([Tag(id=1, name="one"), Tag(id=2, name="two")])
    first, second = db.session(), db.session()
    with first, second:
        for opened, tag in ((first, 1), (second, 2)):
            opened.execute(text(f"UPDATE tags SET name = 'held {tag}' WHERE id = {tag}"))
        failed = _deadlock(first, second)
        assert failed is not None
        loser, error = failed
        assert isinstance(classify(error), TransactionConflict)
        with pytest.raises(Exception, match=r"rolled back|invalid transaction"):
            loser.execute(text("INSERT INTO tags VALUES (3, 'lost')"))
    assert db.fetch(TagOut, select(Tag).where(Tag.id == 3)).first() is None


def _deadlock(first: Session, second: Session) -> tuple[Session, DBAPIError] | None:
    """Let each want what the other holds; returns the one that lost."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - beside its only use

    def want(opened: Session, tag: int) -> DBAPIError | None:
        try:
            opened.execute(text(f"UPDATE tags SET name = 'wanted {tag}' WHERE id = {tag}"))
        except DBAPIError as error:
            return error
        # Lets the other go on.
        opened.rollback()
        return None

    with ThreadPoolExecutor(2) as threads:
        futures = [(opened, threads.submit(want, opened, tag)) for opened, tag in ((first, 2), (second, 1))]
        results = [(opened, future.result()) for opened, future in futures]
    return next(((opened, error) for opened, error in results if error is not None), None)
