"""The outbox: add messages in a transaction, look at dead letters, revive them."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, overload

from pydantic_core import to_jsonable_python
from sqlalchemy import MetaData, Table, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from querywright.models.mixins import uuid7
from querywright.outbox.messages import DEAD, PENDING, DeadLetter, message_from, outbox_table
from querywright.outbox.ordering import keep_order, own_clock, require_outbox

__all__ = ["Outbox"]

Result = TypeVar("Result")


class Outbox:
    """Messages that are committed, or rolled back, with the data they tell of; a `Relay` publishes them.

    Args:
        metadata: The application's metadata; the outbox declares its table there, for migrations to create.
        name: The name of the table.

    Attributes:
        table: The table of messages.

    Example:
        >>> from querywright import Database
        >>> from sqlalchemy import MetaData
        >>> metadata = MetaData()
        >>> outbox = Outbox(metadata)
        >>> with Database("sqlite+pysqlite:///:memory:") as db, db.transaction() as tx:
        ...     metadata.create_all(tx.connection())
        ...     outbox.add(tx, "orders.created", {"id": 1}, key="1").version
        7
    """

    def __init__(self, metadata: MetaData, name: str = "querywright_outbox") -> None:
        self.table: Table = outbox_table(metadata, name)

    @overload
    def add(
        self, tx: Session, topic: str, payload: Any, *, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> uuid.UUID: ...

    @overload
    def add(
        self,
        tx: AsyncSession,
        topic: str,
        payload: Any,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Awaitable[uuid.UUID]: ...

    def add(
        self,
        tx: Session | AsyncSession,
        topic: str,
        payload: Any,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> uuid.UUID | Awaitable[uuid.UUID]:
        """Add a message to the session's transaction; to be awaited if the session is.

        Messages of one key are published in the order in which their transactions were committed. For that, a
        transaction that adds to a key waits for others that have, until they end: add late, and where there are
        several keys, always in the same order.

        Args:
            tx: A session in a transaction.
            topic: What the message is about, at most 255 characters.
            payload: What Pydantic can write as JSON: plain values, models, dates, UUIDs, decimals.
            key: What the order is kept for, such as the id of an order, at most 255 characters; ``None`` for no order.
            headers: What travels beside the payload.

        Returns:
            The id of the message.

        Raises:
            ConfigurationError: There is no outbox on this database.
            ValueError: The payload cannot be written as JSON.
        """
        values = {
            "id": uuid7(),
            "topic": topic,
            "key": key,
            "payload": to_jsonable_python(payload, inf_nan_mode="null"),
            "headers": dict(headers or {}),
            "state": PENDING,
            "attempts": 0,
        }
        return _in_session(tx, lambda session: self._insert(session, values))

    def _insert(self, session: Session, values: dict[str, Any]) -> uuid.UUID:
        require_outbox(session)
        if values["key"] is not None:
            keep_order(session, self.table.fullname, values["key"])
        session.execute(insert(self.table).values({**values, "created_at": own_clock(session)}))
        message_id: uuid.UUID = values["id"]
        return message_id

    @overload
    def dead(self, tx: Session, *, topic: str | None = None, limit: int = 100) -> list[DeadLetter]: ...

    @overload
    def dead(self, tx: AsyncSession, *, topic: str | None = None, limit: int = 100) -> Awaitable[list[DeadLetter]]: ...

    def dead(
        self, tx: Session | AsyncSession, *, topic: str | None = None, limit: int = 100
    ) -> list[DeadLetter] | Awaitable[list[DeadLetter]]:
        """List dead letters, oldest message first; to be awaited if the session is.

        Args:
            tx: A session.
            topic: Only those of this topic.
            limit: At most so many.
        """
        statement = select(self.table).where(self.table.c.state == DEAD).order_by(self.table.c.position).limit(limit)
        if topic is not None:
            statement = statement.where(self.table.c.topic == topic)

        def read(session: Session) -> list[DeadLetter]:
            rows = session.execute(statement)
            return [DeadLetter(message_from(row, row.attempts), row.error, row.settled_at) for row in rows]

        return _in_session(tx, read)

    @overload
    def revive(self, tx: Session, *ids: uuid.UUID) -> int: ...

    @overload
    def revive(self, tx: AsyncSession, *ids: uuid.UUID) -> Awaitable[int]: ...

    def revive(self, tx: Session | AsyncSession, *ids: uuid.UUID) -> int | Awaitable[int]:
        """Give dead letters all their attempts again; to be awaited if the session is.

        Of its key, a revived message comes before those that were added after it and are not yet published.

        Args:
            tx: A session in a transaction.
            ids: The messages.

        Returns:
            How many of them were dead letters.
        """
        statement = (
            update(self.table)
            .where(self.table.c.state == DEAD, self.table.c.id.in_(ids))
            .values(state=PENDING, attempts=0, due_at=None, settled_at=None, error=None)
            .returning(self.table.c.id)
        )
        return _in_session(tx, lambda session: len(session.scalars(statement).all()))


def _in_session(tx: Session | AsyncSession, work: Callable[[Session], Result]) -> Result | Awaitable[Result]:
    """Run synchronous work in a session of either kind."""
    return tx.run_sync(work) if isinstance(tx, AsyncSession) else work(tx)
