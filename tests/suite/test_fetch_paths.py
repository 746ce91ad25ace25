"""Relationships of every kind lead to the rows that the ORM finds, in its order, each once."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, create_model
from sqlalchemy import Select, literal, select, union
from sqlalchemy.orm import aliased

from querywright import Count, Exists, Expr, First, Grouped, Keys, Many, Max, Min, Path, ShapeError, Sum
from tests.suite.models import Out
from tests.suite.paths import Account, Grade, Log, PathBase, Vehicle, some_paths
from tests.suite.support import AnyDatabase, add, by_orm, resolve, run_sync, session, transaction
from tests.tables import needs

ACCOUNTS = select(Account).order_by(Account.id)
OTHER = aliased(Log)
# The ORM takes the first row, as fetch does, and says that there are more.
pytestmark = pytest.mark.filterwarnings("ignore:Multiple rows returned with uselist=False")


class IdOut(Out):
    id: int


class NamedOut(Out):
    id: int
    name: str


class NotedOut(Out):
    id: int
    name: str
    notes: list[IdOut]


class PartedOut(Out):
    id: int
    parts: list[IdOut]


@pytest.fixture
@needs(PathBase.metadata)
async def accounts(db: AnyDatabase) -> AnyDatabase:
    async with transaction(db) as tx:
        for rows in some_paths():
            tx.add_all(rows)
            await resolve(tx.flush())
    return db


LISTS = {
    "heaviest": PartedOut,
    "public": PartedOut,
    "plain": PartedOut,
    "parted": PartedOut,
    "doubled": PartedOut,
    "colleagues": NotedOut,
    "people": NotedOut,
    "vehicles": NamedOut,
    "grades": IdOut,
    "tags": IdOut,
    "crossed": IdOut,
    "graded": IdOut,
    "lightest": IdOut,
    "lightest_by_itself": IdOut,
    "lightest_except": IdOut,
    "all_reached": IdOut,
}
SINGLE = {"top": PartedOut, "a_grade": IdOut, "reached": IdOut, "either": IdOut, "spelt": IdOut, "boss": NamedOut}


async def equals_orm(db: AnyDatabase, model: Any, statement: Select[Any] = ACCOUNTS) -> None:
    """Compare each way of fetching with the ORM's rows."""
    expected = await by_orm(db, model, statement)
    written = TypeAdapter(list[model]).dump_python(expected, mode="json", by_alias=True)
    for strategy in ("auto", "statement", "levels"):
        fetched = db.fetch(model, statement, strategy=strategy)
        assert await resolve(fetched.all()) == expected, strategy
        assert json.loads(await resolve(fetched.json())) == written, strategy


@pytest.mark.parametrize("name", LISTS)
async def test_lists_are_those_of_the_orm(accounts: AnyDatabase, name: str) -> None:
    await equals_orm(accounts, create_model("ListOut", __base__=IdOut, **{name: (list[LISTS[name]], ...)}))


@pytest.mark.parametrize("name", LISTS)
async def test_lists_below_another_row(accounts: AnyDatabase, name: str) -> None:
    below = create_model("BelowOut", __base__=IdOut, **{name: (list[LISTS[name]], ...)})
    await equals_orm(accounts, create_model("AboveOut", __base__=IdOut, boss=(below | None, ...)))


@pytest.mark.parametrize("name", SINGLE)
async def test_single_rows_are_those_of_the_orm(accounts: AnyDatabase, name: str) -> None:
    await equals_orm(accounts, create_model("OneOut", __base__=IdOut, **{name: (SINGLE[name] | None, ...)}))


async def test_all_at_once_below_a_list(accounts: AnyDatabase) -> None:
    fields: dict[str, Any] = {name: (list[model], ...) for name, model in LISTS.items()}
    fields |= {name: (model | None, ...) for name, model in SINGLE.items()}
    await equals_orm(accounts, create_model("AllOut", __base__=IdOut, **fields))


@pytest.mark.parametrize("name", LISTS)
async def test_aggregates_are_of_the_rows_that_a_list_has(accounts: AnyDatabase, name: str) -> None:
    model = create_model(
        "CountOut",
        __base__=IdOut,
        n=(Annotated[int, Count(name)], ...),
        some=(Annotated[bool, Exists(name)], ...),
        total=(Annotated[int, Sum(name, of="id")], ...),
    )
    async with session(accounts) as opened:
        expected = await run_sync(
            opened,
            lambda sync: [
                (len(rows), bool(rows), sum(row.id for row in rows))
                for rows in (getattr(account, name) for account in sync.scalars(ACCOUNTS))
            ],
        )
    found: list[Any] = await resolve(accounts.fetch(model, ACCOUNTS).all())
    assert [(row.n, row.some, row.total) for row in found] == expected


def narrowed(account: Any) -> dict[str, Any]:
    return {
        "id": account.id,
        "heaviest": [{"id": log.id} for log in account.heaviest if log.public][:1],
        "grades": [{"id": grade.id} for grade in account.grades[::-1] if grade.id > 1][:2],
    }


async def test_the_same_rows_narrowed_and_limited(accounts: AnyDatabase) -> None:
    class Narrowed(Out):
        id: int
        heaviest: Annotated[list[IdOut], Many("heaviest", where=lambda log: log.public, limit=1)]
        grades: Annotated[list[IdOut], Many("grades", where=Grade.id > 1, order_by=Grade.id.desc(), limit=2)]

    async with session(accounts) as opened:
        expected = await run_sync(
            opened,
            lambda sync: [narrowed(account) for account in sync.scalars(ACCOUNTS)],
        )
    assert json.loads(await resolve(accounts.fetch(Narrowed, ACCOUNTS).json())) == expected


async def test_attributes_of_the_class_as_they_are(accounts: AnyDatabase) -> None:
    class Bare(Out):
        public: Annotated[list[IdOut], Many("logs", where=Log.public, order_by=Log.weight)]
        keys: Annotated[list[int], Keys("logs", order_by=(Log.weight.desc(), Log.id))]
        first: Annotated[IdOut | None, First("logs", order_by=Log.weight)]
        by_public: Annotated[dict[bool, list[IdOut]], Grouped("logs", by="public", order_by=Log.weight)]

    async with session(accounts) as opened:
        logs = await run_sync(opened, lambda sync: [list(account.logs) for account in sync.scalars(ACCOUNTS)])
    for row, own in zip(await resolve(accounts.fetch(Bare, ACCOUNTS).all()), logs, strict=True):
        by_weight = sorted(own, key=lambda log: (log.weight, log.id))
        assert [each.id for each in row.public] == [log.id for log in by_weight if log.public]
        assert row.keys == [log.id for log in sorted(own, key=lambda log: (-log.weight, log.id))]
        assert (row.first and row.first.id) == (by_weight[0].id if own else None)
        for public, found in row.by_public.items():
            assert [each.id for each in found] == [log.id for log in by_weight if log.public == public]


async def test_pairs_that_are_wanted_as_often_as_they_are_paired(accounts: AnyDatabase) -> None:
    class Paired(Out):
        tags: Annotated[list[IdOut], Many("tags", distinct=False)]

    paired = await resolve(accounts.fetch(Paired, ACCOUNTS).all())
    assert [len(row.tags) for row in paired] == [6, 6, 0, 0]


async def test_keys_that_repeat_across_classes_with_tables_of_their_own(accounts: AnyDatabase) -> None:
    statement = select(Vehicle).order_by(Vehicle.name)
    expected = sorted((row.name, row.id) for row in await by_orm(accounts, NamedOut, statement))
    assert len(expected) == 8
    page = await resolve(accounts.fetch(NamedOut, statement).page(size=1))
    found = [(row.name, row.id) for row in page.items]
    while page.next is not None:
        page = await resolve(accounts.fetch(NamedOut, statement).page(size=1, after=page.next))
        found += [(row.name, row.id) for row in page.items]
    assert sorted(found) == expected
    assert [name for name, _ in found] == [name for name, _ in expected]


class BehindOut(Out):
    id: int
    boss_texts: list[str] | None
    by_path: Annotated[list[int] | None, Path("boss.logs.id")]
    counted: Annotated[int | None, Count("boss.logs")]


async def test_a_list_behind_a_row_that_is_not_there(accounts: AnyDatabase) -> None:
    for strategy in ("statement", "levels"):
        first = json.loads(await resolve(accounts.fetch(BehindOut, ACCOUNTS, strategy=strategy).json()))[0]
        assert first == {"id": 1, "boss_texts": None, "by_path": None, "counted": None}
    rows = await resolve(accounts.fetch(BehindOut, ACCOUNTS).all())
    async with session(accounts) as opened:
        texts = await run_sync(opened, lambda sync: [account.boss_texts for account in sync.scalars(ACCOUNTS)])
    assert [row.boss_texts for row in rows] == [each and list(each) for each in texts]


async def test_groups_keep_their_order_however_many_rows_they_have(accounts: AnyDatabase) -> None:
    class GroupedOut(Out):
        up: Annotated[dict[bool, list[IdOut]], Grouped("logs", by="public", order_by=lambda log: log.weight)]
        down: Annotated[dict[int, list[IdOut]], Grouped("logs", by="account_id", order_by=Log.weight.desc())]

    weights = [n * 37 % 10007 for n in range(3000)]
    await add(accounts, Account(id=9, name="many", level=0))
    await add(
        accounts,
        *(Log(id=100 + n, account_id=9, text="", public=n % 3 == 0, weight=weight) for n, weight in enumerate(weights)),
    )
    [row] = await resolve(accounts.fetch(GroupedOut, select(Account).where(Account.id == 9)).all())
    for public, logs in row.up.items():
        found = [weights[log.id - 100] for log in logs]
        assert found == sorted(weights[n] for n in range(3000) if (n % 3 == 0) is public)
    assert [weights[log.id - 100] for log in row.down[9]] == sorted(weights, reverse=True)


async def test_what_cannot_be_tied_to_its_parent_is_refused(accounts: AnyDatabase) -> None:
    class Loose(Out):
        id: int
        logs: Annotated[list[IdOut], Many("logs", where=lambda _log: OTHER.weight > 1)]

    with pytest.raises(ShapeError, match="nothing ties"):
        await resolve(accounts.fetch(Loose, ACCOUNTS).all())


@pytest.mark.parametrize("annotation", [IdOut | None, Annotated[int | None, Path("lateral.id")]])
async def test_a_subquery_that_reads_its_parent_is_refused(accounts: AnyDatabase, annotation: Any) -> None:
    model = create_model("OfLateral", __base__=IdOut, lateral=(annotation, ...))
    for strategy in ("statement", "levels"):
        with pytest.raises(ShapeError, match=r"lateral: it leads to a LATERAL subquery"):
            await resolve(accounts.fetch(model, ACCOUNTS, strategy=strategy).all())


async def test_a_table_that_is_compared_with_itself_is_refused(accounts: AnyDatabase) -> None:
    model = create_model("OfItself", __base__=IdOut, graded_itself=(list[IdOut], ...))
    with pytest.raises(ShapeError, match=r"graded_itself: its secondary= has the table that it leads to"):
        await resolve(accounts.fetch(model, ACCOUNTS).all())


async def test_an_expression_of_another_table_is_refused(accounts: AnyDatabase) -> None:
    class Loose(Out):
        weight: Annotated[int, Expr(lambda _account: OTHER.weight)]

    with pytest.raises(ShapeError, match="does not select from"):
        await resolve(accounts.fetch(Loose, ACCOUNTS).all())
    joined = ACCOUNTS.join(OTHER, OTHER.account_id == Account.id).where(OTHER.id == 1)
    assert [row.weight for row in await resolve(accounts.fetch(Loose, joined).all())] == [7]


class BossOut(Out):
    id: int
    boss: NamedOut | None
    logs: list[IdOut]


_same = union(select(Account).where(Account.id < 3), select(Account)).subquery()
_made = union(
    *(
        select(
            literal(n).label("id"),
            literal(f"made {n}").label("name"),
            literal(n).label("level"),
            literal(n - 1).label("boss_id"),
        )
        for n in (1, 3)
    )
).subquery()
_one, _other, _named = aliased(Account), aliased(Account), aliased(Account, _made, adapt_on_names=True)
_ofunion = aliased(Account, _same)


@pytest.mark.parametrize(
    "statement",
    [
        select(_ofunion).order_by(_ofunion.id),
        select(_named).order_by(_named.id),
        select(_one).join(_other, _one.boss_id == _other.id).order_by(_other.id.desc(), _one.id),
        select(Account).join(Account.boss.of_type(_other)).order_by(_other.name.desc(), Account.id),
        select(_other).join(Account, Account.boss_id == _other.id).order_by(Account.id),
    ],
    ids=["union", "names", "two aliases", "class and alias", "alias and class"],
)
async def test_two_uses_of_one_table(accounts: AnyDatabase, statement: Select[Any]) -> None:
    await equals_orm(accounts, BossOut, statement)
    page = await resolve(accounts.fetch(BossOut, statement).page(size=10, number=1))
    assert page.items == await by_orm(accounts, BossOut, statement)


async def test_a_subquery_of_a_condition_on_both_sides_of_which_one_table_is(accounts: AnyDatabase) -> None:
    with pytest.raises(ShapeError, match="a table that is on both sides"):
        await resolve(accounts.fetch(create_model("NextOut", __base__=IdOut, nexts=(list[IdOut], ...)), ACCOUNTS).all())


async def test_what_only_some_databases_aggregate_or_type(accounts: AnyDatabase) -> None:
    class LogOut(IdOut):
        remark: str | None

    class Flags(Out):
        logs: list[LogOut]
        some: Annotated[bool | None, Max("logs", of="public")]
        every: Annotated[bool | None, Min("logs", of="public")]

    async with session(accounts) as opened:
        flags = await run_sync(
            opened, lambda sync: [[log.public for log in account.logs] for account in sync.scalars(ACCOUNTS)]
        )
    for strategy in ("statement", "levels"):
        rows = await resolve(accounts.fetch(Flags, ACCOUNTS, strategy=strategy).all())
        assert [(row.some, row.every) for row in rows] == [
            (any(own), all(own)) if own else (None, None) for own in flags
        ]
        assert {log.remark for row in rows for log in row.logs} == {None}
