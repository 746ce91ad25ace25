"""What else a statement says: to the listeners of its session, in options that filter related rows or fill columns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import LABEL_STYLE_TABLENAME_PLUS_COL, ForeignKey, bindparam, desc, event, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    mapped_column,
    query_expression,
    relationship,
    with_expression,
    with_loader_criteria,
)

from querywright import AsyncDatabase, ShapeError, prepare
from tests.suite.models import Author, Book, NameOut, Out, Tag
from tests.suite.support import AnyDatabase, add, by_orm, resolve, run_sync, session, transaction

NAMED = select(Author).where(Author.name == bindparam("n")).order_by(Author.id)
ALL = select(Author).order_by(Author.id)
by_name = prepare(NameOut, NAMED)


@pytest.fixture
async def authors(db: AnyDatabase) -> AnyDatabase:
    await add(db, *(Author(id=n, name=name) for n, name in enumerate("abc", 1)))
    return db


@contextmanager
def listening(opened: Any, *listeners: Any) -> Iterator[None]:
    sync = opened.sync_session if isinstance(opened, AsyncSession) else opened
    for listener in listeners:
        event.listen(sync, "do_orm_execute", listener)
    yield
    for listener in listeners:
        event.remove(sync, "do_orm_execute", listener)


def put(state: Any) -> None:
    if state.parameters:
        state.parameters.update(n="b", another=1)


def replace(state: Any) -> None:
    state.parameters = {"n": "b"}


def in_statement(state: Any) -> None:
    state.statement = state.statement.with_only_columns(Author).where(Author.id < 3).params(n="b", another=1)


def invoke(state: Any) -> Any:
    return state.invoke_statement(params={"n": "b"})


def invoke_another(state: Any) -> Any:
    return state.invoke_statement(statement=ALL.where(Author.id == 2))


def options(state: Any) -> None:
    state.update_execution_options(autoflush=False)


# Each of these, with what it makes of {"n": "a"} .
CHANGES: dict[str, tuple[list[Any], list[int]]] = {
    "changed in place": ([put], [2]),
    "replaced": ([replace], [2]),
    "in the statement": ([in_statement], [1]),
    "invoked": ([invoke], [2]),
    "invoked with another statement": ([invoke_another], [2]),
    "the last one wins": ([put, invoke, lambda state: state.parameters.update(n="c")], [3]),
    "changed nothing": ([options, lambda state: None], [1]),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
async def test_listeners_change_statements_and_parameters(authors: AnyDatabase, name: str) -> None:
    listeners, expected = CHANGES[name]
    parameters = {"n": "a"}
    async with session(authors) as opened:
        with listening(opened, *listeners):
            for _ in range(2):
                fetched = opened.fetch(NameOut, NAMED, parameters)
                assert [row.id for row in await resolve(fetched.all())] == expected
                assert (await resolve(fetched.count()), parameters) == (1, {"n": "a"})
                assert [row.id for row in (await resolve(fetched.page(size=2))).items] == expected
                assert [row.id for row in await resolve(by_name(opened, n="a").all())] == expected
                assert fetched.sql()


async def test_listeners_see_what_the_orm_shows_them(authors: AnyDatabase) -> None:
    seen: list[Any] = []

    def look(state: Any) -> None:
        kinds = (state.is_select, state.is_orm_statement, state.is_column_load, state.is_relationship_load)
        rest = (state.bind_mapper, state.all_mappers, [type(option) for option in state.user_defined_options])
        seen.append((state.parameters, kinds, rest, state.execution_options.get("mine")))

    statement = NAMED.execution_options(mine=1)
    async with session(authors) as opened:
        with listening(opened, look):
            for parameters in ({"n": "b"}, None):
                given = statement if parameters else ALL
                await run_sync(opened, lambda sync, given=given, values=parameters: sync.scalars(given, values).all())
                await resolve(opened.fetch(NameOut, given, parameters).all())
    assert len(seen) == 4
    assert (seen[0], seen[2]) == (seen[1], seen[3])


async def test_listeners_may_ask_the_database(authors: AnyDatabase) -> None:
    def only_of_tenant(state: Any) -> None:
        if "nested" not in state.execution_options:
            newest = select(func.max(Author.id)).execution_options(nested=True)
            state.statement = state.statement.where(Author.id == state.session.scalar(newest))

    async with session(authors) as opened:
        with listening(opened, only_of_tenant):
            assert [row.id for row in await resolve(opened.fetch(NameOut, ALL).all())] == [3]


def answer(state: Any) -> Any:
    return state.session.get_bind() and state.invoke_statement().freeze()()


def answer_of_cache(state: Any) -> Any:
    return state.session.connection().execute(select(literal(1)))


def answer_of_shards(state: Any) -> Any:
    return state.invoke_statement().merge(state.invoke_statement())


@pytest.mark.parametrize("listener", [answer, answer_of_cache, answer_of_shards])
async def test_listeners_cannot_answer_for_a_fetch(authors: AnyDatabase, listener: Any) -> None:
    async with session(authors) as opened:
        with listening(opened, listener), pytest.raises(ShapeError, match="with rows of its own"):
            await resolve(opened.fetch(NameOut, ALL).all())


async def test_sessions_at_the_same_time_do_not_hear_each_other(authors: AnyDatabase) -> None:
    """Listeners of all sessions run in every thread and task; each fetch keeps what is its own."""

    def own(state: Any) -> None:
        if state.parameters:
            state.parameters["n"] = state.parameters["n"].lower()

    async def by_task(name: str) -> list[str]:
        async with session(authors) as opened:
            return [
                row.name for _ in range(5) for row in await resolve(opened.fetch(NameOut, NAMED, {"n": name}).all())
            ]

    def by_thread(name: str) -> None:
        with session_of(authors) as opened:
            found[name] = [row.name for _ in range(5) for row in opened.fetch(NameOut, NAMED, {"n": name}).all()]

    found: dict[str, list[str]] = {}
    event.listen(Session, "do_orm_execute", own)
    try:
        if isinstance(authors, AsyncDatabase):
            found = dict(zip("ABC", await asyncio.gather(*map(by_task, "ABC")), strict=True))
        else:
            threads = [threading.Thread(target=by_thread, args=(name,)) for name in "ABC"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        event.remove(Session, "do_orm_execute", own)
    assert found == {name: [name.lower()] * 5 for name in "ABC"}


def session_of(db: Any) -> Any:
    return db.session()


class BookOut(Out):
    id: int


class PupilOut(Out):
    id: int
    mentor: BookOut | None
    books: list[BookOut]


class TreeOut(Out):
    id: int
    mentor: BookOut | None
    pupils: list[PupilOut]
    books: list[BookOut]


@pytest.fixture
async def family(db: AnyDatabase) -> AnyDatabase:
    async with transaction(db) as tx:
        for n in range(1, 7):
            tx.add(Author(id=n, name=f"a{n}", mentor_id=n // 2 or None, deleted=n in {2, 5}))
            await resolve(tx.flush())
        tx.add_all(Book(id=n, author_id=1 + n % 6, title=f"t{n}", pages=n, deleted=n % 3 == 0) for n in range(1, 13))
    return db


other = aliased(Author)
# What of it the ORM applies to the rows of a select() of the class, it applies to related ones as well.
CRITERIA: dict[str, list[Any]] = {
    f"{kind}, {entity.__name__}, {aliases=}, {loaders=}": [
        with_loader_criteria(entity, condition, include_aliases=aliases, propagate_to_loaders=loaders)
    ]
    for entity in (Author, Book)
    for kind, condition in (("expression", entity.deleted.is_(False)), ("lambda", lambda c: c.deleted.is_(False)))
    for aliases in (True, False)
    for loaders in (True, False)
} | {
    "a subquery": [with_loader_criteria(Author, Author.id.in_(select(Book.author_id).where(Book.id < 5)), True)],
    "of itself": [with_loader_criteria(Author, Author.id.in_(select(other.id).where(other.id < 5)), True)],
    "two": [
        with_loader_criteria(Author, Author.deleted.is_(False), include_aliases=True),
        with_loader_criteria(Book, lambda c: c.pages > 4),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", CRITERIA)
async def test_filters_of_related_rows_are_those_of_the_orm(family: AnyDatabase, name: str) -> None:
    given = CRITERIA[name]
    statement = select(Author).order_by(Author.id).options(*given)
    everything = {row.id: row for row in await resolve(family.fetch(TreeOut, select(Author)).all())}
    loaders = [option for option in given if option.propagate_to_loaders]
    async with session(family) as opened:
        roots = await run_sync(opened, lambda sync: [row.id for row in sync.scalars(statement)])
    async with session(family) as opened:
        visible: dict[Any, set[int]] = await run_sync(
            opened,
            # As lazy and selectin loading select them, but not from the identity map.
            lambda sync: {kind: set(sync.scalars(select(kind.id).options(*loaders))) for kind in (Author, Book)},
        )
    expected = [filtered(everything[key], visible) for key in roots]
    for strategy in ("statement", "levels"):
        found = await resolve(family.fetch(TreeOut, statement, strategy=strategy).all())
        assert [row.model_dump() for row in found] == expected
    page = await resolve(family.fetch(TreeOut, statement).page(size=10))
    assert ([row.model_dump() for row in page.items], page.total) == (expected, len(expected))


def filtered(row: Any, visible: dict[Any, set[int]]) -> dict[str, Any]:
    written: dict[str, Any] = row.model_dump()
    written["books"] = [book for book in written["books"] if book["id"] in visible[Book]]
    if written["mentor"] and written["mentor"]["id"] not in visible[Author]:
        written["mentor"] = None
    if hasattr(row, "pupils"):
        written["pupils"] = [filtered(pupil, visible) for pupil in row.pupils if pupil.id in visible[Author]]
    return written


async def test_values_of_filters_are_those_of_the_call(family: AnyDatabase) -> None:
    def at_most(pages: int, *, expression: bool) -> Any:
        condition: Any = Book.pages <= pages if expression else lambda book: book.pages <= pages
        option = with_loader_criteria(Book, condition, include_aliases=expression)
        return select(Author).where(Author.id == 1).options(option)

    for expression in (True, False):
        for strategy in ("statement", "levels"):
            for pages, keys in ((12, {6, 12}), (6, {6}), (1, set()), (12, {6, 12})):
                found = family.fetch(TreeOut, at_most(pages, expression=expression), strategy=strategy)
                assert {book.id for book in (await resolve(found.one())).books} == keys


class MixedBase(DeclarativeBase):
    pass


class Soft:
    deleted: Mapped[bool] = mapped_column(default=False)


class Pen(Soft, MixedBase):
    __tablename__ = "pens"
    id: Mapped[int] = mapped_column(primary_key=True)
    box_id: Mapped[int] = mapped_column(ForeignKey("boxes.id"))
    box: Mapped[Box] = relationship(back_populates="pens")


class Box(Soft, MixedBase):
    __tablename__ = "boxes"
    id: Mapped[int] = mapped_column(primary_key=True)
    pens: Mapped[list[Pen]] = relationship(back_populates="box", order_by=Pen.id)


class PenOut(Out):
    id: int
    box: BookOut | None


class BoxOut(Out):
    id: int
    pens: list[BookOut]


@pytest.mark.parametrize("aliases", [True, False])
async def test_filters_of_a_mixin_need_include_aliases(db: AnyDatabase, *, aliases: bool) -> None:
    async with transaction(db) as tx:
        await run_sync(tx, lambda sync: MixedBase.metadata.create_all(sync.connection()))
    try:
        await add(db, Box(id=1), Box(id=2, deleted=True))
        await add(db, *(Pen(id=n, box_id=1 + n % 2, deleted=n > 2) for n in range(1, 5)))
        option = with_loader_criteria(Soft, lambda cls: cls.deleted.is_(False), include_aliases=aliases)
        for model, statement in ((PenOut, select(Pen).order_by(Pen.id)), (BoxOut, select(Box).order_by(Box.id))):
            filtered = statement.options(option)
            assert await resolve(db.fetch(model, filtered).all()) == await by_orm(db, model, filtered)
    finally:
        async with transaction(db) as tx:
            await run_sync(tx, lambda sync: MixedBase.metadata.drop_all(sync.connection()))


class ExpressionBase(DeclarativeBase):
    pass


class Measured(ExpressionBase):
    __table__ = Author.__table__
    __mapper_args__ = {"include_properties": ["id", "name", "mentor_id"]}  # noqa: RUF012 - read by SQLAlchemy

    size: Mapped[int | None] = query_expression()
    weight: Mapped[int] = query_expression(literal(7))


# Its columns are those of the table, which type checkers do not read.
M: Any = Measured


class MeasuredOut(Out):
    id: int
    size: int | None
    weight: int


SIZES = [func.length(M.name), M.id * bindparam("by", 10), select(func.count(Tag.id)).scalar_subquery()]


async def test_columns_filled_by_the_statement(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="a"), Author(id=2, name="bbb"))
    statement = select(M).order_by(M.id)
    for given in (
        [],
        *([with_expression(M.size, size)] for size in SIZES),
        [with_expression(M.weight, M.id)],
    ):
        async with session(db) as opened:
            rows: list[Any] = await run_sync(
                opened,
                lambda sync, given=given: [
                    MeasuredOut.model_validate(row) for row in sync.scalars(statement.options(*given))
                ],
            )
        found = db.fetch(MeasuredOut, statement.options(*given))
        assert await resolve(found.all()) == rows
        assert (await resolve(found.page(size=5))).items == rows
    alias = aliased(M)
    of_alias = select(alias).options(with_expression(alias.size, alias.id + 1)).where(alias.id == 2)
    assert (await resolve(db.fetch(MeasuredOut, of_alias).one())).size == 3
    scaled = statement.options(with_expression(M.size, SIZES[1]))
    assert [row.size for row in await resolve(db.fetch(MeasuredOut, scaled, {"by": 3}).all())] == [3, 6]


def test_columns_that_a_statement_cannot_fill_are_told() -> None:
    from querywright import Database  # noqa: PLC0415 - beside its only use

    wrong = select(M).options(with_expression(M.size, M.name + "!"))
    alias = aliased(M)
    elsewhere = select(M).options(with_expression(alias.size, alias.id))
    with Database("sqlite+pysqlite:///:memory:") as db:
        with pytest.raises(ShapeError, match=r"MeasuredOut\.size: its with_expression\(\) makes text, the field wants"):
            db.fetch(MeasuredOut, wrong).all()
        with pytest.raises(ShapeError, match=r"is for other rows than those that it selects. Mark .* with Expr\(\)"):
            db.fetch(MeasuredOut, elsewhere).all()


_PLUS = select(Author).set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
_NAME = f"{Author.__tablename__}_name"


@pytest.mark.parametrize(
    "ordered",
    [
        select(Author).order_by(desc("name")),
        _PLUS.order_by(desc(_NAME)).limit(2),
        _PLUS.join(Author.books, isouter=True).order_by(desc(_NAME)),
    ],
    ids=["column", "label", "label beside a join"],
)
async def test_names_in_the_order_mean_what_the_orm_takes_them_for(authors: AnyDatabase, ordered: Any) -> None:
    assert await resolve(authors.fetch(NameOut, ordered).all()) == await by_orm(authors, NameOut, ordered)


@pytest.mark.filterwarnings("ignore:Did not locate")
async def test_a_column_that_an_alias_does_not_have(authors: AnyDatabase) -> None:
    narrow: Any = aliased(Author, select(Author.id).subquery())
    with pytest.raises(ShapeError, match="does not select from"):
        await resolve(authors.fetch(NameOut, select(narrow)).all())
