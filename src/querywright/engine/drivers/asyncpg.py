"""asyncpg: with every call bounded and a COMMIT that did not commit noticed."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from math import inf
from typing import Any, ClassVar
from urllib.parse import urlencode

import asyncpg
from asyncpg import connect_utils
from asyncpg.exceptions import InFailedSQLTransactionError, InterfaceError, InternalClientError, PostgresError
from sqlalchemy import Dialect, Engine, event
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from typing_extensions import override

from querywright.engine.drivers.asyncpg_errors import translate
from querywright.engine.drivers.driver import Diagnostics, Driver, Join, Rows, State
from querywright.engine.drivers.libpq import parameters_of, unusual, without_sql
from querywright.engine.drivers.loops import abort_on_its_loop, gave_up, is_of_other_loop
from querywright.engine.drivers.reading import NUMBER, OBJECT, SWITCH, WHOLE, Reader, number_of
from querywright.engine.limits import Limits
from querywright.engine.tls import Tls
from querywright.settings import DatabaseSettings

__all__ = ["ASYNC", "BoundedConnection"]

# A pooler that lends its connections for one transaction: no statement may be prepared under a name, for the next
# message may go to a server that does not know it. Both SQLAlchemy and asyncpg keep such names.
_UNPREPARED = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: "",
}
# Arguments of SQLAlchemy's adapter.
_OF_ADAPTER = {"prepared_statement_cache_size", "prepared_statement_name_func"}

_TIMES = frozenset({"timeout", "command_timeout"})
_SIZES = frozenset(
    {
        "max_cacheable_statement_size",
        "max_cached_statement_lifetime",
        "prepared_statement_cache_size",
        "statement_cache_size",
    }
)
_OBJECTS = ("prepared_statement_name_func", "record_class", "server_settings")


class BoundedConnection(asyncpg.Connection):  # type: ignore[misc] # asyncpg has no types
    """A connection whose calls all end; ``command_timeout`` is what bounds its statements.

    Attributes:
        limits: How long each call may take.
    """

    limits: ClassVar[Limits]

    def __init__(self, protocol: Any, *args: Any, **options: Any) -> None:
        super().__init__(protocol, *args, **options)
        # Once it is given up, it has no protocol any more.
        self._backend = {"backend_pid": protocol.backend_pid, "backend_secret": protocol.backend_secret}

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Run a command, such as the BEGIN, COMMIT and ROLLBACK of asyncpg's transactions.

        Raises:
            InFailedSQLTransactionError: The server answered COMMIT with ROLLBACK, because a statement had failed;
                asyncpg would not say so.
        """
        if timeout is None and self._config.command_timeout is None and not args:
            timeout = self.limits.command
        status: str = await super().execute(query, *args, timeout=timeout)
        if status == "ROLLBACK" and query == "COMMIT;":
            raise InFailedSQLTransactionError("the server answered COMMIT with ROLLBACK")
        return status

    async def set_type_codec(self, *args: Any, **options: Any) -> None:
        """Prepare a type, as SQLAlchemy does on each new connection, where it translates no errors.

        Raises:
            sqlalchemy.dialects.postgresql.asyncpg.AsyncAdapt_asyncpg_dbapi.OperationalError: The server has closed the
                connection in the meantime.
        """
        try:
            await super().set_type_codec(*args, **options)
        except InterfaceError as error:
            if not self.is_closed():
                raise
            dbapi: Any = AsyncAdapt_asyncpg_dbapi
            raise dbapi.OperationalError("the server closed the new connection") from error

    async def close(self, *, timeout: float | None = None) -> None:
        """Say goodbye to the server, or do without when it does not answer."""
        with suppress(asyncio.TimeoutError, OSError):
            await super().close(timeout=self.limits.connect if timeout is None else timeout)

    def is_of_other_loop(self) -> bool:
        """Give it up if it belongs to another event loop than this one, and return whether it does."""
        if not is_of_other_loop(self._loop):
            return False
        # Closed, as far as anyone here can see.
        self._aborted = True
        abort_on_its_loop(self._loop, self._transport)
        return True

    async def quickly(self, command: str) -> None:
        """Run what never takes long, in one message: a pooler may hand each message to another server.

        Raises:
            asyncio.TimeoutError: There was no answer within the limit for connecting; the connection is closed.
        """
        try:
            await super().execute(command, timeout=self.limits.connect)
        except asyncio.TimeoutError:
            self.terminate()
            raise

    async def _cancel(self, waiter: Any, cancel_waiter: Any = None) -> None:
        # asyncpg bounds this by command_timeout, which is the limit of a statement.
        giving_up = self._loop.call_later(self.limits.connect, self.terminate)
        try:
            await super()._cancel(waiter, cancel_waiter)
        finally:
            giving_up.cancel()

    def _clean_tasks(self) -> None:
        # Under anyio each await is cancelled, so it is given up before the server has been told to stop: that would go
        # on with the statement, and keep its locks.
        is_cancelling = any(not task.done() for task in self._cancellations)
        super()._clean_tasks()
        if is_cancelling and not self._loop.is_closed():
            task = self._loop.create_task(self._stop())
            _stopping.add(task)
            task.add_done_callback(_stopping.discard)

    async def _stop(self) -> None:
        with suppress(asyncio.TimeoutError, OSError, PostgresError, InterfaceError, InternalClientError):
            stop = connect_utils._cancel(  # noqa: SLF001 - nothing public cancels for who has given up
                loop=self._loop, addr=self._addr, params=self._params, **self._backend
            )
            await asyncio.wait_for(stop, self.limits.connect)


# The event loop keeps no task alive by itself.
_stopping: set[asyncio.Task[None]] = set()


class _Asyncpg(Driver):
    decided = frozenset({"connection_class", "loop"})
    joined: ClassVar[Mapping[str, Join]] = {"server_settings": lambda ours, given: {**ours, **given}}
    readers: ClassVar[Mapping[str, Reader]] = {
        **dict.fromkeys(_TIMES, NUMBER),
        **dict.fromkeys(_SIZES, WHOLE),
        **dict.fromkeys(_OBJECTS, OBJECT),
        "direct_tls": SWITCH,
    }
    takes_straight = True
    wraps_values = True

    @override
    def known_arguments(self) -> set[str]:
        return {*inspect.signature(asyncpg.connect).parameters, *_OF_ADAPTER}

    @override
    def wanted(self, name: str, value: Any) -> str | None:
        if name in _TIMES and not 0 < number_of(value) < inf:
            return "a number of seconds above 0"
        if name in _SIZES and not 0 <= number_of(value) < inf:
            return "a number from 0 on"
        servers = [each.value for each in connect_utils.SessionAttribute]
        return f"one of {', '.join(servers)}" if name == "target_session_attrs" and value not in servers else None

    @override
    def arguments(self, settings: DatabaseSettings, session: Mapping[str, Any]) -> dict[str, Any]:
        limits = Limits.of(settings)
        ours = {"timeout": limits.connect, "command_timeout": limits.statement, "server_settings": dict(session)}
        return ours | (_UNPREPARED if settings.pooler else {})

    @override
    def tls_arguments(self, tls: Tls) -> dict[str, Any]:
        if tls.is_required:
            return {"ssl": tls.context()}
        # It goes on without TLS only if it is told the mode, and takes files beside a mode only here.
        return {"dsn": f"postgresql://?{urlencode(parameters_of(tls))}"}

    @override
    def opening(self, dialect: Dialect, limits: Limits, tls: Tls) -> Callable[..., Any]:
        bounded = type("BoundedConnection", (BoundedConnection,), {"limits": limits})
        return partial(asyncpg.connect, connection_class=bounded)

    @override
    def install(self, engine: Engine) -> None:
        event.listen(engine, "handle_error", translate)

    @override
    def state(self, dialect: Dialect, lent: Any) -> State:
        # asyncpg has no settings for transactions to come; SQLAlchemy's adapter has.
        level = unusual(dialect, _spelled(lent.isolation_level))
        driver = lent.driver_connection
        # After a BEGIN that was cancelled, asyncpg takes it for done, and would make a savepoint of the next one.
        begun = driver.is_in_transaction() or driver._top_xact is not None  # noqa: SLF001 - nothing public
        return State((level, lent.readonly, lent.deferrable), bool(begun))

    @override
    def commits_each(self, lent: Any) -> bool:
        return str(lent.isolation_level).lower() == "autocommit"

    @override
    def is_closed(self, lent: Any) -> bool:
        # asyncpg notices a closed socket by itself.
        return bool(lent.driver_connection.is_closed()) or gave_up(lent.driver_connection)

    @override
    def socket_of(self, lent: Any) -> int | None:
        socket = lent.driver_connection._transport.get_extra_info("socket")  # noqa: SLF001 - nothing public
        return int(socket.fileno())

    @override
    def cut(self, lent: Any) -> None:
        lent.driver_connection.terminate()

    @override
    def ping(self, dialect: Dialect, lent: Any) -> None:
        self.run_quickly(lent, "SELECT 1")

    @override
    def run_quickly(self, lent: Any, command: str) -> None:
        lent.run_async(lambda driver: driver.quickly(command))

    @override
    def begin(self, lent: Any) -> None:
        if not lent.driver_connection.is_in_transaction():
            # The adapter begins with the first statement of its own cursor.
            lent.run_async(lambda _driver: lent._start_transaction())  # noqa: SLF001 - nothing public begins

    @override
    def fetch(self, lent: Any, sql: str, parameters: Any) -> Rows:
        rows: Rows = lent.run_async(lambda driver: driver.fetch(sql, *parameters))
        return rows

    @override
    def diagnose(self, error: Any, statement: str) -> Diagnostics:
        names = {kind: getattr(error, f"{kind}_name", None) for kind in ("table", "column", "constraint")}
        return Diagnostics(without_sql(error, getattr(error, "message", None)), **names)


@cache
def _spelled(level: Any) -> str:
    return str(level).upper().replace("_", " ")


ASYNC = _Asyncpg()
