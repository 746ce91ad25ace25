"""SQLAlchemy's sessions that can fetch, run hooks, and refuse what would corrupt them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import sqlalchemy.ext.asyncio
from sqlalchemy import Connection, Select, event
from sqlalchemy.ext.asyncio import AsyncSessionTransaction
from sqlalchemy.orm import SessionTransaction, SessionTransactionOrigin
from sqlalchemy.util.concurrency import in_greenlet
from typing_extensions import TypeVarTuple, Unpack

from querywright.engine.completion import undisturbed
from querywright.engine.databases.lookup import backend_of
from querywright.engine.exclusive import exclusive
from querywright.engine.statements.transactions import manage, require_sound
from querywright.errors import ManagedTransaction, SessionEnded
from querywright.fetching import AsyncFetch, Fetch
from querywright.fetching import fetch as fetch_from
from querywright.fetching.compile.form import Strategy
from querywright.fetching.execute.session import close_streams
from querywright.fetching.plan.fieldsets import Fields
from querywright.session.places import here
from querywright.session.stale import NamingSession
from querywright.session.transactions.calling import call_all, call_all_async
from querywright.session.transactions.committing import commit_on
from querywright.session.transactions.hooks import Call, Hooks, require_sync

__all__ = ["AsyncSession", "Session"]

Model = TypeVar("Model")
Arguments = TypeVarTuple("Arguments")


class Session(NamingSession):
    """A SQLAlchemy `Session` with `fetch`, `savepoint`, and hooks for its end."""

    # Whether this object calls its hooks itself; the session inside an AsyncSession leaves that to what awaits it.
    _calls_hooks = True

    def __init__(self, *args: Any, hook_timeout: float = 10.0, **options: Any) -> None:
        self.hooks = Hooks()
        self.hook_timeout = hook_timeout
        # Whether a block of transaction() ends the transaction, and why it can only roll back.
        self.managed = False
        self.doomed: str | None = None
        # Where the block has ended that had opened the session.
        self.ended: str | None = None
        # The connections that the transaction has begun on.
        self.begun: list[Connection] = []
        # Whether to be able to find out what became of a COMMIT without an answer, for one more round trip.
        self.find_out = False
        super().__init__(*args, **options)

    def fetch(
        self,
        model: type[Model],
        statement: Select[Any],
        parameters: Mapping[str, Any] | None = None,
        *,
        fields: Fields | None = None,
        strategy: Strategy = "auto",
    ) -> Fetch[Model]:
        """Fetch rows in the shape of a response model, in this session's transaction and after a flush.

        See `querywright.fetch`.
        """
        return fetch_from(self, model, statement, parameters, fields=fields, strategy=strategy)

    @contextmanager
    def savepoint(self) -> Iterator[Session]:
        """Run a block in a savepoint: kept at its end, rolled back if it raises, and the transaction goes on.

        After a deadlock or a serialization failure inside it the transaction is void all the same.

        Example:
            >>> from sqlalchemy import text
            >>> from querywright import Database
            >>> with Database("sqlite+pysqlite:///:memory:") as db, db.transaction() as tx:
            ...     with tx.savepoint():
            ...         tx.scalar(text("SELECT 1"))
            1
        """
        try:
            with self.begin_nested():
                yield self
        finally:
            self.call_hooks()

    def on_commit(self, function: Callable[[Unpack[Arguments]], object], *arguments: Unpack[Arguments]) -> None:
        """Call a function once the COMMIT was acknowledged and the connection is free; never after a rollback.

        Args:
            function: What to call. If it raises, the other hooks are called all the same and the error is logged.
            *arguments: What to call it with.
        """
        self._add_hook(Call(function, arguments), on_commit=True)

    def on_rollback(self, function: Callable[[Unpack[Arguments]], object], *arguments: Unpack[Arguments]) -> None:
        """Call a function once the transaction, or the savepoint it is asked for in, was rolled back."""
        self._add_hook(Call(function, arguments), on_commit=False)

    def _add_hook(self, call: Call, *, on_commit: bool) -> None:
        if self._calls_hooks:
            require_sync(call.function)
        if not self.in_transaction():
            # It takes no connection yet, but has an end.
            self.begin()
        self.hooks.add(self.get_nested_transaction(), call, on_commit=on_commit)

    def call_hooks(self) -> None:
        """Call what is due."""
        if self._calls_hooks and self.hooks.due:
            call_all(self.hooks.take(), self.hook_timeout)

    def commit(self) -> None:
        """Flush and commit; refused inside a block of ``transaction()``."""
        self._end_by_hand("commit", super().commit)

    def rollback(self) -> None:
        """Roll back; refused inside a block of ``transaction()``."""
        self._end_by_hand("rollback", super().rollback)

    def close(self) -> None:
        """Roll back what is open and give the connection back; refused inside a block of ``transaction()``."""
        self._end_by_hand("close", super().close)

    def _end_by_hand(self, verb: str, end: Callable[[], None]) -> None:
        if self.ended is not None:
            if verb == "close":
                return
            raise SessionEnded(self.ended)
        if self.managed:
            raise ManagedTransaction(verb)
        with exclusive(self):
            close_streams(self)
            end()
        self.call_hooks()

    def flush(self, *args: Any, **options: Any) -> None:
        """Write what has changed."""
        with exclusive(self):
            super().flush(*args, **options)

    def _execute_internal(self, *args: Any, **options: Any) -> Any:
        with exclusive(self):
            return super()._execute_internal(*args, **options)

    def _autobegin_t(self, begin: bool = False) -> SessionTransaction:  # noqa: FBT001, FBT002 - SQLAlchemy's
        # Whatever a session is asked for, it begins with this.
        if self.ended is not None:
            raise SessionEnded(self.ended)
        if not self.in_transaction() and (begin or self.autobegin):
            return _Transaction(self, SessionTransactionOrigin.BEGIN if begin else SessionTransactionOrigin.AUTOBEGIN)
        return super()._autobegin_t(begin)

    def _connection_for_bind(self, *args: Any, **options: Any) -> Connection:
        connection: Connection = super()._connection_for_bind(*args, **options)
        if self.ended is not None:
            # The block has ended while another task of it was waiting for this connection.
            super().close()
            raise SessionEnded(self.ended)
        require_sound(connection)
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Roll back what is open and give the connection back, for good."""
        try:
            super().__exit__(kind, error, trace)
        finally:
            self.ended = self.ended or here()


class _Transaction(SessionTransaction):
    """The transaction of a session, not one of its savepoints: whoever ends it is told truly how it ended."""

    session: Session  # pyright: ignore[reportIncompatibleVariableOverride]

    def commit(self, *args: Any, **options: Any) -> None:
        if self.is_active:
            # All that is sent before the COMMIT, which a caller may still cancel.
            self._prepare_impl()
        session, commit = self.session, partial(super().commit, *args, **options)
        # The end of a managed transaction is undisturbed as a whole.
        if session.begun and in_greenlet() and not session.managed:
            commit = partial(undisturbed, commit)
        commit_on(list(session.begun), commit, session.hooks, find_out=session.find_out)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self.session
        try:
            super().__exit__(kind, error, trace)
        finally:
            session.call_hooks()


def _after_begin(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    if not transaction.nested:
        session.begun.append(connection)
        backend_of(connection.dialect).begin_late(connection)
    if session.managed:
        manage(connection)


def _after_commit(session: Session) -> None:
    savepoint = session.get_nested_transaction()
    if savepoint is None:
        session.hooks.committed()
    else:
        session.hooks.released(savepoint, _around(savepoint))


def _around(savepoint: SessionTransaction) -> SessionTransaction | None:
    """Find the savepoint that a savepoint is in."""
    outer = savepoint.parent
    while outer is not None and not outer.nested:
        outer = outer.parent
    return outer


def _after_end(session: Session, transaction: SessionTransaction) -> None:
    # Whatever has been committed no longer has calls in this scope.
    if transaction.nested:
        session.hooks.rolled_back(transaction)
    elif transaction.parent is None:
        session.begun.clear()
        session.hooks.rolled_back(None)


event.listen(Session, "after_begin", _after_begin)
event.listen(Session, "after_commit", _after_commit)
event.listen(Session, "after_transaction_end", _after_end)


class _InnerSession(Session):
    """The synchronous session inside an `AsyncSession`."""

    _calls_hooks = False


class AsyncTransaction(AsyncSessionTransaction):
    """A block of ``begin()`` of an `AsyncSession`."""

    session: AsyncSession  # pyright: ignore[reportIncompatibleVariableOverride]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the transaction, and call its hooks."""
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            await self.session.call_hooks()


class AsyncSession(sqlalchemy.ext.asyncio.AsyncSession):
    """A SQLAlchemy `AsyncSession` with `fetch`, `savepoint`, and hooks for its end."""

    sync_session_class = _InnerSession
    sync_session: Session  # pyright: ignore[reportIncompatibleVariableOverride]

    def fetch(
        self,
        model: type[Model],
        statement: Select[Any],
        parameters: Mapping[str, Any] | None = None,
        *,
        fields: Fields | None = None,
        strategy: Strategy = "auto",
    ) -> AsyncFetch[Model]:
        """Fetch rows in the shape of a response model, in this session's transaction and after a flush.

        See `querywright.fetch`.
        """
        return fetch_from(self, model, statement, parameters, fields=fields, strategy=strategy)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[AsyncSession]:
        """Run a block in a savepoint: kept at its end, rolled back if it raises, and the transaction goes on.

        After a deadlock or a serialization failure inside it the transaction is void all the same.
        """
        try:
            async with self.begin_nested():
                yield self
        finally:
            await self.call_hooks()

    def on_commit(
        self, function: Callable[[Unpack[Arguments]], Awaitable[object] | object], *arguments: Unpack[Arguments]
    ) -> None:
        """Call a function once the COMMIT was acknowledged and the connection is free; never after a rollback.

        Args:
            function: What to call, and to await if it returns an awaitable. If it raises, the other hooks are called
                all the same and the error is logged.
            *arguments: What to call it with.
        """
        self.sync_session.on_commit(function, *arguments)

    def on_rollback(
        self, function: Callable[[Unpack[Arguments]], Awaitable[object] | object], *arguments: Unpack[Arguments]
    ) -> None:
        """Call a function once the transaction, or the savepoint it is asked for in, was rolled back."""
        self.sync_session.on_rollback(function, *arguments)

    def begin(self) -> AsyncTransaction:
        """Begin a transaction for an ``async with`` block, at whose end it is committed and its hooks are called."""
        return AsyncTransaction(self)

    async def commit(self) -> None:
        """Flush and commit; refused inside a block of ``transaction()``."""
        await super().commit()
        await self.call_hooks()

    async def rollback(self) -> None:
        """Roll back; refused inside a block of ``transaction()``."""
        await super().rollback()
        await self.call_hooks()

    async def close(self) -> None:
        """Roll back what is open and give the connection back; refused inside a block of ``transaction()``."""
        await super().close()
        await self.call_hooks()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Roll back what is open and give the connection back, for good."""
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            # Also if the task was cancelled meanwhile, as under anyio at every await.
            self.sync_session.ended = self.sync_session.ended or here()

    async def call_hooks(self) -> None:
        """Call what is due."""
        if due := self.sync_session.hooks.take():
            await call_all_async(due, self.sync_session.hook_timeout)
