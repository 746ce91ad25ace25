"""Units of work: databases, sessions, transactions, retries and idempotency keys."""

from querywright.session.aio import AsyncDatabase
from querywright.session.database import Database
from querywright.session.replicas.routing import AsyncReplicas, Replicas
from querywright.session.sessions import AsyncSession, Session
from querywright.session.units.idempotency import IdempotencyKey, IdempotencyKeys
from querywright.session.units.locks import advisory_lock, lock_key

__all__ = [
    "AsyncDatabase",
    "AsyncReplicas",
    "AsyncSession",
    "Database",
    "IdempotencyKey",
    "IdempotencyKeys",
    "Replicas",
    "Session",
    "advisory_lock",
    "lock_key",
]
