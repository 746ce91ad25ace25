"""Write a test once and run it on sync and async databases alike."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from querywright import AsyncDatabase, Database
from querywright.events import StatementExecuted, subscribed

T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)
AnyDatabase = Database | AsyncDatabase
AnySession = Session | AsyncSession


async def resolve(value: Awaitable[T] | T) -> T:
    """Await what an async database returned; take what a sync one returned."""
    return await value if inspect.isawaitable(value) else value  # type: ignore[return-value]


@asynccontextmanager
async def block(manager: Any) -> AsyncIterator[Any]:
    """Enter a block of either kind, such as one of ``begin()``."""
    if hasattr(manager, "__aenter__"):
        async with manager as entered:
            yield entered
    else:
        with manager as entered:
            yield entered


def transaction(db: AnyDatabase, **options: Any) -> AbstractAsyncContextManager[Any]:
    """Open a transaction of either kind; the session is typed as either needs it."""
    return block(db.transaction(**options))


def session(db: AnyDatabase, **options: Any) -> AbstractAsyncContextManager[Any]:
    """Open a session of either kind."""
    return block(db.session(**options))


async def collect(stream: Iterator[T] | AsyncIterator[T]) -> list[T]:
    """List what a stream of either kind gives."""
    return [item async for item in stream] if isinstance(stream, AsyncIterator) else list(stream)


async def run_sync(opened: AnySession, work: Callable[[Session], T]) -> T:
    """Run synchronous ORM code in a session of either kind."""
    return await opened.run_sync(work) if isinstance(opened, AsyncSession) else work(opened)


async def add(db: AnyDatabase, *rows: object) -> None:
    """Write rows in a transaction of their own."""
    async with transaction(db) as tx:
        tx.add_all(rows)


async def by_orm(db: AnyDatabase, model: type[Model], statement: Select[Any]) -> list[Model]:
    """Load objects with the ORM and validate them with Pydantic: what fetch has to equal."""
    async with session(db) as opened:
        return await run_sync(opened, lambda sync: validate(sync, model, statement))


def validate(sync: Session, model: type[Model], statement: Select[Any]) -> list[Model]:
    return TypeAdapter(list[model]).validate_python(sync.scalars(statement).unique().all(), from_attributes=True)  # type: ignore[valid-type]


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect every statement that any database runs in the block."""
    seen: list[str] = []
    with subscribed(StatementExecuted, lambda event: seen.append(event.sql)):
        yield seen


async def run(db: AnyDatabase, work: Any, *arguments: Any, **options: Any) -> Any:
    """Run a synchronous function of a session on either kind of database."""
    if isinstance(db, Database):
        return db.run(work, *arguments, **options)

    async def asynchronous(tx: Any, *given: Any) -> Any:
        return await tx.run_sync(work, *given)

    return await db.run(asynchronous, *arguments, **options)
