"""Units of work: databases, sessions, transactions, retries and idempotency keys."""

from querywright.session.aio import AsyncDatabase
from querywright.session.database import Database
from querywright.session.idempotency import IdempotencyKey, IdempotencyKeys
from querywright.session.locks import advisory_lock, lock_key
from querywright.session.sessions import AsyncSession, Session

__all__ = [
    "AsyncDatabase",
    "AsyncSession",
    "Database",
    "IdempotencyKey",
    "IdempotencyKeys",
    "Session",
    "advisory_lock",
    "lock_key",
]
