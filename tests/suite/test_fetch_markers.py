"""Markers fill fields with paths, aggregates, expressions and selected rows, in the same one statement."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from pydantic import create_model
from sqlalchemy import desc, func, select, update

from querywright import (
    Avg,
    Count,
    DatabaseError,
    Exists,
    Expr,
    First,
    Grouped,
    Keys,
    Latest,
    Many,
    Max,
    Min,
    Path,
    ShapeError,
    Sum,
)
from tests.suite.models import Author, Out
from tests.suite.support import AnyDatabase, add, resolve, session, statements
from tests.suite.zoo import Animal, Keeper, Keeping, Zoo

ZOOS = select(Zoo).order_by(Zoo.country, Zoo.number)
ANIMALS = select(Animal).order_by(Animal.id)


class NamedOut(Out):
    name: str


def model(annotation: Any) -> Any:
    return create_model("M", value=(annotation, ...))


N = lambda *names: [{"name": name} for name in names]  # noqa: E731 - a table of expected values is clearer with it

# What is asked for, of which rows, and what each of them has.
CASES: dict[str, tuple[Any, Any, list[Any]]] = {
    "path": (Annotated[str | None, Path("zoo.name")], ANIMALS, ["Tierpark"] * 3 + ["Jardin", None]),
    "path of two": (Annotated[str | None, Path("parent.zoo.name")], ANIMALS, [None] * 3 + ["Tierpark"] * 2),
    "path to a row": (
        Annotated[NamedOut | None, Path("parent.zoo")],
        ANIMALS,
        [None, None, None, *N("Tierpark", "Tierpark")],
    ),
    "path to many": (Annotated[list[str], Path("animals.name")], ZOOS, [["Tom", "Rex", "Jumbo"], [], ["Kit"]]),
    "path through many": (Annotated[list[str], Path("keepings.keeper.name")], ZOOS, [["Bo", "Ada"], [], ["Ada"]]),
    "path through a proxy": (Annotated[list[str], Path("keepers.name")], ZOOS, [["Bo", "Ada"], [], ["Ada"]]),
    "path of lists": (
        Annotated[list[list[str]], Path("animals.young.name")],
        ZOOS,
        [[["Kit"], ["Pup"], []], [], [[]]],
    ),
    "nullable values": (Annotated[list[str | None], Path("animals.parent.name")], ZOOS, [[None] * 3, [], ["Tom"]]),
    "count": (Annotated[int, Count("animals")], ZOOS, [3, 0, 1]),
    "count some": (Annotated[int, Count("animals", where=Animal.weight > 100)], ZOOS, [2, 0, 0]),
    "count some by function": (Annotated[int, Count("animals", where=lambda a: a.weight < 5)], ZOOS, [1, 0, 1]),
    "count different": (Annotated[int, Count("animals", of="kind")], ZOOS, [3, 0, 1]),
    "sum": (Annotated[int, Sum("animals", of="weight")], ZOOS, [4124, 0, 1]),
    "sum or none": (Annotated[int | None, Sum("animals", of="weight")], ZOOS, [4124, None, 1]),
    "sum of an expression": (Annotated[int, Sum("animals", of=lambda a: a.weight * 2)], ZOOS, [8248, 0, 2]),
    "min": (Annotated[int | None, Min("animals", of="weight")], ZOOS, [4, None, 1]),
    "max of text": (Annotated[str | None, Max("animals", of="name")], ZOOS, ["Tom", None, "Kit"]),
    "avg": (Annotated[float | None, Avg("animals", "weight", where=Animal.id < 3)], ZOOS, [62.0, None, None]),
    "exists": (Annotated[bool, Exists("animals")], ZOOS, [True, False, True]),
    "exists some": (Annotated[bool, Exists("animals", where=Animal.kind == "dog")], ZOOS, [True, False, False]),
    "exists one": (Annotated[bool, Exists("parent")], ANIMALS, [False] * 3 + [True] * 2),
    "expression": (Annotated[str, Expr(lambda zoo: func.lower(zoo.name))], ZOOS, ["tierpark", "empty", "jardin"]),
    "expression of two columns": (Annotated[int | None, Expr(lambda z: z.x + z.y)], ZOOS, [None, None, 3]),
    "expression with a query": (
        Annotated[int, Expr(lambda z: select(func.count()).select_from(Keeping).where(Keeping.country == z.country))],
        ZOOS,
        [2, 2, 1],
    ),
    "top of each": (
        Annotated[list[NamedOut], Many("animals", order_by=desc("weight"), limit=2)],
        ZOOS,
        [N("Jumbo", "Rex"), [], N("Kit")],
    ),
    "some of each": (
        Annotated[list[NamedOut], Many("animals", where=Animal.weight < 200, order_by=[Animal.weight.desc(), "id"])],
        ZOOS,
        [N("Rex", "Tom"), [], N("Kit")],
    ),
    "ordered by a function": (
        Annotated[list[NamedOut], Many("animals", order_by=lambda a: func.length(a.name) * 1000 + a.id)],
        ZOOS,
        [N("Tom", "Rex", "Jumbo"), [], N("Kit")],
    ),
    "rows behind others": (
        Annotated[list[list[NamedOut]], Many("animals.young", limit=1)],
        ZOOS,
        [[N("Kit"), N("Pup"), []], [], [[]]],
    ),
    "keys": (Annotated[list[int], Keys("animals", order_by=desc("id"))], ZOOS, [[3, 2, 1], [], [4]]),
    "first": (Annotated[NamedOut | None, First("animals", order_by="weight")], ZOOS, [*N("Tom"), None, *N("Kit")]),
    "first of some": (
        Annotated[NamedOut | None, First("animals", where=Animal.kind == "dog")],
        ZOOS,
        [{"name": "Rex"}, None, None],
    ),
    "latest": (Annotated[NamedOut | None, Latest("animals", by="id")], ZOOS, [*N("Jumbo"), None, *N("Kit")]),
    "grouped": (
        Annotated[dict[str, list[NamedOut]], Grouped("animals", by="kind")],
        ZOOS,
        [{"animal": N("Jumbo"), "cat": N("Tom"), "dog": N("Rex")}, {}, {"cat": N("Kit")}],
    ),
    "grouped by number": (
        Annotated[dict[int, NamedOut], Grouped("animals", by="id")],
        ZOOS,
        [{"1": {"name": "Tom"}, "2": {"name": "Rex"}, "3": {"name": "Jumbo"}}, {}, {"4": {"name": "Kit"}}],
    ),
}  # fmt: skip


@pytest.mark.drivers(
    "sqlite+aiosqlite", "postgresql+psycopg", "postgresql+asyncpg", "mariadb+pymysql", "mariadb+aiomysql"
)
@pytest.mark.parametrize("name", CASES)
async def test_markers(zoo: AnyDatabase, name: str) -> None:
    annotation, statement, expected = CASES[name]
    shape = model(annotation)
    with statements() as seen:
        rows = json.loads(await resolve(zoo.fetch(shape, statement).json()))
    assert [row["value"] for row in rows] == expected
    assert len(seen) == 1
    instances = await resolve(zoo.fetch(shape, statement).all())
    assert [json.loads(instance.model_dump_json())["value"] for instance in instances] == expected
    assert zoo.fetch(shape, statement).explain_plan().exact


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "unknown step": (Annotated[str | None, Path("zoo.nmae")], Animal, "M.value: Zoo has no attribute 'nmae'. Did you"),
    "step of a column": (Annotated[str, Path("name.x")], Animal, "M.value: Animal.name is not a relationship"),
    "maybe nothing": (Annotated[str, Path("zoo.name")], Animal, "M.value: Animal.zoo may lead to no row, the field"),
    "many": (Annotated[str, Path("animals.name")], Zoo, "M.value: Zoo.animals leads to many rows"),
    "avg without what": (Annotated[float | None, Avg("animals")], Zoo, "Avg has to know what of the rows"),
    "sum of text": (Annotated[int, Sum("animals", of="name")], Zoo, "M.value: Animal.name is not a number"),
    "min never none": (Annotated[int, Min("animals", of="id")], Zoo, "may be NULL, the field may not"),
    "count of one": (Annotated[int, Count("parent")], Animal, "leads to at most one row"),
    "limit of none": (Annotated[list[NamedOut], Many("animals", limit=0)], Zoo, "its limit is 0"),
    "order by nothing": (Annotated[list[NamedOut], Many("animals", order_by="age")], Zoo, "Animal has no attribute 'age"),
    "descending": (Annotated[list[NamedOut], Many("animals", order_by=desc("age"))], Zoo, "no attribute 'age'"),
    "two markers": (Annotated[int, Count("animals"), Sum("animals", of="id")], Zoo, "it has more than one marker"),
    "failing expression": (Annotated[int, Expr(lambda zoo: zoo.nothing)], Zoo, "its expression of Zoo fails"),
    "no expression": (Annotated[int, Expr(lambda _: 5)], Zoo, "its function makes int of Zoo, no SQL expression"),
    "keys of two columns": (Annotated[list[int], Keys("keepings")], Zoo, "has a primary key of several columns"),
    "not called": (Annotated[int, Count], Zoo, "M.value: its marker Count is not called"),
    "a path not called": (Annotated[str, Path], Zoo, "M.value: its marker Path is not called"),
    "no name": (Annotated[int, Count(Zoo.animals)], Zoo, "M.value: its marker is given Zoo.animals. Write the name"),
    "no path": (Annotated[str, Path(Zoo.name)], Zoo, "M.value: its marker is given Zoo.name"),
    "what it is of as a path": (Annotated[int, Sum("animals.weight")], Zoo, 'as in Sum("animals", of="...")'),
    "count of rows of rows": (Annotated[int, Count("animals.young")], Zoo, "Zoo.animals leads to many rows, and Count"),
    "groups by what may be nothing": (
        Annotated[dict[str | None, list[NamedOut]], Grouped("animals", by="parent_id")],
        Zoo,
        "Animal.parent_id may be NULL, and a key of a dict may not",
    ),
    "groups of no dict": (Annotated[list[NamedOut], Grouped("animals", by="kind")], Zoo, "Grouped fills a dict"),
}  # fmt: skip


@pytest.mark.drivers("sqlite+pysqlite")
@pytest.mark.parametrize("name", REFUSED)
async def test_refused(db: AnyDatabase, name: str) -> None:
    annotation, cls, message = REFUSED[name]
    with pytest.raises(ShapeError) as caught:
        db.fetch(model(annotation), select(cls)).sql()
    assert message in str(caught.value)


async def test_markers_inside_of_rows(zoo: AnyDatabase) -> None:
    inner = create_model(
        "Inner", count=(Annotated[int, Count("young")], ...), zoo=(Annotated[str | None, Path("zoo.name")], ...)
    )
    outer = create_model("Outer", animals=(list[inner], ...))
    rows = json.loads(await resolve(zoo.fetch(outer, ZOOS).json()))
    counts = [[(a["count"], a["zoo"]) for a in row["animals"]] for row in rows]
    assert counts == [[(1, "Tierpark"), (1, "Tierpark"), (0, "Tierpark")], [], [(0, "Jardin")]]


async def test_keepers_of(zoo: AnyDatabase) -> None:
    shape = create_model("K", name=(str, ...), initial=(Annotated[str, Expr(lambda k: func.substr(k.name, 1, 1))], ...))
    rows = json.loads(await resolve(zoo.fetch(shape, select(Keeper).order_by(Keeper.id)).json()))
    assert rows == [{"name": "Ada", "initial": "A"}, {"name": "Bo", "initial": "B"}]


class LatestPupil(Out):
    id: int
    pupil: Annotated[NamedOut | None, Latest("pupils", by="email")]


async def test_the_latest_is_one_that_has_a_value(db: AnyDatabase) -> None:
    """PostgreSQL sorts NULL before all other values, the other way round."""
    pupils = [Author(id=2, name="a", email="a", mentor_id=1), Author(id=3, name="b", email="b", mentor_id=1)]
    await add(db, Author(id=1, name="Ada"), *pupils, Author(id=4, name="none", mentor_id=1))
    await add(db, Author(id=5, name="only", mentor_id=4))
    found = await resolve(db.fetch(LatestPupil, select(Author).order_by(Author.id)).all())
    assert [row.pupil and row.pupil.name for row in found] == ["b", None, None, "only", None]


async def test_the_first_of_equal_rows_is_that_of_the_lowest_key(zoo: AnyDatabase) -> None:
    shape = create_model(
        "F", first=(Annotated[NamedOut | None, First("animals", order_by=lambda a: a.weight * 0)], ...)
    )
    # A row that has changed lies behind the others on PostgreSQL.
    async with session(zoo) as opened:
        await resolve(opened.execute(update(Animal).where(Animal.id == 1).values(weight=Animal.weight + 1)))
        await resolve(opened.commit())
    rows = json.loads(await resolve(zoo.fetch(shape, ZOOS).json()))
    assert [row["first"] and row["first"]["name"] for row in rows] == ["Tom", None, "Kit"]


async def test_several_rows_of_a_key_that_has_one(zoo: AnyDatabase) -> None:
    """Which of them is meant, nobody knows: SQL would take any."""
    twins = [Animal(id=number, name="Twin", weight=1, kind="animal", country="de", zoo_number=1) for number in (90, 91)]
    shape = create_model("N", animals=(Annotated[dict[str, NamedOut], Grouped("animals", by="name")], ...))
    assert len(await resolve(zoo.fetch(shape, ZOOS).all())) == 3
    await add(zoo, *twins)
    for verb in ("all", "json"):
        with pytest.raises(DatabaseError, match="A key of Grouped has several rows"):
            await resolve(getattr(zoo.fetch(shape, ZOOS), verb)())
