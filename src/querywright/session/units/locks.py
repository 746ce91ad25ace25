"""Locks that end with the transaction: on a name (advisory), and what locks on rows have in common with them."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, overload

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from querywright.engine import classify
from querywright.engine.databases.lookup import backend_of
from querywright.errors import ConfigurationError, LockNotAvailable

__all__ = ["NamePart", "advisory_lock", "lock_errors", "lock_key"]

NamePart = str | int | uuid.UUID
_PARTS: Any = (str, int, uuid.UUID)
# Keeps our keys apart from those that others make of the same names.
_PERSON = b"querywright.lock"


def lock_key(*name: NamePart) -> int:
    """Make the 64-bit key of a lock's name; the same in every process, version and language.

    It is the BLAKE2b of 8 bytes, signed and big-endian, personalised by ``querywright.lock``, of each part's length
    and UTF-8 text: ``5:order1:7``.

    Args:
        name: The parts of the name; ``7`` and ``"7"`` mean the same.

    Raises:
        ConfigurationError: There is no part, or one of another type.

    Example:
        >>> lock_key("order", 7) == lock_key("order", "7") != lock_key("order7")
        True
    """
    if not name or any(not isinstance(part, _PARTS) or isinstance(part, bool) for part in name):
        message = f"{name!r} does not name a lock."
        raise ConfigurationError(message, hint="Give strings, integers or UUIDs.")
    # Half of a surrogate pair names a lock as well as any other text.
    texts = [str(part).encode(errors="surrogatepass") for part in name]
    data = b"".join(b"%d:%s" % (len(text), text) for text in texts)
    return int.from_bytes(hashlib.blake2b(data, digest_size=8, person=_PERSON).digest(), "big", signed=True)


@overload
def advisory_lock(session: Session, /, *name: NamePart, wait: bool = True) -> None: ...


@overload
def advisory_lock(session: AsyncSession, /, *name: NamePart, wait: bool = True) -> Awaitable[None]: ...


def advisory_lock(session: Session | AsyncSession, /, *name: NamePart, wait: bool = True) -> Awaitable[None] | None:
    """Lock a name until the transaction ends, so that only one at a time does what the name stands for.

    On SQLite every writing transaction excludes the others already, so this only begins it.

    Args:
        session: A session; to be awaited if it is an asynchronous one.
        name: The parts of the name, such as ``"invoice", customer_id``.
        wait: Whether to wait for the lock, on PostgreSQL for at most the setting ``lock_timeout``.

    Raises:
        LockNotAvailable: Somebody else holds it; after ``wait=False`` the transaction goes on.
        ConfigurationError: The transaction cannot hold it: on MySQL and MariaDB, where such locks outlive
            transactions and are local to a node of Galera; in autocommit; in a read-only transaction on SQLite.

    Example:
        >>> from querywright import Database
        >>> with Database("sqlite+pysqlite:///:memory:") as db, db.transaction() as tx:
        ...     advisory_lock(tx, "invoice", 7)
    """
    key = lock_key(*name)
    if isinstance(session, AsyncSession):
        return session.run_sync(_acquire, key, wait=wait)
    _acquire(session, key, wait=wait)
    return None


def _acquire(session: Session, key: int, *, wait: bool) -> None:
    with lock_errors():
        connection = session.connection()
        backend = backend_of(connection.dialect)
        if backend.advisory_lock is None:
            message = f"There are no advisory locks for transactions on {backend.name}."
            raise ConfigurationError(message, hint='Lock a row instead: Repository.get(key, lock="update").')
        if backend.autocommit.items() <= connection.get_execution_options().items():
            message = "In autocommit, the lock would end with the statement that takes it."
            raise ConfigurationError(message, hint="Take it inside a transaction.")
        if not backend.advisory_lock(connection, key, wait):
            raise LockNotAvailable("The lock is held by somebody else.", sqlstate="55P03")


@contextmanager
def lock_errors() -> Iterator[None]:
    """Raise `LockNotAvailable` where the database reports that a lock was not free.

    Raises:
        LockNotAvailable: Somebody else holds the lock.
    """
    try:
        yield
    except DBAPIError as error:
        known = classify(error)
        if isinstance(known, LockNotAvailable):
            raise known from error
        raise
