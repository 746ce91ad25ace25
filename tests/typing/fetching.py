"""What type checkers know of fetch; checked by mypy and pyright, never run."""

from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection, Engine, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.ext.asyncio import AsyncSession as PlainAsyncSession
from sqlalchemy.orm import Session as PlainSession
from typing_extensions import assert_type

from querywright import AsyncDatabase, AsyncFetch, AsyncSession, Database, Fetch, JsonBytes, Session, fetch
from querywright.fastapi import Json, Reader, Writer
from tests.suite.models import Author


class Out(BaseModel):
    id: int


class Other(BaseModel):
    id: int


STATEMENT: Select[Any] = select(Author)


def sync_verbs(db: Database) -> None:
    fetched = db.fetch(Out, select(Author))
    assert_type(fetched, Fetch[Out])
    assert_type(fetched.all(), list[Out])
    assert_type(fetched.one(), Out)
    assert_type(fetched.one_or_none(), Out | None)
    assert_type(fetched.first(), Out | None)
    assert_type(fetched.json(), JsonBytes[list[Out]])
    assert_type(fetched.json_one(), JsonBytes[Out])
    assert_type(fetched.sql(), str)


async def async_verbs(db: AsyncDatabase) -> None:
    fetched = db.fetch(Out, select(Author))
    assert_type(fetched, AsyncFetch[Out])
    assert_type(await fetched.all(), list[Out])
    assert_type(await fetched.one(), Out)
    assert_type(await fetched.one_or_none(), Out | None)
    assert_type(await fetched.first(), Out | None)
    assert_type(await fetched.json(), JsonBytes[list[Out]])
    assert_type(await fetched.json_one(), JsonBytes[Out])
    assert_type(fetched.sql(), str)


def every_sync_bind(db: Database, session: PlainSession, connection: Connection, engine: Engine) -> None:
    assert_type(fetch(db, Out, STATEMENT), Fetch[Out])
    assert_type(fetch(session, Out, STATEMENT), Fetch[Out])
    assert_type(fetch(connection, Out, STATEMENT), Fetch[Out])
    assert_type(fetch(engine, Out, STATEMENT), Fetch[Out])


def every_async_bind(
    db: AsyncDatabase, session: PlainAsyncSession, connection: AsyncConnection, engine: AsyncEngine
) -> None:
    assert_type(fetch(db, Out, STATEMENT), AsyncFetch[Out])
    assert_type(fetch(session, Out, STATEMENT), AsyncFetch[Out])
    assert_type(fetch(connection, Out, STATEMENT), AsyncFetch[Out])
    assert_type(fetch(engine, Out, STATEMENT), AsyncFetch[Out])


async def transactions(sync_db: Database, db: AsyncDatabase) -> None:
    with sync_db.transaction() as tx:
        assert_type(tx, Session)
        assert_type(tx.fetch(Out, STATEMENT).all(), list[Out])
    async with db.transaction() as async_tx:
        assert_type(async_tx, AsyncSession)
        assert_type(await async_tx.fetch(Out, STATEMENT).all(), list[Out])


async def dependencies(db: Reader, tx: Writer) -> Json[list[Out]]:
    assert_type(db, AsyncDatabase)
    assert_type(tx, AsyncSession)
    return Json(await db.fetch(Out, STATEMENT).json())


async def the_wrong_model_is_noticed(db: Reader) -> Json[list[Out]]:
    return Json(await db.fetch(Other, STATEMENT).json())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportReturnType]


def what_is_no_bind_is_noticed() -> None:
    fetch("sqlite://", Out, STATEMENT)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
