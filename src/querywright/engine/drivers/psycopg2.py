"""psycopg2: with every call bounded, and every value refused that it would send as another.

It waits for the server inside of libpq, where nothing but a closed socket ends the wait. As with psycopg, COPY has its
limit anew with each piece that is read or written, and executemany() with each set of values. A call of a large object
has it once, also where it writes a file. cancel() has a socket of its own, which only libpq's parameters bound.
"""

from __future__ import annotations

import datetime as dt
import io
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import wraps
from typing import Any, ClassVar
from weakref import WeakSet

import psycopg2
from psycopg2 import extensions
from sqlalchemy import Dialect
from typing_extensions import override

from querywright.engine.drivers.driver import State
from querywright.engine.drivers.libpq import ACTIVE, INERROR, INTRANS, Libpq, autocommitting, shut, unusual
from querywright.engine.limits import Limits
from querywright.engine.tls import Tls

__all__ = ["SYNC"]

# https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-PARAMKEYWORDS; psycopg2 has no list of them.
_PARAMETERS = (
    "host hostaddr port dbname user password passfile require_auth channel_binding connect_timeout client_encoding"
    " options application_name fallback_application_name keepalives keepalives_idle keepalives_interval"
    " keepalives_count tcp_user_timeout replication gssencmode requirepeer krbsrvname gsslib gssdelegation service"
    " target_session_attrs load_balance_hosts dsn"
)
# Its own property, which ours hides.
_READ_ONLY: Any = extensions.connection.readonly
_LEVELS = {
    extensions.ISOLATION_LEVEL_READ_COMMITTED: "READ COMMITTED",
    extensions.ISOLATION_LEVEL_READ_UNCOMMITTED: "READ UNCOMMITTED",
    extensions.ISOLATION_LEVEL_REPEATABLE_READ: "REPEATABLE READ",
    extensions.ISOLATION_LEVEL_SERIALIZABLE: "SERIALIZABLE",
}


class _Watch:
    """A thread that closes the sockets of connections whose server does not answer in time.

    It wakes when the first call of those that are under way would be over its limit, and not for each of them.
    """

    def __init__(self) -> None:
        self._connections: WeakSet[BoundedConnection] = WeakSet()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wakes = float("inf")

    def add(self, connection: BoundedConnection) -> None:
        """Watch the calls of a connection; a process that was forked has a thread of its own."""
        with self._changed:
            self._connections.add(connection)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="querywright-psycopg2", daemon=True)
                self._thread.start()

    def notice(self, deadline: float) -> None:
        """Wake up in time for a call."""
        if deadline < self._wakes:
            with self._changed:
                self._wakes = min(self._wakes, deadline)
                self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while True:
                self._changed.wait(None if self._wakes == float("inf") else max(0, self._wakes - time.monotonic()))
                # Before a look at the calls, so that one which begins meanwhile is not missed.
                self._wakes = float("inf")
                self._wakes = min([self._wakes, *self._deadlines()])

    def _deadlines(self) -> Iterator[float]:
        for each in list(self._connections):
            deadline = each.deadline
            if deadline <= time.monotonic():
                each.abort()
            elif deadline != float("inf"):
                yield deadline


_watch = _Watch()
if hasattr(os, "register_at_fork"):
    # The thread stays with the parent, and may have held the lock.
    os.register_at_fork(after_in_child=_watch.__init__)  # type: ignore[misc]


def _shut(connection: Any) -> None:
    # It may have been closed in the meantime.
    with suppress(psycopg2.Error):
        shut(connection.fileno())


def _bounded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Bound a method that psycopg2 runs in C: of a connection by the limit of commands, or by that of statements."""

    @wraps(method)
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        connection = getattr(self, "connection", self)
        limits = connection.limits
        with connection.bounded(limits.command if connection is self else limits.statement):
            return method(self, *arguments, **options)

    return call


def _bound(kind: type, names: str) -> None:
    """Bound methods and what is set of a class, which inherits them from psycopg2's."""
    for name in names.split():
        inherited = getattr(kind, name)
        if callable(inherited):
            setattr(kind, name, _bounded(inherited))
        else:
            setattr(kind, name, property(inherited.__get__, _bounded(inherited.__set__)))


class BoundedConnection(extensions.connection):  # type: ignore[misc] # psycopg2 has no types
    """A connection whose calls all end.

    Attributes:
        limits: How long each call may take.
        deadline: When the call that is under way is given up.
    """

    limits: ClassVar[Limits]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.deadline = float("inf")
        try:
            super().__init__(*arguments, **options)
        except psycopg2.Error:
            # Or its socket stays open for as long as someone has the error.
            self.close()
            raise
        self.cursor_factory = _Cursor
        _watch.add(self)

    @contextmanager
    def bounded(self, limit: float | None) -> Iterator[None]:
        """Give up a call after so many seconds; one within another has its limit."""
        if limit is None or self.deadline != float("inf"):
            yield
            return
        self.deadline = time.monotonic() + limit
        _watch.notice(self.deadline)
        try:
            yield
        finally:
            self.deadline = float("inf")

    def abort(self) -> None:
        """Give up the call that is under way, from another thread."""
        self.deadline = float("inf")
        _shut(self)

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Let the application work in the middle of a call: that has no limit, and the call has its limit anew."""
        is_bounded, self.deadline = self.deadline != float("inf"), float("inf")
        try:
            yield
        finally:
            if is_bounded and self.limits.statement:
                self.deadline = time.monotonic() + self.limits.statement
                _watch.notice(self.deadline)

    def lobject(self, *arguments: Any, **options: Any) -> Any:
        """Open a large object."""
        with self.bounded(self.limits.statement):
            return super().lobject(*arguments, **{"lobject_factory": _LargeObject, **options})

    @property
    def readonly(self) -> Any:
        """Whether transactions to come only read."""
        return _READ_ONLY.__get__(self)

    @readonly.setter
    def readonly(self, value: Any) -> None:
        # SQLAlchemy takes it back by False, which psycopg2 sends as READ WRITE: that lifts the default of a role, and a
        # standby refuses it.
        _READ_ONLY.__set__(self, value or None)

    def quickly(self, command: str) -> None:
        """Run what never takes long, outside of a transaction and not longer than the limit for connecting."""
        with self.bounded(self.limits.connect), autocommitting(self), self.cursor() as cursor:
            cursor.execute(command)


_bound(
    BoundedConnection,
    "commit rollback reset tpc_begin tpc_prepare tpc_commit tpc_rollback tpc_recover"
    " set_session set_isolation_level set_client_encoding autocommit isolation_level readonly deferrable",
)


class _Cursor(extensions.cursor):  # type: ignore[misc] # as above
    connection: BoundedConnection  # pyright: ignore[reportIncompatibleVariableOverride] # all are
    _values: Iterable[Any] = ()

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's own
        """Run a statement.

        Raises:
            psycopg2.DataError: A text has a NUL, or a decimal is infinite: psycopg2 would send NaN.
            OverflowError: A moment has no date in UTC: PostgreSQL would store a year that Python cannot read again.
        """
        with self._sending(vars):
            super().execute(query, vars)

    def executemany(self, query: Any, vars_list: Iterable[Any]) -> None:
        """Run a statement with one set of values after the other."""
        with self._sending(None):
            super().executemany(query, self._each(vars_list))

    def callproc(self, procname: Any, parameters: Any = None) -> Any:
        """Call a function."""
        with self._sending(parameters):
            return super().callproc(procname, parameters)

    def mogrify(self, query: Any, vars: Any = None) -> Any:  # noqa: A002 - psycopg2's own
        """Write values into a statement."""
        with self._sending(vars):
            return super().mogrify(query, vars)

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        """Copy between a table and a file."""
        super().copy_expert(sql, _File.of(file, self.connection), size)

    def copy_from(self, file: Any, *arguments: Any, **options: Any) -> None:
        """Copy a file into a table."""
        super().copy_from(_File.of(file, self.connection), *arguments, **options)

    def copy_to(self, file: Any, *arguments: Any, **options: Any) -> None:
        """Copy a table into a file."""
        super().copy_to(_File.of(file, self.connection), *arguments, **options)

    @contextmanager
    def _sending(self, values: Any) -> Iterator[None]:
        """Bound a statement, and refuse values as PostgreSQL would."""
        self._check(values)
        try:
            with self.connection.bounded(self.connection.limits.statement):
                yield
        except psycopg2.errors.UndefinedFunction as error:
            if _has_large_integer(self._values):
                raise psycopg2.DataError("an integer that no type of integers has") from error
            raise
        except ValueError as error:
            if isinstance(error, UnicodeError):
                raise
            raise psycopg2.DataError("a value that PostgreSQL does not have") from error

    def _check(self, values: Any) -> None:
        self._values = (values.values() if isinstance(values, Mapping) else values) or ()
        _require_sendable(self._values)

    def _each(self, sets: Iterable[Any]) -> Iterator[Any]:
        remaining = iter(sets)
        end = object()
        while True:
            with self.connection.elsewhere():
                values = next(remaining, end)
            if values is end:
                return
            self._check(values)
            yield values


_bound(_Cursor, "fetchone fetchmany fetchall __next__ scroll close copy_expert copy_from copy_to")


class _LargeObject(extensions.lobject):  # type: ignore[misc] # as above
    def __init__(self, connection: BoundedConnection, *arguments: Any) -> None:
        self.connection = connection
        super().__init__(connection, *arguments)


_bound(_LargeObject, "read write seek tell truncate export unlink close")


class _File:
    """A file of COPY."""

    def __init__(self, file: Any, connection: BoundedConnection) -> None:
        for name in {"read", "readline", "write"} & {*dir(file)}:
            setattr(self, name, self._calling(getattr(file, name), connection))

    @classmethod
    def of(cls, file: Any, connection: BoundedConnection) -> Any:
        """Wrap a file; psycopg2 asks whether it is one of text, and what it can do."""
        return (_TextFile if isinstance(file, io.TextIOBase) else cls)(file, connection)

    @staticmethod
    def _calling(method: Callable[..., Any], connection: BoundedConnection) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with connection.elsewhere():
                return method(*arguments)

        return call


class _TextFile(_File, io.TextIOBase):
    pass


def _require_sendable(values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, Decimal) and value.is_infinite():
            raise psycopg2.DataError("an infinite decimal")
        if isinstance(value, dt.datetime) and not dt.MINYEAR < value.year < dt.MAXYEAR and value.tzinfo:
            value.astimezone(dt.timezone.utc)
        if isinstance(value, (list, tuple)):
            _require_sendable(value)


def _has_large_integer(values: Iterable[Any]) -> bool:
    """Return whether one stands in a statement as a decimal, which operators of integers do not take."""
    return any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in values)


class _Psycopg2(Libpq):
    decided = frozenset({"async", "async_", "connection_factory", "cursor_factory"})

    @override
    def known_arguments(self) -> set[str]:
        return {*_PARAMETERS.split()}

    @override
    def opening(self, dialect: Dialect, limits: Limits, tls: Tls) -> Callable[..., Any]:
        bounded = type("BoundedConnection", (BoundedConnection,), {"limits": limits})

        def connect(*arguments: Any, **options: Any) -> Any:
            return psycopg2.connect(*arguments, connection_factory=bounded, **options)

        return connect

    @override
    def state(self, dialect: Dialect, lent: Any) -> State:
        level = _LEVELS.get(lent.isolation_level)
        settings = (lent.autocommit, unusual(dialect, level), bool(lent.readonly), bool(lent.deferrable))
        status = lent.get_transaction_status()
        return State((*settings, lent.cursor_factory, status == ACTIVE), status in {INTRANS, INERROR})

    @override
    def commits_each(self, lent: Any) -> bool:
        return bool(lent.autocommit)

    @override
    def is_closed(self, lent: Any) -> bool:
        return bool(lent.closed)

    @override
    def socket_of(self, lent: Any) -> int | None:
        return int(lent.fileno())

    @override
    def cut(self, lent: Any) -> None:
        _shut(lent)

    @override
    def has_lost(self, lent: Any) -> bool:
        # The server would answer the COMMIT with ROLLBACK, and psycopg2 would not tell.
        return bool(lent.get_transaction_status() == INERROR)


SYNC = _Psycopg2()
