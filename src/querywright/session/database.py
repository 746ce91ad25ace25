"""A database for synchronous code: an engine, sessions and transactions with safe defaults."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from sqlalchemy import URL, Engine, Select, text
from sqlalchemy.ext.asyncio import AsyncEngine
from typing_extensions import Self, TypeVarTuple, Unpack

from querywright.engine.adopted import adopt
from querywright.engine.create import create_sync_engine
from querywright.engine.databases.lookup import backend_of
from querywright.engine.pool.health import dispose
from querywright.fetching import Fetch
from querywright.fetching import fetch as fetch_from
from querywright.fetching.compile.form import Strategy
from querywright.fetching.plan.fieldsets import Fields
from querywright.session.base import BaseDatabase, pause_after, settings_from, settings_of_engine
from querywright.session.managed import abandon, begin, complete, doomed_by_error
from querywright.session.places import here
from querywright.session.sessions import Session
from querywright.session.transactions.calling import call_all
from querywright.session.transactions.nesting import Nested, Open, entered, surrounding, taking_part
from querywright.session.transactions.options import Isolation, TransactionOptions
from querywright.session.units.idempotency import Claims, IdempotencyKey
from querywright.session.units.work import require_done, require_work
from querywright.settings import DatabaseSettings

__all__ = ["Database"]

Model = TypeVar("Model")
Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")
Parameters = ParamSpec("Parameters")


class Database(BaseDatabase[Engine]):
    """One database, for synchronous code; open it once and share it between threads.

    Args:
        source: A URL with an explicit driver, `DatabaseSettings`, or an engine of your own, whose pool is used; by
            default the environment.
        options: Fields of `DatabaseSettings`, such as ``pool_size=10``.

    Raises:
        ConfigurationError: The URL or an option cannot work.

    Example:
        >>> from sqlalchemy import text
        >>> with Database("sqlite+pysqlite:///:memory:") as db:
        ...     with db.transaction() as tx:
        ...         tx.scalar(text("SELECT 1"))
        1
    """

    # Whose listeners see every fetch, as a tenant's filter must.
    session_class = Session

    def __init__(self, source: str | URL | Engine | DatabaseSettings | None = None, /, **options: Any) -> None:
        if isinstance(source, (Engine, AsyncEngine)):
            engine = adopt(source)
            self._open(settings_of_engine(source, options), engine, lent=True)
        else:
            settings = settings_from(source, options)
            self._open(settings, create_sync_engine(settings), lent=False)

    @contextmanager
    def replaced_by(self, source: str | URL | Engine | DatabaseSettings, /, **options: Any) -> Iterator[Self]:
        """Use another database in a block, for tests: whoever has taken this object, at import or later, follows.

        Args:
            source: What to use instead, as for the database itself.
            options: As for the database itself; the ``cursor_secret`` is that of this one if none is given.

        Raises:
            NestedTransaction: A transaction of this database is open around it.

        Example:
            >>> from sqlalchemy import text
            >>> db = Database("postgresql+psycopg://app@db.example.com/app")
            >>> with db.replaced_by("sqlite+pysqlite:///:memory:"), db.transaction() as tx:
            ...     tx.scalar(text("SELECT sqlite_version() IS NOT NULL"))
            1
        """
        other = type(self)(source, **self._beside_options(source, options))
        with self._swapped(other):
            try:
                yield self
            finally:
                self.dispose()

    def session(self, *, read_only: bool = False) -> Session:
        """Open a session; nothing is committed unless you call ``commit()``.

        Args:
            read_only: Let the database refuse every write. On SQLite, a session that is not read-only waits for
                other writers with its first statement, even if that only reads.
        """
        return self._session(TransactionOptions(read_only=read_only))

    def _session(self, options: TransactionOptions) -> Session:
        return Session(self._bind(options), expire_on_commit=False, hook_timeout=self.settings.hook_timeout)

    @contextmanager
    def transaction(
        self,
        *,
        isolation: Isolation | None = None,
        read_only: bool = False,
        deferrable: bool = False,
        timeout: float | None = None,
        nested: Nested | None = None,
    ) -> Iterator[Session]:
        """Run a block in one transaction: committed at its end, rolled back if it raises.

        Args:
            isolation: The isolation level, such as ``"SERIALIZABLE"``; the database's own by default.
            read_only: Let the database refuse every write.
            deferrable: Wait for a moment from which on this transaction cannot collide; for read-only ones that are
                ``"SERIALIZABLE"``.
            timeout: Seconds after which the database ends the transaction.
            nested: What to do inside another transaction of this database in the same task or thread: ``"join"`` it,
                open a ``"savepoint"`` in it, or begin a ``"new"`` one beside it, on a connection of its own.

        Raises:
            NestedTransaction: There is another transaction around it, and ``nested`` does not say what to do.
            TransactionLost: A statement failed and the block ignored it.
            CommitOutcomeUnknown: The connection was lost during the COMMIT.
        """
        options = TransactionOptions(isolation, read_only, deferrable, timeout)
        outer: Open[Session] | None = surrounding(self, nested, options)
        if outer is None:
            with self._managed(options) as session:
                yield session
        else:
            session = outer.session
            with taking_part(outer), doomed_by_error(session) if nested == "join" else session.savepoint():
                yield session

    @contextmanager
    def _managed(self, options: TransactionOptions, *, find_out: bool = False) -> Iterator[Session]:
        session = begin(self._session(options), options)
        try:
            with entered(self, session, options):
                yield session
        except BaseException:
            abandon(session, here())
            raise
        else:
            complete(session, here(), find_out=find_out)
        finally:
            call_all(session.hooks.take(), session.hook_timeout)

    def run(
        self,
        work: Callable[[Session, Unpack[Arguments]], Result],
        *arguments: Unpack[Arguments],
        attempts: int = 10,
        deadline: float = 10.0,
        isolation: Isolation | None = None,
        also: Collection[str] = (),
        key: IdempotencyKey | None = None,
    ) -> Result:
        """Run a whole unit of work in a transaction, and again in a new session where that is safe.

        It is run again after a deadlock or serialization failure, after a connection that was lost before COMMIT was
        sent, after a change of the tables, and once after a change of the primary. Not after a timeout, a broken
        constraint, or a COMMIT that got no answer and whose outcome cannot be found out.

        Args:
            work: Is called with a session and the arguments; it must do nothing but database work, as it may be run
                more than once.
            *arguments: What else it is called with.
            attempts: How many times it is run at most.
            deadline: Seconds from the start after which no other attempt begins.
            isolation: The isolation level.
            also: More SQLSTATEs to run it again for, such as ``"55P03"`` (a lock was not free) or ``"23505"``.
            key: Names what is done, so that it is done once however often it is asked for. What ``work`` returns is
                then returned as JSON has it, now and later. Who asks meanwhile waits for the setting ``lock_timeout``.

        Returns:
            What ``work`` returned.

        Raises:
            CommitOutcomeUnknown: Nobody can say whether it has been done.
            KeyInUse: It was still being done by somebody else when the wait was over.
            Exception: What the last attempt raised.
        """
        require_work(work, asynchronous=False)
        options, runs = TransactionOptions(isolation), self._attempts(attempts, deadline, also, key)
        surrounding(self, None, options)
        claims = None if key is None else Claims(key)
        with self.turns.take(key):
            while True:
                try:
                    with self._managed(options, find_out=key is None) as session:
                        if claims is None:
                            return require_done(work, work(session, *arguments))
                        if stored := claims.make(session, session.hooks):
                            return cast("Result", stored.result)
                        done = require_done(work, work(session, *arguments))
                        return cast("Result", claims.settle(session, done))
                except Exception as error:
                    pause = pause_after(runs, error, work)
                    if pause is None:
                        raise
                time.sleep(pause)

    def transactional(
        self,
        *,
        attempts: int = 10,
        deadline: float = 10.0,
        isolation: Isolation | None = None,
        also: Collection[str] = (),
    ) -> Callable[[Callable[Concatenate[Session, Parameters], Result]], Callable[Parameters, Result]]:
        """Make a function a unit of work: each call is a `run`, and gives it a session as its first argument.

        Example:
            >>> from sqlalchemy import text
            >>> db = Database("sqlite+pysqlite:///:memory:")
            >>> @db.transactional(attempts=3)
            ... def double(tx, number):
            ...     return tx.scalar(text("SELECT 2 * :number"), {"number": number})
            >>> double(21)
            42
            >>> db.dispose()
        """

        def decorate(work: Callable[Concatenate[Session, Parameters], Result]) -> Callable[Parameters, Result]:
            require_work(work, asynchronous=False)

            @wraps(work)
            def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
                @wraps(work)
                def unit(session: Session) -> Result:
                    return work(session, *args, **kwargs)

                return self.run(unit, attempts=attempts, deadline=deadline, isolation=isolation, also=also)

            return call

        return decorate

    def fetch(
        self,
        model: type[Model],
        statement: Select[Any],
        parameters: Mapping[str, Any] | None = None,
        *,
        fields: Fields | None = None,
        strategy: Strategy = "auto",
    ) -> Fetch[Model]:
        """Fetch rows in the shape of a response model, on a connection lent for one statement.

        See `querywright.fetch`.
        """
        return fetch_from(self, model, statement, parameters, fields=fields, strategy=strategy)

    def ping(self) -> None:
        """Make one round trip to the database.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: It did not answer.
        """
        _ping(self.engine)

    def probe(self) -> None:
        """Make one round trip on a connection that is kept for it beside the pool, however busy that is.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database did not answer.
        """
        _ping(self._engine_beside(create_sync_engine))

    def dispose(self) -> None:
        """Close the idle connections; those in use are closed when they come back. An engine of your own stays open."""
        for engine in self._own_engines():
            dispose(engine)

    def __enter__(self) -> Self:
        """Return the database itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self.dispose()


def _ping(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execution_options(**backend_of(engine.dialect).autocommit)
        connection.execute(text("SELECT 1"))
