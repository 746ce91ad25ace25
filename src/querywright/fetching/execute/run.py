"""Run a compiled fetch: straight on the driver's connection, or on SQLAlchemy's cursor."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, NoReturn

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from querywright.engine.databases.lookup import backend_of
from querywright.engine.drivers.driver import Rows
from querywright.engine.drivers.lookup import driver_for
from querywright.engine.pool.reset import mark_changed
from querywright.engine.statements.observation import has_foreign_listeners
from querywright.engine.statements.pooler import require_nothing_left
from querywright.events import StatementExecuted, emit, has_subscribers
from querywright.fetching.compile.binding import Statement

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
    if not driver_for(target.dialect).takes_straight or has_foreign_listeners(target):
        return False
    return not target.engine._should_log_info()  # noqa: SLF001 - ``echo`` does not know of Python's logging


def _run_on_engine(engine: Engine, statement: Statement) -> Rows:
    """Borrow a connection for one statement, with no BEGIN and no ROLLBACK around it."""
    if _is_direct(engine):
        return _run_on_borrowed(engine, statement)
    with engine.connect() as connection:
        connection.execution_options(**backend_of(engine.dialect).autocommit)
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
        rows = _call(driver_for(engine.dialect).fetch_alone, borrowed.dbapi_connection, statement)
    except BaseException as error:  # noqa: BLE001 - a cancelled task has to give its connection back as well
        with Connection(engine, borrowed) as connection:
            _raise_as_sqlalchemy(connection, error, statement)
    # As a Connection closes: nothing was begun that the pool would have to roll back, which costs some drivers a trip.
    borrowed._close_special(transaction_reset=True)  # noqa: SLF001 - nothing public says so
    return rows


def _run_on_cursor(connection: Connection, statement: Statement) -> Rows:
    return connection.exec_driver_sql(statement.sql, statement.parameters).all()


def _run_in_transaction(connection: Connection, statement: Statement) -> Rows:
    if not connection.in_transaction():
        connection.begin()
        backend_of(connection.dialect).begin_late(connection)
    if statement.outlasts:
        require_nothing_left(connection.dialect)
    if statement.changes:
        mark_changed(connection)
    driver, lent = driver_for(connection.dialect), connection.connection.dbapi_connection
    try:
        driver.begin(lent)
        return _call(driver.fetch, lent, statement)
    except BaseException as error:  # noqa: BLE001 - SQLAlchemy must hear of a cancellation as well
        _raise_as_sqlalchemy(connection, error, statement)


def _call(fetch: Callable[[Any, str, Any], Rows], lent: Any, statement: Statement) -> Rows:
    """Hand a statement to the driver itself."""
    if not has_subscribers(StatementExecuted):
        return fetch(lent, statement.sql, statement.parameters)
    started = time.perf_counter()
    rows = fetch(lent, statement.sql, statement.parameters)
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
                connection.execution_options(**backend_of(bind.dialect).read_only)
            yield from stream(connection, statement, size)
        return
    options = {"stream_results": True, "max_row_buffer": size}
    result = bind.exec_driver_sql(statement.sql, statement.parameters, execution_options=options)
    try:
        while rows := result.fetchmany(size):
            yield rows
    finally:
        result.close()
