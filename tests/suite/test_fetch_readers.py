"""A fetch from a database obeys those who listen to all of its sessions, though it has no session."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy.orm
from sqlalchemy import event, select
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.orm import ORMExecuteState, with_loader_criteria

from querywright import ShapeError, fetch, prepare
from querywright.session import AsyncDatabase, AsyncSession, Session
from tests.suite.models import Author, Book, NameOut, Tag, TagOut
from tests.suite.support import AnyDatabase, add, collect, resolve, statements

TAGS = select(Tag).order_by(Tag.id)


@contextmanager
def listening(target: type[sqlalchemy.orm.Session], listener: Callable[[ORMExecuteState], Any]) -> Iterator[None]:
    event.listen(target, "do_orm_execute", listener)
    try:
        yield
    finally:
        event.remove(target, "do_orm_execute", listener)


def without_secrets(state: ORMExecuteState) -> None:
    if state.is_select and not state.execution_options.get("include_secrets"):
        criteria = with_loader_criteria(Tag, Tag.name != "secret", include_aliases=True)
        state.statement = state.statement.options(criteria)


def session_class(db: AnyDatabase) -> type[sqlalchemy.orm.Session]:
    return AsyncSession.sync_session_class if isinstance(db, AsyncDatabase) else Session


@pytest.mark.parametrize("own", [False, True])
async def test_filters_of_all_sessions_hold(db: AnyDatabase, own: bool) -> None:  # noqa: FBT001
    await add(db, Tag(id=1, name="open"), Tag(id=2, name="secret"))
    with listening(session_class(db) if own else sqlalchemy.orm.Session, without_secrets):
        found = db.fetch(TagOut, TAGS)
        assert await resolve(found.json()) == b'[{"name":"open"}]'
        assert [tag.name for tag in await resolve(found.all())] == ["open"]
        assert (await resolve(found.one())).name == "open"
        assert await resolve(found.count()) == 1
        assert await resolve(db.fetch(TagOut, TAGS.where(Tag.id == 2)).exists()) is False
        page = await resolve(found.page(size=5))
        assert ([tag.name for tag in page.items], page.total) == (["open"], 1)
        assert [tag.name for tag in await collect(found.stream())] == ["open"]
        assert "<>" in found.sql() or "!=" in found.sql()
        assert (await resolve(fetch(db, TagOut, TAGS).all())) == await resolve(found.all())
        assert (await resolve(prepare(TagOut, TAGS)(db).all())) == await resolve(found.all())
        every = db.fetch(TagOut, TAGS.execution_options(include_secrets=True))
        assert len(await resolve(every.all())) == 2
    assert len(await resolve(db.fetch(TagOut, TAGS).all())) == 2


async def test_it_stays_one_statement(db: AnyDatabase) -> None:
    await add(db, Tag(id=1, name="open"), Tag(id=2, name="secret"))
    with listening(sqlalchemy.orm.Session, without_secrets), statements() as seen:
        assert json.loads(await resolve(db.fetch(TagOut, TAGS).json())) == [{"name": "open"}]
    assert len(seen) == 1


async def test_values_of_listeners(db: AnyDatabase) -> None:
    await add(db, Author(id=1, name="Ada"), Author(id=2, name="Bo"), Book(id=1, author_id=1, title="A"))

    def only_bo(state: ORMExecuteState) -> None:
        statement: Any = state.statement
        state.statement = statement.where(Author.name == "Bo")

    with listening(sqlalchemy.orm.Session, only_bo):
        assert [row.id for row in await resolve(db.fetch(NameOut, select(Author)).all())] == [2]


async def test_rows_of_a_listener_are_refused(db: AnyDatabase) -> None:
    def answer(_state: ORMExecuteState) -> Any:
        return IteratorResult(SimpleResultMetaData(["name"]), iter([("of a cache",)]))

    with listening(sqlalchemy.orm.Session, answer), pytest.raises(ShapeError, match="rows of its own"):
        await resolve(db.fetch(TagOut, TAGS).all())
