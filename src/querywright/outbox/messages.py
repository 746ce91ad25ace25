"""What an outbox holds: messages, dead letters, and the table of both."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Row, String, Table, Uuid

from querywright.models.types import StoredJSON, UTCDateTime

__all__ = ["DEAD", "PENDING", "PUBLISHED", "DeadLetter", "Message", "message_from", "outbox_table"]

# The states of a message.
PENDING = "pending"
PUBLISHED = "published"
DEAD = "dead"


@dataclass(frozen=True)
class Message:
    """One message, as it is handed to the function that publishes it.

    Attributes:
        id: The same at each attempt, so a consumer can use it to leave out what it has seen.
        topic: What the message is about, such as ``orders.created``.
        key: Messages of one key are published in the order of their transactions; ``None`` for no order.
        payload: Any JSON value.
        headers: What travels beside the payload, such as a trace.
        created_at: When it was added.
        attempts: Which attempt this is, from 1 on. One whose relay died counts if it published nothing else.
    """

    id: uuid.UUID
    topic: str
    key: str | None
    # Users' data stay out of logs.
    payload: Any = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    created_at: dt.datetime
    attempts: int


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up.

    Attributes:
        message: What could not be published.
        error: The class of the last error, without its text.
        died_at: When it was given up.
    """

    message: Message
    error: str
    died_at: dt.datetime


def outbox_table(metadata: MetaData, name: str) -> Table:
    """Declare the table of an outbox.

    The database counts ``position``: clocks of several machines cannot say what came first. ``claim`` names the
    relay's claim on a message until ``due_at``, when the lease ends; without a claim, ``due_at`` is the time of
    the next attempt, and NULL means now.
    """
    return Table(
        name,
        metadata,
        Column("position", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
        Column("id", Uuid(), nullable=False),
        Column("topic", String(255), nullable=False),
        Column("key", String(255)),
        # Not JSONB: nobody searches in it, and a payload keeps the order of its keys.
        Column("payload", StoredJSON(), nullable=False),
        Column("headers", StoredJSON(), nullable=False),
        Column("created_at", UTCDateTime(), nullable=False),
        Column("state", String(16), nullable=False),
        Column("attempts", Integer(), nullable=False),
        Column("due_at", UTCDateTime()),
        Column("claim", Uuid()),
        Column("settled_at", UTCDateTime()),
        Column("error", String(255)),
        Index(f"ix_{name}_state_position", "state", "position"),
        Index(f"ix_{name}_state_due_at", "state", "due_at"),
        # Or SQLite would give the position of a deleted message to a new one.
        sqlite_autoincrement=True,
    )


def message_from(row: Row[Any], attempts: int) -> Message:
    """Make a message of a row of the table."""
    return Message(row.id, row.topic, row.key, row.payload, row.headers, row.created_at, attempts)
