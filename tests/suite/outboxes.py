"""An outbox, who publishes for it, and a clock that stands still, for tests of relays."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from sqlalchemy import MetaData, select
from sqlalchemy.orm import Session

from querywright import Database
from querywright.engine import pool_snapshot
from querywright.outbox import Message, Outbox
from tests.suite.support import AnyDatabase, resolve, session, transaction

DRIVERS = (
    "sqlite+pysqlite", "sqlite+aiosqlite", "postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg"
)  # fmt: skip
POSTGRES = DRIVERS[2:]

outbox = Outbox(MetaData())


class Clock:
    """A clock for relays that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)

    def __call__(self, _session: Session) -> dt.datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


class Broker:
    """Takes messages, or refuses them."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.refuses: Callable[[Message], bool] = lambda _: False

    async def publish(self, message: Message) -> None:
        await asyncio.sleep(0)
        if self.refuses(message):
            raise ConnectionError("password=hunter2")
        self.got.append(message)

    @property
    def payloads(self) -> list[Any]:
        return [message.payload for message in self.got]

    def by_key(self) -> dict[str | None, list[Any]]:
        grouped = defaultdict(list)
        for message in self.got:
            grouped[message.key].append(message.payload)
        return dict(grouped)


async def send(db: AnyDatabase, *payloads: Any, key: str | None = None) -> list[uuid.UUID]:
    async with transaction(db, nested="new") as tx:
        return [await resolve(outbox.add(tx, "topic", payload, key=key)) for payload in payloads]


async def states(db: AnyDatabase) -> list[str]:
    return await read(db, select(outbox.table.c.state).order_by(outbox.table.c.position))


async def read(db: AnyDatabase, statement: Any) -> list[Any]:
    async with session(db) as opened:
        return list(await resolve(opened.scalars(statement)))


def checked_out(db: AnyDatabase) -> int:
    return pool_snapshot(db.engine if isinstance(db, Database) else db.engine.sync_engine).checked_out
