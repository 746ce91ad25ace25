"""Look at every statement: time it for `StatementExecuted` if anyone subscribes, and see whether it leaves a mark."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, Engine, event

from querywright.engine.changes import traces_of
from querywright.engine.pool.reset import mark_changed
from querywright.engine.statements.pooler import require_nothing_left
from querywright.engine.statements.transactions import require_unmanaged
from querywright.events import StatementExecuted, emit, has_subscribers

__all__ = ["has_foreign_listeners", "install_timing"]

_STARTED = "querywright_statement_started"


def _before(
    conn: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any
) -> tuple[str, Any]:
    traces = traces_of(conn.dialect.name, statement)
    if traces.outlasts:
        require_nothing_left(conn.dialect)
    if traces.changed:
        mark_changed(conn)
    if traces.ended:
        require_unmanaged(conn, traces.ended)
    if has_subscribers(StatementExecuted):
        conn.info[_STARTED] = time.perf_counter()
    return statement, parameters


def _after(conn: Connection, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: Any) -> None:
    started = conn.info.pop(_STARTED, None)
    if started is not None:
        emit(StatementExecuted(statement, time.perf_counter() - started))


def install_timing(engine: Engine) -> None:
    """Emit `StatementExecuted` for each statement that goes through SQLAlchemy."""
    # With retval=True SQLAlchemy keeps the function itself, which has_foreign_listeners() relies on.
    event.listen(engine, "before_cursor_execute", _before, retval=True)
    event.listen(engine, "after_cursor_execute", _after)


def has_foreign_listeners(target: Connection | Engine) -> bool:
    """Return whether anyone but Querywright listens to SQLAlchemy's cursor events here."""
    dispatch = target.dispatch
    # Loops, as each statement asks: a generator costs as much as the listeners.
    for listener in dispatch.before_cursor_execute:
        if listener is not _before:
            return True
    for listener in dispatch.after_cursor_execute:  # noqa: SIM110 - as above
        if listener is not _after:
            return True
    return False
