"""Run a prepared fetch: straight on the driver's connection, or on SQLAlchemy's cursor."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, NoReturn, TypeVar
from weakref import WeakSet

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema
from sqlalchemy import Connection, Dialect, Engine, Select
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.orm import ORMExecuteState, Session

from querywright.engine.dialect import AUTOCOMMIT_OPTIONS, READ_ONLY_OPTIONS
from querywright.engine.pooler import require_nothing_left
from querywright.engine.reset import mark_changed
from querywright.engine.sqlite import begin_late
from querywright.engine.statements import has_foreign_listeners
from querywright.errors import ConfigurationError, ShapeError
from querywright.events import StatementExecuted, emit, has_subscribers
from querywright.fetch.binding import Statement
from querywright.fetch.drivers import Rows, autocommitting, direct_call, has_direct_call
from querywright.fetch.roots import root_mapper

__all__ = [
    "Bind", "JsonBytes", "Rows", "Seen", "close_streams", "connection_of", "has_listeners", "routing", "run",
    "seen_by_session", "stream", "streams_of",
]  # fmt: skip

Bind = Session | Connection | Engine
Content_co = TypeVar("Content_co", covariant=True)


class JsonBytes(bytes, Generic[Content_co]):
    """JSON as bytes; the parameter is the type that a client reads from them, for type checkers."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Be no field of a model and no response model: Pydantic would write the JSON as a string in JSON."""
        message = "JsonBytes is JSON that is written already, which Pydantic would write once more, as a string."
        hint = "In FastAPI, annotate and return Json: -> Json[list[UserOut]], return Json(await fetch(...).json())."
        raise ConfigurationError(message, hint=hint)


def run(bind: Engine | Connection, statement: Statement) -> Rows:
    """Run a statement and return its rows."""
    if isinstance(bind, Engine):
        return _run_on_engine(bind, statement)
    if _is_direct(bind):
        return _run_in_transaction(bind, statement)
    return _run_on_cursor(bind, statement)


def _is_direct(target: Connection | Engine) -> bool:
    """Return whether the driver can be called straight: nobody else listens to cursor events, or wants them logged."""
    if not has_direct_call(target.dialect) or has_foreign_listeners(target):
        return False
    return not target.engine._should_log_info()  # noqa: SLF001 - ``echo`` does not know of Python's logging


def _run_on_engine(engine: Engine, statement: Statement) -> Rows:
    """Borrow a connection for one statement, with no BEGIN and no ROLLBACK around it."""
    if _is_direct(engine):
        return _run_on_borrowed(engine, statement)
    with engine.connect() as connection:
        connection.execution_options(**AUTOCOMMIT_OPTIONS[engine.dialect.name])
        return _run_on_cursor(connection, statement)


def _run_on_borrowed(engine: Engine, statement: Statement) -> Rows:
    """Do without a Connection: for a small result it would cost more than all of asyncpg's own work."""
    if statement.outlasts:
        # Before there is a connection that would have to be given back.
        require_nothing_left(engine.dialect)
    try:
        borrowed = engine.raw_connection()
    except engine.dialect.loaded_dbapi.Error as error:
        Connection._handle_dbapi_exception_noconnection(error, engine.dialect, engine)  # noqa: SLF001 - as Connection does
    if statement.changes:
        mark_changed(borrowed)
    try:
        rows = _fetch_alone(engine.dialect, borrowed.dbapi_connection, statement)
    except BaseException as error:  # noqa: BLE001 - a cancelled task has to give its connection back as well
        with Connection(engine, borrowed) as connection:
            _raise_as_sqlalchemy(connection, error, statement)
    # As a Connection closes: nothing was begun that the pool would have to roll back, which costs some drivers a trip.
    borrowed._close_special(transaction_reset=True)  # noqa: SLF001 - nothing public says so
    return rows


def _fetch_alone(dialect: Dialect, adapted: Any, statement: Statement) -> Rows:
    if dialect.driver != "psycopg":
        return _fetch(dialect, adapted, statement)
    with autocommitting(adapted):
        return _fetch(dialect, adapted, statement)


def _run_on_cursor(connection: Connection, statement: Statement) -> Rows:
    return connection.exec_driver_sql(statement.sql, statement.parameters).all()


def _run_in_transaction(connection: Connection, statement: Statement) -> Rows:
    if not connection.in_transaction():
        connection.begin()
        begin_late(connection)
    if statement.outlasts:
        require_nothing_left(connection.dialect)
    if statement.changes:
        mark_changed(connection)
    adapted: Any = connection.connection.dbapi_connection
    try:
        if connection.dialect.driver == "asyncpg" and not adapted.driver_connection.is_in_transaction():
            # The adapter begins with the first statement of its own cursor, which this one is not.
            adapted.run_async(lambda _driver: adapted._start_transaction())  # noqa: SLF001 - nothing public begins
        return _fetch(connection.dialect, adapted, statement)
    except BaseException as error:  # noqa: BLE001 - SQLAlchemy must hear of a cancellation as well
        _raise_as_sqlalchemy(connection, error, statement)


def _fetch(dialect: Dialect, adapted: Any, statement: Statement) -> Rows:
    """Hand a statement to the driver itself."""
    if not has_subscribers(StatementExecuted):
        return direct_call(dialect, adapted, statement)
    started = time.perf_counter()
    rows = direct_call(dialect, adapted, statement)
    emit(StatementExecuted(statement.sql, time.perf_counter() - started))
    return rows


def _raise_as_sqlalchemy(connection: Connection, error: BaseException, statement: Statement) -> NoReturn:
    """Translate, wrap, invalidate and notify exactly as SQLAlchemy does for its own cursor."""
    adapted: Any = connection.connection.dbapi_connection
    if isinstance(error, Exception) and hasattr(adapted, "_handle_exception"):
        try:
            adapted._handle_exception(error)  # noqa: SLF001 - the only translation of a driver's errors
        except Exception as translated:  # noqa: BLE001 - whatever it is, SQLAlchemy wraps it
            error = translated
    connection._handle_dbapi_exception(error, statement.sql, statement.parameters, None, None)  # noqa: SLF001 - as above


def stream(bind: Engine | Connection, statement: Statement, size: int) -> Generator[Rows, None, None]:
    """Read rows through a cursor of the server, so many at once; memory holds no more than those."""
    if isinstance(bind, Engine):
        # A cursor of PostgreSQL lives in a transaction.
        with bind.connect() as connection:
            if not statement.locks:
                connection.execution_options(**READ_ONLY_OPTIONS.get(bind.dialect.name, {}))
            yield from stream(connection, statement, size)
        return
    options = {"stream_results": True, "max_row_buffer": size}
    result = bind.exec_driver_sql(statement.sql, statement.parameters, execution_options=options)
    try:
        while rows := result.fetchmany(size):
            yield rows
    finally:
        result.close()


_STREAMS = "querywright_streams"


def streams_of(session: Session) -> WeakSet[Generator[Any, None, None]]:
    """Return the streams that read in the transaction of a session."""
    streams: WeakSet[Generator[Any, None, None]] | None = session.info.get(_STREAMS)
    if streams is None:
        streams = session.info[_STREAMS] = WeakSet()
    return streams


def close_streams(session: Session) -> None:
    """Close the cursors that still have rows, before the transaction ends: MySQL could not end it."""
    for each in list(session.info.get(_STREAMS, ())):
        each.close()


def connection_of(session: Session, statement: Select[Any], arguments: Mapping[str, Any]) -> Connection:
    """Flush the session if it would flush for this statement, and return the connection of its transaction."""
    flushing = session._flushing  # noqa: SLF001 - Session's own autoflush asks the same
    if session.autoflush and not flushing and statement.get_execution_options().get("autoflush", True):
        session.flush()
    return session.connection(bind_arguments={**arguments, **routing(statement)})


def routing(statement: Select[Any]) -> dict[str, Any]:
    """Return what a session with several databases chooses one by; see ``Session.get_bind``."""
    return {"mapper": root_mapper(statement), "clause": statement}


@dataclass(frozen=True)
class Seen:
    """A statement as the ``do_orm_execute`` listeners of a session leave it, such as with a tenant's filter.

    Attributes:
        statement: Which rows.
        parameters: Values for its named parameters.
        arguments: What the session chooses a database by, beside the statement.
        is_another: Whether a listener made another statement of it.
    """

    statement: Select[Any]
    parameters: Mapping[str, Any] | None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    is_another: bool = False


def seen_by_session(session: Session, statement: Select[Any], parameters: Mapping[str, Any] | None) -> Seen:
    """Let the listeners of a session see a statement, and change it.

    Raises:
        ShapeError: One of them answers it itself.
    """
    if not session.dispatch.do_orm_execute:
        return Seen(statement, parameters)
    own = None if parameters is None else dict(parameters)  # they may change it in place
    # Added to this call only: other threads may use listeners of the same class at the same time.
    answer = session._execute_internal(statement, own, _add_event=_Unread)  # noqa: SLF001 - execute() may be overridden
    if not isinstance(answer, _Unread):
        raise _answered()
    return answer.seen(statement)


def has_listeners(sessions: type[Session]) -> bool:
    """Return whether anyone listens to ``do_orm_execute`` of all sessions of a class."""
    return bool(_dispatch_of(sessions).do_orm_execute)  # type: ignore[arg-type]  # mypy asks its instances


@cache
def _dispatch_of(sessions: type[Session]) -> Any:
    # Of any session of the class: it sees who is added to the class later.
    return sessions().dispatch


class _Unread(IteratorResult[Any]):
    """What the listeners get for the rows of a fetch, which are not those of the ORM."""

    def __init__(self, state: ORMExecuteState) -> None:
        super().__init__(SimpleResultMetaData(["row"]), _refused())
        self._state = state

    def seen(self, statement: Select[Any]) -> Seen:
        """Return what became of a statement.

        Raises:
            ShapeError: It is not a ``select()`` any more.
        """
        state = self._state
        final: Any = state.statement
        if not isinstance(final, Select):
            reason = "a do_orm_execute listener of its session makes something else than a select() of it."
            raise ShapeError("statement", reason)
        given: Any = state.parameters
        options = {**state.execution_options, **state.local_execution_options}
        arguments = {name: value for name, value in state.bind_arguments.items() if not name.startswith("_sa_")}
        return Seen(final.execution_options(**options), given, arguments, is_another=final is not statement)


def _refused() -> Iterator[Any]:
    raise _answered()
    yield


def _answered() -> ShapeError:
    reason = "a do_orm_execute listener of its session answers it with rows of its own, of a cache or of shards."
    hint = "Let the listener pass by the statements of a fetch, marked by an option or execution option of yours."
    return ShapeError("statement", reason, hint=hint)
