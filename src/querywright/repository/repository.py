"""A repository for synchronous code: what is asked of the rows of one mapped class, in one session."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ScalarResult, Select, func, literal, select
from sqlalchemy.exc import MultipleResultsFound, NoResultFound
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from querywright.engine.databases.lookup import backend_of
from querywright.errors import MultipleFound, NotFound
from querywright.repository.base import Model, RepositoryBase
from querywright.repository.rows import (
    Criterion,
    Lock,
    Locking,
    Ordering,
    checked,
    identity,
    is_key,
    key_criteria,
    ordered,
    selecting,
)
from querywright.session.units.locks import lock_errors

__all__ = ["Repository"]


class Repository(RepositoryBase[Model, Session]):
    """The rows of one mapped class, in the transaction of a session.

    Locks, where asked for, last until the transaction ends, and what is locked is read afresh. On SQLite a transaction
    that is not read-only excludes every other writer from its beginning, so there they cost and change nothing.

    Args:
        model: The mapped class; left out where a subclass names it: ``class Users(Repository[User])``.
        session: The session whose transaction everything happens in.

    Raises:
        ConfigurationError: There is no mapped class, or the session is an asynchronous one.

    Example:
        >>> from querywright import Base, Database
        >>> from sqlalchemy import String
        >>> from sqlalchemy.orm import mapped_column
        >>> class City(Base):
        ...     __tablename__ = "city"
        ...     name = mapped_column(String(40), primary_key=True)
        >>> with Database("sqlite+pysqlite:///:memory:") as db, db.transaction() as tx:
        ...     City.__table__.create(tx.connection())
        ...     cities = Repository(City, tx)
        ...     _ = cities.add(City(name="Rome"))
        ...     cities.get("Rome").name, cities.exists(City.name == "Oslo"), cities.count()
        ('Rome', False, 1)
    """

    _wrong_session = AsyncSession

    def get(
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
        locking = Locking(lock, nowait, skip_locked)
        if lock is None:
            return self.session.get(self.model, tuple(identity(self.model, key).values()))
        return self._scalars(selecting(self.model, key_criteria(self.model, key), locking), locking).one_or_none()

    def one(
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
        if is_key(key_or_criteria):
            row = self.get(key_or_criteria[0], lock=lock, nowait=nowait, skip_locked=skip_locked)
            if row is None:
                raise NotFound(self.model.__name__)
            return row
        locking = Locking(lock, nowait, skip_locked)
        try:
            return self._scalars(selecting(self.model, key_or_criteria, locking), locking).one()
        except NoResultFound:
            raise NotFound(self.model.__name__) from None
        except MultipleResultsFound:
            raise MultipleFound(self.model.__name__) from None

    def find(
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
        locking = Locking(lock, nowait, skip_locked)
        statement = selecting(self.model, criteria, locking).order_by(*ordered(self.model, order_by))
        return list(self._scalars(statement.limit(limit), locking))

    def exists(self, *key_or_criteria: Any) -> bool:
        """Return whether a row has a primary key, or matches all criteria.

        Args:
            key_or_criteria: One key, or criteria; none for any row.

        Raises:
            ConfigurationError: The key has another form, or something is no criterion.
        """
        criteria = key_criteria(self.model, key_or_criteria[0]) if is_key(key_or_criteria) else key_or_criteria
        found = select(literal(1)).select_from(self.model).where(*checked(self.model, criteria)).limit(1)
        return self.session.scalar(found) is not None

    def count(self, *criteria: Criterion) -> int:
        """Count the rows that match all criteria.

        Args:
            criteria: SQL expressions; none for all rows.

        Raises:
            ConfigurationError: Something is no criterion.
        """
        counted = select(func.count()).select_from(self.model).where(*checked(self.model, criteria))
        return self.session.scalars(counted).one()

    def delete(self, row: Model) -> None:
        """Delete a row with the next flush or commit, and what its relationships say goes with it.

        Args:
            row: An object of this session.
        """
        self.session.delete(row)

    def _scalars(self, statement: Select[Any], locking: Locking) -> ScalarResult[Model]:
        with lock_errors():
            if locking.lock:
                connection = self.session.connection(bind_arguments={"mapper": self.model})
                backend_of(connection.dialect).require_writing(connection)
            # Eager joins repeat a row for each of its related ones.
            return self.session.scalars(statement).unique()
