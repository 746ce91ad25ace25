"""A repository for asyncio: the same names as `Repository`, to await."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from querywright.repository.base import Model, RepositoryBase
from querywright.repository.repository import Repository
from querywright.repository.rows import Criterion, Lock, Ordering

__all__ = ["AsyncRepository"]

Result = TypeVar("Result")


class AsyncRepository(RepositoryBase[Model, AsyncSession]):
    """The rows of one mapped class, in the transaction of a session.

    Locks, where asked for, last until the transaction ends, and what is locked is read afresh. On SQLite a transaction
    that is not read-only excludes every other writer from its beginning, so there they cost and change nothing.

    Args:
        model: The mapped class; left out where a subclass names it: ``class Users(AsyncRepository[User])``.
        session: The session whose transaction everything happens in.

    Raises:
        ConfigurationError: There is no mapped class, or the session is a synchronous one.

    Example:
        >>> import asyncio
        >>> from querywright import AsyncDatabase, Base
        >>> from sqlalchemy import String
        >>> from sqlalchemy.orm import mapped_column
        >>> class Town(Base):
        ...     __tablename__ = "town"
        ...     name = mapped_column(String(40), primary_key=True)
        >>> async def main():
        ...     async with AsyncDatabase("sqlite+aiosqlite:///:memory:") as db, db.transaction() as tx:
        ...         await (await tx.connection()).run_sync(Town.__table__.create)
        ...         towns = AsyncRepository(Town, tx)
        ...         _ = towns.add(Town(name="Rome"))
        ...         return await towns.count()
        >>> asyncio.run(main())
        1
    """

    _wrong_session = Session

    async def get(
        self, key: Any, *, lock: Lock | None = None, nowait: bool = False, skip_locked: bool = False
    ) -> Model | None:
        """Get a row by its primary key, from the session if it is there and no lock is asked for.

        Args:
            key: The key; of several columns, a tuple or a mapping of names to values.
            lock: ``"update"`` keeps others from locking or writing the row, ``"share"`` only from writing it.
            nowait: Raise at once if somebody else holds a lock.
            skip_locked: Return ``None`` if somebody else holds a lock.

        Raises:
            LockNotAvailable: The lock was not free, or not in time.
            ConfigurationError: The key has another form, the options contradict each other, or the transaction is
                read-only and cannot lock.
        """
        return await self._run(lambda rows: rows.get(key, lock=lock, nowait=nowait, skip_locked=skip_locked))

    async def one(
        self, *key_or_criteria: Any, lock: Lock | None = None, nowait: bool = False, skip_locked: bool = False
    ) -> Model:
        """Get the row that has a primary key, or the only one that matches all criteria.

        Args:
            key_or_criteria: One key, or criteria such as ``User.email == email``.
            lock: ``"update"`` keeps others from locking or writing the row, ``"share"`` only from writing it.
            nowait: Raise at once if somebody else holds a lock.
            skip_locked: Leave out what somebody else has locked.

        Raises:
            NotFound: There is none.
            MultipleFound: There are more.
            LockNotAvailable: The lock was not free, or not in time.
            ConfigurationError: As for `get`, or something is no criterion.
        """
        return await self._run(
            lambda rows: rows.one(*key_or_criteria, lock=lock, nowait=nowait, skip_locked=skip_locked)
        )

    async def find(
        self,
        *criteria: Criterion,
        order_by: Ordering | None = None,
        limit: int | None = None,
        lock: Lock | None = None,
        nowait: bool = False,
        skip_locked: bool = False,
    ) -> list[Model]:
        """Get the rows that match all criteria.

        Args:
            criteria: SQL expressions, such as ``User.is_active``; none for all rows.
            order_by: An expression or several, such as ``User.name.desc()``; by default in no order.
            limit: How many at most.
            lock: ``"update"`` keeps others from locking or writing the rows, ``"share"`` only from writing them.
            nowait: Raise at once if somebody else holds a lock.
            skip_locked: Leave out what somebody else has locked.

        Raises:
            LockNotAvailable: A lock was not free, or not in time.
            ConfigurationError: Something is no expression, the options contradict each other, or the transaction is
                read-only and cannot lock.
        """
        return await self._run(
            lambda rows: rows.find(
                *criteria, order_by=order_by, limit=limit, lock=lock, nowait=nowait, skip_locked=skip_locked
            )
        )

    async def exists(self, *key_or_criteria: Any) -> bool:
        """Return whether a row has a primary key, or matches all criteria.

        Args:
            key_or_criteria: One key, or criteria; none for any row.

        Raises:
            ConfigurationError: The key has another form, or something is no criterion.
        """
        return await self._run(lambda rows: rows.exists(*key_or_criteria))

    async def count(self, *criteria: Criterion) -> int:
        """Count the rows that match all criteria.

        Args:
            criteria: SQL expressions; none for all rows.

        Raises:
            ConfigurationError: Something is no criterion.
        """
        return await self._run(lambda rows: rows.count(*criteria))

    async def delete(self, row: Model) -> None:
        """Delete a row with the next flush or commit, and what its relationships say goes with it.

        Args:
            row: An object of this session.
        """
        await self._run(lambda rows: rows.delete(row))

    async def _run(self, work: Callable[[Repository[Model]], Result]) -> Result:
        return await self.session.run_sync(lambda session: work(Repository(self.model, session)))
