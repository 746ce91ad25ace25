"""Pages of every kind of statement are its rows in its order, or are refused; the kinds that were wrong once, by name.

`tests/paging` invents such statements.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Select, collate, func, literal, literal_column, select, text, tuple_, union, union_all
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.orm import aliased, defer, joinedload, subqueryload

from querywright import InvalidCursor, ShapeError
from tests.paging.tables import (
    FANS,
    FRIENDS,
    Base,
    IdOut,
    Memo,
    Paper,
    PaperOut,
    Part,
    PartOfOut,
    PersonOut,
    Sample,
    SampleOut,
    Size,
    Team,
    Thing,
    Tool,
    Word,
    WordOut,
    Worker,
)  # fmt: skip
from tests.suite.support import AnyDatabase, resolve, statements, transaction
from tests.tables import needs

ONE_OF_EACH = pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg", "postgresql+asyncpg", "mariadb+pymysql")
POSTGRESQL = pytest.mark.drivers("postgresql+psycopg", "postgresql+asyncpg")
pytestmark = pytest.mark.filterwarnings("ignore:Dialect sqlite.* does .not. support Decimal")

MOMENT = dt.datetime.fromisoformat("2020-01-01T12:00:00")
PRICES = [Decimal(price) for price in ("1.10", "2.10", "3.10", "0.10", "1.10", "2.10", "3.10")]


def sample(number: int, **values: Any) -> dict[str, Any]:
    """Write a row with a value in each column that the server does not fill."""
    usual: dict[str, Any] = {
        "id": number, "text": "abc"[number % 3], "short": "AbaBcC"[number % 6], "number": number % 2,
        "small": 1, "big": 2**62 - number, "flag": True, "ratio": number / 3, "single": number / 3, "loose": number / 3,
        "price": PRICES[number - 1], "exact": PRICES[number - 1], "day": dt.date(2020, 1, number),
        "clock": dt.time(12), "local": MOMENT, "size": [Size.LARGE, Size.SMALL, Size.MIDDLE][number % 3],
        "size_name": Size.SMALL, "key": sa.Uuid().python_type(int=number << 96 | 4 << 76 | 8 << 60), "binary": b"\x00",
    }  # fmt: skip
    return usual | values


ROWS: list[tuple[Any, list[dict[str, Any]]]] = [
    (Team, [{"id": n, "name": f"team {n}", "region": None, "rank": 1} for n in (1, 2)]),
    (Sample, [sample(n, team_id=[None, 1, 2][n % 3], next_id=n + 1) for n in range(1, 8)]),
    (
        Part,
        [
            {"id": n, "sample_id": 1 + n % 3, "name": f"part {n % 2}", "amount": 2_000_000_000, "cost": PRICES[n % 7]}
            for n in range(1, 8)
        ],
    ),
    (FRIENDS, [{"sample_id": n, "team_id": team} for n in (1, 2, 3) for team in (1, 2)]),
    (FANS, [{"sample_id": 1, "team_id": 1}] * 2),
    (Word, [{"part_id": n, "word": word} for n in (1, 2) for word in ("one", "two")]),
    (Thing, [{"id": n, "kind": "tool" if n % 2 else "thing", "name": "cab"[n % 3], "team_id": 1} for n in range(1, 7)]),
    (Tool, [{"id": n, "weight": 7 - n} for n in (1, 3, 5)]),
    (Paper, [{"id": n, "name": "ab"[n % 2]} for n in (1, 2, 3)]),
    (Memo, [{"id": n, "name": "ab"[n % 2], "lines": n} for n in (1, 2, 3)]),
]


@pytest.fixture
@needs(Base.metadata)
async def samples(db: AnyDatabase) -> AnyDatabase:
    """The tables of tests/paging, with some rows in each, written without the columns that the server fills."""
    async with transaction(db) as tx:
        for cls, rows in ROWS:
            await resolve(tx.execute(getattr(cls, "__table__", cls).insert(), rows))
    return db


async def walked(db: AnyDatabase, model: Any, statement: Select[Any], size: int = 2, **values: Any) -> list[Any]:
    """Walk forward, and check that backward and by number are the same, and that it is what all() returns."""
    fetched = db.fetch(model, statement, values or None)
    whole = await resolve(fetched.all())
    rows: list[Any] = []
    cursor, page = None, None
    while page is None or cursor is not None:
        page = await resolve(fetched.page(size=size, after=cursor))
        assert page.total == len(whole) == await resolve(fetched.count())
        rows += page.items
        cursor = page.next
        assert len(rows) <= len(whole)
    back, cursor = list(page.items), page.previous
    while cursor is not None:
        page = await resolve(fetched.page(size=size, before=cursor))
        back, cursor = [*page.items, *back], page.previous
        assert len(back) <= len(whole)
    numbers = range(1, len(whole) // size + 2)
    pages = [await resolve(fetched.page(size=size, number=number)) for number in numbers]
    assert rows == back == [row for each in pages for row in each.items]
    assert sorted(map(str, rows)) == sorted(map(str, whole))
    return rows


def ids(rows: Sequence[Any]) -> list[int]:
    return [row.id for row in rows]


@ONE_OF_EACH
@pytest.mark.parametrize("name", ["created_at", "updated_at", "filled", "clock", "price", "exact", "single", "loose"])
async def test_values_as_the_database_has_them(samples: AnyDatabase, name: str) -> None:
    """CURRENT_TIMESTAMP writes another text than SQLAlchemy, and arithmetic other digits than a type has."""
    async with transaction(samples) as tx:
        await resolve(tx.execute(text("UPDATE pg_sample SET price = price * 1.1")))
        later = {"filled": MOMENT, "created_at": MOMENT.replace(tzinfo=dt.timezone.utc)}
        await resolve(tx.execute(sa.update(Sample.__table__).where(Sample.__table__.c.id.in_([2, 5])).values(later)))
    column = getattr(Sample, name)
    up = await walked(samples, IdOut, select(Sample).order_by(column))
    down = await walked(samples, IdOut, select(Sample).order_by(column.desc()))
    assert ids(up) == ids(down)[::-1]
    assert ids(up) == ids(await resolve(samples.fetch(IdOut, select(Sample).order_by(column, Sample.id)).all()))


EXPRESSIONS = {
    "numeric": Sample.number / literal(3),
    "integers": Sample.id / Sample.id,
    "price": Sample.price / 3,
    "raised": Sample.price * literal_column("1.1"),
    "lower": func.lower(Sample.short),
    "length": func.length(Sample.short),
    "abs": func.abs(Sample.number),
    "substr": func.substr(Sample.text, 1, 1),
    "coalesce": func.coalesce(Sample.text_or_none, Sample.text),
    "row_number": func.row_number().over(order_by=(Sample.text, Sample.id)),
    "label": func.lower(Sample.short).label("small_letters"),
    "label of a column": Sample.short.label("letters"),
    "name": "text",
    "name in reverse": sa.desc("text"),
    "case": sa.case((Sample.number == 1, "b"), else_="a"),
    "subquery": select(func.count()).where(Part.sample_id == Sample.id).scalar_subquery(),
    "bytes": Sample.binary,
    "key": Sample.key,
    "names": Sample.size,
    "large": Sample.big,
}


@ONE_OF_EACH
@pytest.mark.parametrize("name", EXPRESSIONS)
async def test_ordered_by_expressions_labels_and_names(samples: AnyDatabase, name: str) -> None:
    order = EXPRESSIONS[name]
    rows = await walked(samples, IdOut, select(Sample).order_by(order))
    last = Sample.id.desc() if name == "name in reverse" else Sample.id
    assert ids(rows) == ids(await resolve(samples.fetch(IdOut, select(Sample).order_by(order, last)).all()))


@POSTGRESQL
@pytest.mark.parametrize(
    "order",
    [
        func.ts_rank(func.to_tsvector("simple", Sample.text), func.to_tsquery("simple", "a")),
        collate(Sample.short, "C"),
        sa.cast(Sample.short, sa.CHAR(1)),
        literal_column('short::"char"'),
        literal_column("short::name"),
        literal_column("(id::int)::bit(8)"),
        literal_column("make_interval(days => id - 3)"),
        literal_column("ARRAY[number, id]"),
        literal_column("(ratio * 1.1)::float4"),
        literal_column("'2020-01-02 BC'::date + id"),
        literal_column("CASE WHEN id = 3 THEN 'NaN' WHEN id = 4 THEN '-Infinity' ELSE ratio END"),
    ],
    ids=str,
)  # fmt: skip
async def test_types_that_only_postgresql_knows(samples: AnyDatabase, order: Any) -> None:
    rows = await walked(samples, IdOut, select(Sample).order_by(order))
    assert ids(rows) == ids(await resolve(samples.fetch(IdOut, select(Sample).order_by(order, Sample.id)).all()))


@POSTGRESQL
async def test_cursors_depend_on_no_setting_of_a_session(samples: AnyDatabase) -> None:
    """Dates are written as the session says, and floats with so many digits."""
    settings = "DateStyle = 'SQL, DMY'", "extra_float_digits = 0", "TimeZone = 'Europe/Berlin'", "bytea_output = escape"
    statement = select(Sample).order_by(Sample.day, Sample.created_at, Sample.ratio, Sample.single, Sample.binary)
    async with transaction(samples) as tx:
        for setting in settings:
            await resolve(tx.execute(text(f"SET LOCAL {setting}")))
        first = await resolve(tx.fetch(IdOut, statement).page(size=3))
    second = await resolve(samples.fetch(IdOut, statement).page(size=3, after=first.next))
    assert ids(second.items) == [4, 5, 6]


@POSTGRESQL
async def test_types_with_odd_names(samples: AnyDatabase) -> None:
    async with transaction(samples) as tx:
        await resolve(tx.execute(text("""CREATE TYPE "O'dd %% ""na.me" AS ENUM ('b', 'a', 'c')""".replace("%%", "%"))))
    order = literal_column("""text::"O'dd % ""na.me\"""")
    try:
        rows = await walked(samples, IdOut, select(Sample).order_by(order))
        assert [row.id % 3 for row in rows] == [1, 1, 1, 0, 0, 2, 2]
    finally:
        async with transaction(samples) as tx:
            await resolve(tx.execute(text("""DROP TYPE "O'dd % ""na.me\"""")))


@ONE_OF_EACH
async def test_sums_beyond_the_type_of_their_column(samples: AnyDatabase) -> None:
    statement = select(Sample).join(Sample.parts).group_by(Sample.id)
    for order in (func.sum(Part.amount).desc(), func.avg(Part.cost), func.max(Part.name), func.sum(Part.cost) / 7):
        await walked(samples, IdOut, statement.order_by(order), size=1)
    assert ids(await walked(samples, IdOut, statement.order_by(func.sum(Part.amount).desc()), size=1)) == [2, 3, 1]


@ONE_OF_EACH
@pytest.mark.parametrize("way", ["asc", "desc"])
async def test_columns_that_a_join_makes_null(samples: AnyDatabase, way: str) -> None:
    """What is NOT NULL in its table is NULL where an outer join finds no row, on either side of it."""
    other = aliased(Team)
    for statement, column in (
        (select(Sample).outerjoin(Sample.team), Team.name),
        (select(Sample).outerjoin(Sample.team.of_type(other)), other.id),
        (select(Sample).outerjoin(Sample.parts), Part.name),
        (select(Part).select_from(Sample).outerjoin(Part, Part.sample_id == Sample.id).where(Sample.id < 4), Part.id),
    ):
        await walked(samples, IdOut, statement.order_by(getattr(column, way)()))


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg")
async def test_full_joins(samples: AnyDatabase) -> None:
    other = aliased(Sample)
    statement = select(Sample).join(other, other.id == Sample.next_id, full=True).where(Sample.id.is_not(None))
    await walked(samples, IdOut, statement.order_by(other.text, Sample.text.desc()))


@ONE_OF_EACH
async def test_joins_that_repeat_the_class(samples: AnyDatabase) -> None:
    parts, others = aliased(Part), aliased(Part)
    for statement, count in (
        (select(Sample).join(Sample.parts).order_by(Sample.id), 7),
        (select(Sample).where(Part.sample_id == Sample.id).order_by(Sample.text), 7),
        (select(Sample).join(Sample.parts.of_type(parts)).join(Sample.parts.of_type(others)).order_by(others.name), 17),
        (select(Sample).join(Team, sa.true()).order_by(Sample.text), 14),
    ):
        assert len(await walked(samples, IdOut, statement)) == count
    # The association is an alias that SQLAlchemy makes anew each time.
    many = select(Sample).join(Sample.friends).order_by(Team.name.desc())
    assert ids(await walked(samples, SampleOut, many)) == [3, 2, 1, 3, 2, 1]
    joined = select(Part).join(Part.words).order_by(Part.name)
    assert ids(await walked(samples, PartOfOut, joined, size=1)) == [2, 2, 1, 1]


@ONE_OF_EACH
async def test_how_the_orm_would_load_joins_nothing(samples: AnyDatabase) -> None:
    """Neither options of the statement nor those of a relationship: a fetch reads related rows in its own way."""
    for option in (joinedload(Sample.parts), joinedload(Sample.team), subqueryload(Sample.parts), defer(Sample.text)):
        statement = select(Sample).options(option)
        assert len(await walked(samples, SampleOut, statement)) == 7
        assert len(await walked(samples, SampleOut, statement.distinct().order_by(Sample.text))) == 7
        assert len(await walked(samples, SampleOut, statement.join(Sample.parts).order_by(Sample.text))) == 7
    assert len(await walked(samples, PartOfOut, select(Part).order_by(Part.name))) == 7


@ONE_OF_EACH
async def test_rows_below_belong_to_their_row(samples: AnyDatabase) -> None:
    """What a statement is ordered by may be a column of the same table, but is another row's."""
    root, other = aliased(Sample), aliased(Sample)
    statement = select(root).join(other, other.id == root.next_id).order_by(other.id.desc(), other.team_id)
    rows = await walked(samples, SampleOut, statement)
    assert ids(rows) == [6, 5, 4, 3, 2, 1]
    for row in rows:
        assert ids(row.parts) == [n for n in range(1, 8) if 1 + n % 3 == row.id]
        assert (row.team and row.team.id) == [None, 1, 2][row.id % 3]


@POSTGRESQL
async def test_distinct_on_takes_the_rows_that_its_order_says(samples: AnyDatabase) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forms = [select(Sample).distinct(Sample.text), select(Sample).join(Sample.team).distinct(Team.name)]
    if distinct_on := getattr(postgresql, "distinct_on", None):
        forms.append(select(Sample).ext(distinct_on(Sample.text)))
    wanted = [[6, 7, 5], [7, 5], [6, 7, 5]]
    for form, expected in zip(forms, wanted, strict=False):
        first = Team.name if "pg_team" in str(form) else Sample.text
        assert ids(await walked(samples, IdOut, form.order_by(first, Sample.id.desc()), size=1)) == expected
        # Without an order the database takes any rows, but for all pages the same.
        page = await resolve(samples.fetch(IdOut, form).page(size=9))
        assert page.total == len(page.items) == len(expected)


@ONE_OF_EACH
async def test_distinct_rows_stay_what_they_are(samples: AnyDatabase) -> None:
    statement = select(Sample).join(Sample.parts).distinct()
    assert ids(await walked(samples, IdOut, statement.order_by(Sample.text.desc(), Sample.id))) == [2, 1, 3]
    for order in (Part.name, func.row_number().over(order_by=Part.id), literal_column("1 + 1")):
        with pytest.raises(ShapeError, match="with DISTINCT it may have many values for one row"):
            await resolve(samples.fetch(IdOut, statement.order_by(order)).page(size=2))


@ONE_OF_EACH
async def test_unions_through_an_alias(samples: AnyDatabase) -> None:
    both = select(Sample).where(Sample.id < 6), select(Sample).where(Sample.id > 3)
    for united, count in ((union(*both), 7), (sa.intersect(*both), 2), (sa.except_(*both), 3)):
        alias = aliased(Sample, united.subquery())
        assert len(await walked(samples, SampleOut, select(alias).order_by(alias.text, alias.size))) == count
    repeated = aliased(Sample, union_all(*both).subquery())
    with pytest.raises(ShapeError, match="nothing tells the rows of a subquery apart"):
        await resolve(samples.fetch(IdOut, select(repeated)).page(size=2))
    assert len(await walked(samples, SampleOut, select(repeated).distinct().order_by(repeated.text))) == 7


@ONE_OF_EACH
async def test_hierarchies(samples: AnyDatabase) -> None:
    for statement, count in (
        (select(Tool).order_by(Thing.name), 3),
        (select(Tool).order_by(Tool.name, Thing.id.desc()), 3),
        (select(Thing).order_by(Tool.weight), 6),
        (select(Thing).order_by("name"), 6),
        (select(Worker).order_by(Worker.name), 0),
    ):
        assert len(await walked(samples, PersonOut, statement)) == count
    assert ids(await walked(samples, PersonOut, select(Tool).order_by(Tool.weight), size=1)) == [5, 3, 1]


class ToolOut(PersonOut):
    twice: int


@ONE_OF_EACH
async def test_a_single_row(samples: AnyDatabase) -> None:
    """Nothing is left to sort by where WHERE names the key."""
    for statement in (select(Tool).where(Tool.id == 3), select(Tool).where(Tool.id == 3).order_by(Tool.id)):
        [row] = await walked(samples, ToolOut, statement)
        assert (row.id, row.twice) == (3, 8)


@ONE_OF_EACH
async def test_concrete_classes_whose_keys_repeat(samples: AnyDatabase) -> None:
    for statement in (select(Paper), select(Paper).order_by(Paper.name), select(Paper).distinct().order_by(Paper.name)):
        assert len(await walked(samples, PaperOut, statement)) == 6


@ONE_OF_EACH
async def test_keys_of_several_columns(samples: AnyDatabase) -> None:
    assert len(await walked(samples, WordOut, select(Word).order_by(Word.word.desc()), size=1)) == 4


@pytest.mark.parametrize("way", ["limit", "offset", "fetch", "ties"])
@POSTGRESQL
async def test_whatever_limits_rows_is_a_limit(samples: AnyDatabase, way: str) -> None:
    rows = select(Sample).order_by(Sample.number)
    limited = {
        "limit": rows.limit(2), "offset": rows.offset(2), "fetch": rows.fetch(2), "ties": rows.fetch(2, with_ties=True),
    }[way]  # fmt: skip
    fetched = samples.fetch(IdOut, limited)
    with pytest.raises(ShapeError, match="it has a limit of its own"):
        await resolve(fetched.page(size=2))
    assert await resolve(fetched.count()) == len(await resolve(fetched.all()))
    assert await resolve(fetched.exists())


@ONE_OF_EACH
async def test_locks(samples: AnyDatabase) -> None:
    """A page would lock the rows of all pages, and a count those that it counts."""
    fetched = samples.fetch(IdOut, select(Sample).with_for_update())
    with pytest.raises(ShapeError, match="it locks its rows"):
        await resolve(fetched.page(size=2))
    with statements() as seen:
        assert await resolve(fetched.count()) == 7
        assert await resolve(fetched.exists())
    assert not [sql for sql in seen if "FOR UPDATE" in sql]


PLAIN = sa.Table("pg_plain", sa.MetaData(), sa.Column("sample_id", sa.Integer))
OTHER = aliased(Part)


@pytest.mark.drivers("sqlite+pysqlite")
@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (select(Sample).order_by(text("text DESC")), "it is ordered by a text"),
        (select(Sample).order_by(func.random()), r"random\(\) tells another value from page to page"),
        (select(Sample).order_by(func.coalesce(Sample.moment_or_none, func.now())), r"now\(\) tells another value"),
        (select(Sample).order_by(tuple_(Sample.text, Sample.id)), "in parentheses fits no cursor"),
        (select(Sample).order_by(literal_column("1")), "the place of a column"),
        (select(Sample).order_by(OTHER.name), "it selects nothing from there"),
        (select(Sample).order_by(func.count()), "there is no GROUP BY"),
        (select(Sample).join(PLAIN, PLAIN.c.sample_id == Sample.id), "nothing tells the rows of pg_plain apart"),
        (select(Sample).join(Sample.fans), "nothing tells the rows of pg_fans apart"),
        (select(Sample).group_by(Sample.text), "do not tell which Sample each of them is"),
        (select(Sample).join(Sample.parts).group_by(Sample.id).order_by(Part.name), "many values in a group"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_statements_whose_pages_are_refused(samples: AnyDatabase, statement: Select[Any], reason: str) -> None:
    for options in ({}, {"number": 2}):
        with pytest.raises(ShapeError, match=reason):
            await resolve(samples.fetch(IdOut, statement).page(size=2, **options))


@ONE_OF_EACH
@pytest.mark.parametrize("length", [900, 1500])
async def test_texts_that_differ_only_far_behind(samples: AnyDatabase, length: int) -> None:
    """MariaDB sorts by some bytes of a text, by default by 1,024, and compares all of it."""
    table, statement = Sample.__table__, select(Sample).order_by(Sample.text)
    async with transaction(samples) as tx:
        for number in range(1, 8):
            changed = {"text": "é" * length + "gdafbce"[number - 1]}
            await resolve(tx.execute(sa.update(table).where(table.c.id == number).values(changed)))
    if samples.engine.name == "mariadb" and length > 1000:
        with pytest.raises(ShapeError, match="a text of more than 1000 characters"):
            await resolve(samples.fetch(IdOut, statement).page(size=3))
        return
    assert ids(await walked(samples, IdOut, statement)) == [3, 5, 6, 2, 7, 4, 1]


@pytest.mark.drivers("mariadb+pymysql")
async def test_names_are_ordered_by_their_places(samples: AnyDatabase) -> None:
    async with transaction(samples) as tx:
        await resolve(tx.execute(text("ALTER TABLE pg_sample ADD s SET('b', 'a'), ADD bits BIT(9)")))
        await resolve(tx.execute(text("UPDATE pg_sample SET s = ELT(1 + id % 3, 'a', 'b', 'b,a'), bits = 300 - id")))
    for column in (literal_column("s", mysql.SET("b", "a")), literal_column("bits", mysql.BIT(9))):
        with pytest.raises(ShapeError, match="whether it still is an ENUM"):
            await resolve(samples.fetch(IdOut, select(Sample).order_by(column)).page(size=2))
    for column in (sa.cast(literal_column("s"), sa.String(9)), literal_column("bits + 0")):
        await walked(samples, IdOut, select(Sample).order_by(column))


@ONE_OF_EACH
async def test_parameters_of_the_order(samples: AnyDatabase) -> None:
    """They belong to the order: a cursor for one value is none for another."""

    def near(number: int) -> Select[Any]:
        return select(Sample).order_by(func.abs(Sample.id - number))

    assert ids(await walked(samples, IdOut, near(4), size=3)) == [4, 3, 5, 2, 6, 1, 7]
    first = await resolve(samples.fetch(IdOut, near(4)).page(size=3))
    with pytest.raises(InvalidCursor):
        await resolve(samples.fetch(IdOut, near(5)).page(size=3, after=first.next))
    named = select(Sample).order_by(func.abs(Sample.id - sa.bindparam("near")), Sample.id)
    assert ids(await walked(samples, IdOut, named, size=3, near=4)) == [4, 3, 5, 2, 6, 1, 7]
    first = await resolve(samples.fetch(IdOut, named, {"near": 4}).page(size=3))
    with pytest.raises(InvalidCursor):
        await resolve(samples.fetch(IdOut, named, {"near": 5}).page(size=3, after=first.next))


@ONE_OF_EACH
async def test_two_aliases_are_two_orders(samples: AnyDatabase) -> None:
    one, two = aliased(Sample), aliased(Sample)
    joined = select(one).join(two, two.id == one.next_id)
    first = await resolve(samples.fetch(IdOut, joined.order_by(one.number)).page(size=3))
    with pytest.raises(InvalidCursor):
        await resolve(samples.fetch(IdOut, joined.order_by(two.number)).page(size=3, after=first.next))


@ONE_OF_EACH
async def test_joins_that_are_compared_by_more_and_less(samples: AnyDatabase) -> None:
    """SQLite 3.40 by itself sorts such rows downwards by the last table before the one in the middle."""
    thing = aliased(Thing)
    first, second = aliased(Part), aliased(Part)
    joined = select(thing).join(first, first.id >= thing.id).join(second, second.id >= thing.id)
    for order in (thing.id, thing.id.desc()):
        assert len(await walked(samples, PersonOut, joined.order_by(order), size=1)) > len(ROWS[6][1])
