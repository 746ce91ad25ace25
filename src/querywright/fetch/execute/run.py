"""Run a compiled fetch: straight on the driver's connection, or on SQLAlchemy's cursor."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, NoReturn

from sqlalchemy import Connection, Dialect, Engine
from sqlalchemy.orm import Session

from querywright.engine.databases.dialect import AUTOCOMMIT_OPTIONS, READ_ONLY_OPTIONS
from querywright.engine.databases.sqlite import begin_late
from querywright.engine.pool.reset import mark_changed
from querywright.engine.statements.observation import has_foreign_listeners
from querywright.engine.statements.pooler import require_nothing_left
from querywright.events import StatementExecuted, emit, has_subscribers
from querywright.fetch.compile.binding import Statement
from querywright.fetch.execute.drivers import Rows, autocommitting, direct_call, has_direct_call

__all__ = ["Bind", "Rows", "run", "stream"]

Bind = Session | Connection | Engine


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
