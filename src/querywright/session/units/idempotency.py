"""Do a unit of work once, however often it is asked for: a key and the result, written in the same transaction."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python
from sqlalchemy import Column, CursorResult, MetaData, String, Table, delete, select, update
from sqlalchemy.orm import Session

from querywright.engine.databases.lookup import backend_of
from querywright.errors import InvalidValue, KeyInUse, KeyReused, LockNotAvailable, TransactionConflict
from querywright.models import UTCDateTime
from querywright.models.types import StoredJSON
from querywright.session.transactions.hooks import Hooks
from querywright.session.units.locks import NamePart, lock_errors

__all__ = ["Claims", "IdempotencyKey", "IdempotencyKeys", "Stored"]

LONGEST_KEY = 255


@dataclass(frozen=True)
class Stored:
    """The result of a unit of work that was done before.

    Attributes:
        result: What it returned, as JSON has it.
        claim: What tells the claim to the key that it was done under from all others.
    """

    result: Any
    claim: str | None = None


class IdempotencyKeys:
    """A table of keys, each with the result of the unit of work that it stands for.

    Args:
        metadata: Where the table is declared, so that your migrations create it.
        name: Its name.

    Example:
        >>> from sqlalchemy import MetaData
        >>> from querywright import Database
        >>> metadata = MetaData()
        >>> keys = IdempotencyKeys(metadata)
        >>> with Database("sqlite+pysqlite:///:memory:") as db:
        ...     metadata.create_all(db.engine)
        ...     [db.run(lambda tx: print("once") or 42, key=keys("order-7")) for _ in range(2)]
        once
        [42, 42]
    """

    def __init__(self, metadata: MetaData, name: str = "querywright_idempotency") -> None:
        self.table = Table(
            name,
            metadata,
            Column("key", String(LONGEST_KEY), primary_key=True),
            Column("fingerprint", String(64), nullable=False),
            Column("claim", String(32)),
            Column("result", StoredJSON(none_as_null=True)),
            Column("created_at", UTCDateTime(), nullable=False, index=True),
        )

    def __call__(self, value: str, *, fingerprint: str = "", caller: NamePart | None = None) -> IdempotencyKey:
        """Make a key.

        Args:
            value: What names the unit of work, in at most 255 characters.
            fingerprint: A hash of what it is asked to do; the same key with another one is refused.
            caller: Whose key it is, if clients choose keys: the same value of two callers names two units of work. The
                table holds a hash of both.

        Raises:
            InvalidValue: It is empty or too long.
        """
        if not 0 < len(value) <= LONGEST_KEY:
            raise InvalidValue(f"An idempotency key has 1 to {LONGEST_KEY} characters, not {len(value)}.")
        # A hash, for MySQL compares texts without case, accents and spaces at the end.
        whose = "" if caller is None else f"{len(str(caller))}:{caller}"
        digest = hashlib.sha256(f"{whose}\0{value}".encode(errors="surrogatepass")).hexdigest()
        return IdempotencyKey(self.table, digest, fingerprint)

    def purge(self, session: Session, older_than: dt.timedelta) -> int:
        """Delete keys of units of work that nobody will ask for again.

        Args:
            session: Where to delete; from an `AsyncSession`, ``await tx.run_sync(keys.purge, older_than)``.
            older_than: How old a key must be.

        Returns:
            How many were deleted.
        """
        before = dt.datetime.now(dt.timezone.utc) - older_than
        return _rows(session.execute(delete(self.table).where(self.table.c.created_at < before)))


@dataclass(frozen=True)
class IdempotencyKey:
    """The key of one unit of work.

    Attributes:
        table: Where keys are kept.
        value: What names the unit of work.
        fingerprint: A hash of what it is asked to do.
    """

    table: Table
    value: str
    fingerprint: str = ""

    def claim(self, session: Session, claim: str | None = None) -> Stored | None:
        """Write the key; if another transaction is doing so, wait until it has ended.

        Args:
            session: The transaction of the unit of work.
            claim: What tells this claim from all others.

        Returns:
            What an earlier transaction has stored with it; ``None`` if this one is the first.

        Raises:
            KeyInUse: The other transaction has not ended within the setting ``lock_timeout``.
            KeyReused: The key stands for something else.
        """
        if self._insert(session, claim):
            return None
        table = self.table
        columns = (table.c.fingerprint, table.c.result, table.c.claim)
        found = session.execute(select(*columns).where(table.c.key == self.value)).first()
        if found is None:
            message = "The transaction that had the same idempotency key was undone."
            raise TransactionConflict(message, sqlstate="40001")
        if found.fingerprint != self.fingerprint:
            raise KeyReused("The idempotency key was used for something else.", hint="Make a new one.")
        return Stored(found.result, found.claim)

    def _insert(self, session: Session, claim: str | None) -> int:
        now = dt.datetime.now(dt.timezone.utc)
        row = {"key": self.value, "fingerprint": self.fingerprint, "claim": claim, "created_at": now}
        # On SQLite this waits for whoever writes, with this key or without.
        make = backend_of(session.connection().dialect).insert_once
        try:
            with lock_errors():
                return _rows(session.execute(make(self.table).values(row).execution_options(preserve_rowcount=True)))
        except LockNotAvailable as error:
            raise KeyInUse from error

    def settle(self, session: Session, result: Any) -> Any:
        """Store what the unit of work returned, and return it as JSON has it."""
        stored = to_jsonable_python(result)
        session.execute(update(self.table).where(self.table.c.key == self.value).values(result=stored))
        return stored


class Claims:
    """What one unit of work claims its key with: anew in each attempt.

    An attempt whose COMMIT got no answer leaves its hooks to the one that finds out what became of it.

    Args:
        key: The key.
    """

    def __init__(self, key: IdempotencyKey) -> None:
        self._key = key
        self._earlier: dict[str, Hooks] = {}

    def make(self, session: Session, hooks: Hooks) -> Stored | None:
        """Claim the key for a new attempt.

        Args:
            session: Its transaction.
            hooks: What is called when it has ended.

        Returns:
            What was stored by an earlier one, of this unit of work or another.
        """
        claim = uuid.uuid4().hex
        stored = self._key.claim(session, claim)
        for earlier, left in self._earlier.items():
            hooks.inherit(left, took_effect=stored is not None and stored.claim == earlier)
        self._earlier[claim] = hooks
        return stored

    def settle(self, session: Session, result: Any) -> Any:
        """Store what the unit of work returned, and return it as JSON has it."""
        return self._key.settle(session, result)


def _rows(result: Any) -> int:
    assert isinstance(result, CursorResult)  # noqa: S101 - of an INSERT, UPDATE or DELETE
    return result.rowcount
