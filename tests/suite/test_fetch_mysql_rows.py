"""Which rows of a relationship, groups, and pages on MariaDB, whose subqueries in FROM know nothing of outer rows."""

from __future__ import annotations

import enum
import json
from typing import Annotated, Any

import pytest
from pydantic import create_model
from sqlalchemy import (
    ARRAY,
    Column,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    desc,
    func,
    select,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, registry, relationship

from querywright import Avg, Database, DatabaseError, Expr, First, Grouped, InvalidRow, Many, ShapeError, fetch
from tests.suite.models import Author, AuthorOut, Book, BookOut, Out
from tests.suite.support import AnyDatabase, add, by_orm, resolve, statements
from tests.suite.test_fetch_mappings import Animals
from tests.suite.test_fetch_mysql import small_packets
from tests.suite.zoo import Animal
from tests.tables import needs

__all__ = ["small_packets"]

MARIADB = pytest.mark.drivers("mariadb+pymysql", "mariadb+aiomysql")
ONE = pytest.mark.drivers("mariadb+pymysql")


class Tables(DeclarativeBase):
    pass


class Rank(enum.Enum):
    """In an order that is not that of its names."""

    z = 1
    a = 2
    M = 3


class Parent(Tables):
    __tablename__ = "mysql_parents"

    id: Mapped[int] = mapped_column(primary_key=True)
    children: Mapped[list[Child]] = relationship(order_by="Child.id")


class Child(Tables):
    __tablename__ = "mysql_children"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("mysql_parents.id"))
    name: Mapped[str] = mapped_column(String(20))
    rank: Mapped[Rank | None]
    size: Mapped[int]
    ratio: Mapped[float] = mapped_column(Float)


class ChildOut(Out):
    id: int
    name: str


NAMES = ["a", "A", "a ", "é", "e", 'q",{"', "日本"]
RANKS = [Rank.z, Rank.a, Rank.M, None]


@pytest.fixture
@needs(Tables.metadata)
async def family(db: AnyDatabase) -> AnyDatabase:
    """Two parents with fifteen children each, and one without."""
    await add(db, Parent(id=1), Parent(id=2), Parent(id=3))
    rows = [
        Child(id=n + 1, parent_id=1 + n % 2, name=NAMES[n % 7], rank=RANKS[n % 4], size=n % 10, ratio=n % 4 / 7)
        for n in range(30)
    ]
    await add(db, *rows)
    return db


def children(parent: int) -> list[dict[str, Any]]:
    return [{"id": n + 1, "name": NAMES[n % 7]} for n in range(30) if 1 + n % 2 == parent]


async def values(db: AnyDatabase, annotation: Any) -> list[Any]:
    """Fetch one field of each parent, in one statement."""
    model = create_model("M", value=(annotation, ...))
    with statements() as seen:
        rows = json.loads(await resolve(db.fetch(model, select(Parent).order_by(Parent.id)).json()))
    assert len(seen) == 1
    return [row["value"] for row in rows]


@MARIADB
async def test_groups_are_told_apart_by_case_and_space(family: AnyDatabase) -> None:
    found = await values(family, Annotated[dict[str, list[ChildOut]], Grouped("children", by="name")])
    for parent, groups in zip((1, 2), found, strict=False):
        assert groups == {name: [row for row in children(parent) if row["name"] == name] for name in NAMES}
    assert found[2] == {}


class Essay(Tables):
    __tablename__ = "mysql_essays"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]
    text: Mapped[str] = mapped_column(Text)
    line: Mapped[str] = mapped_column(String(3000))


LONG_ORDERS: dict[str, Any] = {
    "column": Essay.id,
    "downwards": Essay.id.desc(),
    "another column": (Essay.number, Essay.id),
    "expression": (Essay.number * -1, desc("id")),
    "name": "id",
    "text": text("number DESC, id"),
}


@MARIADB
@pytest.mark.parametrize("order", LONG_ORDERS)
async def test_rows_with_long_texts_keep_their_order(family: AnyDatabase, order: str) -> None:
    """A derived table that is kept on disk has its rows in another order than they were written in."""
    lengths = (3000, 0, 5, 30, 2900, 200, 8000)
    rows = [
        Essay(id=n, number=n % 3, text="x" * lengths[n % 7], line="y" * min(lengths[n * 3 % 7], 3000))
        for n in range(1, 500)
    ]
    await add(family, *rows)
    wanted = LONG_ORDERS[order]
    statement = select(Essay).order_by(*(wanted if isinstance(wanted, tuple) else (wanted,)))
    joined = statement.join(Child, Child.id == 1).distinct()
    for made in (statement, statement.limit(300), *([] if order in {"expression", "name", "text"} else [joined])):
        for fields in ({}, {"text": (str, ...), "line": (str, ...)}):
            model = create_model("EssayOut", __base__=Out, id=(int, ...), **fields)  # type: ignore[call-overload]
            expected = [row.id for row in await by_orm(family, model, made)]
            for strategy in ("statement", "levels"):
                fetched = family.fetch(model, made, strategy=strategy)
                assert [row.id for row in await resolve(fetched.all())] == expected
                assert [row["id"] for row in json.loads(await resolve(fetched.json()))] == expected
                assert (await resolve(fetched.first())).id == expected[0]
            if order == "column" and made is statement:
                assert [
                    row.id for page in (1, 2) for row in (await resolve(fetched.page(size=250, number=page))).items
                ] == expected


class Score(Tables):
    __tablename__ = "mysql_scores"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("mysql_parents.id"))
    number: Mapped[int | None]
    text: Mapped[str | None] = mapped_column(String(20))
    ratio: Mapped[float | None]


Parent.scores = relationship(Score, order_by=(Score.number, Score.text.desc(), Score.id))


class ScoreOut(Out):
    id: int


class ScoresOut(Out):
    id: int
    scores: list[ScoreOut]


@MARIADB
async def test_null_is_before_all_values(family: AnyDatabase) -> None:
    """GROUP_CONCAT of MariaDB takes it for 0 and for an empty text where it sorts."""
    numbers, texts = (None, 0, -1, 1), (None, "", "a")
    await add(family, *(Score(id=n, parent_id=1, number=numbers[n * 7 % 4], text=texts[n % 3]) for n in range(1, 30)))
    statement = select(Parent).order_by(Parent.id)
    expected = await by_orm(family, ScoresOut, statement)
    for strategy in ("statement", "levels"):
        assert await resolve(family.fetch(ScoresOut, statement, strategy=strategy).all()) == expected
    counted = select(func.count()).where(Child.id < Score.id).scalar_subquery()
    orders = ((Score.number, Score.id), (Score.text.desc(), Score.id), (Score.number * -1, Score.id), (counted.desc(),))
    for order in orders:
        ordered = select(Score).order_by(*order)
        for rows in (ordered, ordered.distinct(), ordered.limit(20)):
            keys = [row.id for row in await by_orm(family, ScoreOut, rows)]
            assert [row["id"] for row in json.loads(await resolve(family.fetch(ScoreOut, rows).json()))] == keys


@MARIADB
async def test_the_first_of_each(family: AnyDatabase) -> None:
    """The texts hold what could be taken for the end of one."""
    found = await values(family, Annotated[list[ChildOut], Many("children", order_by=desc("id"), limit=4)])
    assert found == [children(1)[::-1][:4], children(2)[::-1][:4], []]
    found = await values(family, Annotated[list[ChildOut], Many("children", limit=100)])
    assert found == [children(1), children(2), []]
    found = await values(family, Annotated[ChildOut | None, First("children", order_by=desc("id"))])
    assert found == [children(1)[-1], children(2)[-1], None]


@MARIADB
async def test_averages_have_all_their_digits(family: AnyDatabase) -> None:
    found = await values(family, Annotated[float | None, Avg("children", "size", where=Child.id < 7)])
    assert found == [2.0, 3.0, None]
    found = await values(family, Annotated[float | None, Avg("children", "size", where=Child.id.in_([1, 2, 3, 5, 9]))])
    assert found == [(0 + 2 + 4 + 8) / 4, 1.0, None]
    found = await values(family, Annotated[float | None, Avg("children", "size", where=Child.id.in_([1, 3, 9]))])
    assert found == [10 / 3, None, None]


ORDERS: list[list[Any]] = [
    [Child.rank],
    [Child.rank.desc(), Child.size],
    [Child.ratio],
    [Child.ratio.desc(), Child.name],
    [Child.name, Child.rank],
]


@MARIADB
@pytest.mark.parametrize("number", range(len(ORDERS)))
async def test_pages_by_what_is_compared_otherwise_than_ordered(family: AnyDatabase, number: int) -> None:
    statement = select(Child).order_by(*ORDERS[number])
    tie = Child.id.desc() if "DESC" in str(ORDERS[number][-1]) else Child.id
    whole = await resolve(family.fetch(ChildOut, statement.order_by(tie)).all())
    found: list[Any] = []
    cursor = None
    while len(found) <= len(whole):
        page = await resolve(family.fetch(ChildOut, statement).page(size=4, after=cursor))
        found += page.items
        cursor = page.next
        if cursor is None:
            break
    assert found == whole


@MARIADB
async def test_variants_keep_the_order_of_the_statement(zoo: AnyDatabase) -> None:
    for order in (Animal.weight, Animal.weight.desc(), Animal.name):
        statement = select(Animal).order_by(order)
        kinds = [row["kind"] for row in json.loads(await resolve(zoo.fetch(KindOut, statement).json()))]
        written = json.loads(await resolve(zoo.fetch(Animals, statement).json()))
        assert [row["kind"] for row in written] == kinds
        assert [row.root.kind for row in await resolve(zoo.fetch(Animals, statement).all())] == kinds


class KindOut(Out):
    kind: str


class LongOut(Out):
    id: int
    title: str


class LongBooks(Out):
    email: str | None
    books: list[LongOut]


class LongGroups(Out):
    books: Annotated[dict[int, LongOut], Grouped("books", by="id")]


class LongLists(Out):
    books: Annotated[dict[int, list[LongOut]], Grouped("books", by="pages")]


class LongTop(Out):
    books: Annotated[list[LongOut], Many("books", limit=300)]


class ShortTop(Out):
    books: Annotated[list[LongOut], Many("books", order_by=desc("id"), limit=3)]


@ONE
@pytest.mark.parametrize("options", [{}, {"exclude_none": True}])
async def test_a_text_of_any_kind_is_whole_or_refused(
    db: Database, small_packets: Engine, options: dict[str, bool]
) -> None:
    for count, more in ((40, 40), (300, 260)):
        with db.transaction() as tx:
            if count == 40:
                tx.add(Author(id=1, name="first"))
                tx.flush()
            for _ in range(more):
                tx.add(Book(author_id=1, title="x" * 90))
                # One by one, for an INSERT of all would be too long.
                tx.flush()
        for model in (LongBooks, LongGroups, LongLists, LongTop):
            query = fetch(small_packets, model, select(Author))
            if count == 40:
                assert query.json(**options).count(b'xxx"') == 40
            else:
                with pytest.raises(DatabaseError, match="max_allowed_packet"):
                    query.json(**options)
        top = fetch(small_packets, ShortTop, select(Author)).json_one(**options)
        assert [book["id"] for book in json.loads(top)["books"]] == [count, count - 1, count - 2]


class BrokenOut(Out):
    name: str | None
    email: Annotated[str, Expr(lambda author: author.email)]


class AllBroken(Out):
    pupils: list[BrokenOut]


@MARIADB
@pytest.mark.parametrize("options", [{}, {"exclude_none": True}])
@pytest.mark.parametrize(("model", "path"), [(BrokenOut, "BrokenOut: "), (AllBroken, r"AllBroken.pupils\[\]: ")])
async def test_a_broken_row_is_broken_in_any_form(
    db: AnyDatabase, model: Any, path: str, options: dict[str, bool]
) -> None:
    await add(db, Author(id=1, name="first", email="a@b.c"), Author(id=2, name="second", mentor_id=1))
    with pytest.raises(InvalidRow, match=path):
        await resolve(db.fetch(model, select(Author)).json(**options))


@MARIADB
async def test_explain_follows_the_prelude(db: AnyDatabase) -> None:
    for analyze, word in ((False, "possible_keys"), (True, "r_total_time_ms")):
        assert word in await resolve(db.fetch(AuthorOut, select(Author).where(Author.id > 0)).explain(analyze=analyze))
        assert "books" in await resolve(db.fetch(BookOut, select(Book)).explain(analyze=analyze))


@ONE
async def test_what_there_is_not_on_mariadb_is_refused(db: AnyDatabase) -> None:
    class Listing:
        pass

    mapping = registry(metadata=MetaData())
    mapping.map_imperatively(
        Listing,
        Table(
            "listings",
            mapping.metadata,
            Column("id", Integer, primary_key=True),
            Column("tags", ARRAY(Integer), nullable=False),
        ),
    )
    model = create_model("ListingOut", __base__=Out, tags=(list[int], ...))
    with pytest.raises(ShapeError, match=r"ListingOut.tags: Querywright cannot read ARRAY.* on mariadb"):
        await resolve(db.fetch(model, select(Listing)).all())
