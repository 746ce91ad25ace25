"""Bound how long one transaction may take, by the database itself and for this transaction alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction

from querywright.errors import ConfigurationError

__all__ = ["bound"]

# Steps of SQLite's virtual machine between two looks at the clock: some hundred microseconds.
_STEPS = 10_000
_TRANSACTION_TIMEOUT = (17,)


def bound(session: Session, seconds: float) -> None:
    """Let the transaction that this session begins next end after so many seconds.

    Raises:
        ConfigurationError: The database has no way to.
    """
    name = session.get_bind().dialect.name
    limit = _LIMITS.get(name)
    if limit is None:
        hint = "Set statement_timeout in the settings."
        raise ConfigurationError(f"{name} has no timeout for one transaction.", hint=hint)

    def begun(_session: Session, transaction: SessionTransaction, connection: Connection) -> None:
        if not transaction.nested:
            limit(session, connection, seconds)

    event.listen(session, "after_begin", begun)


def _limit_postgresql(_session: Session, connection: Connection, seconds: float) -> None:
    version: Any = connection.dialect.server_version_info
    names = ["statement_timeout"]
    if version >= _TRANSACTION_TIMEOUT:
        names.append("transaction_timeout")
    value = f"{max(1, round(seconds * 1000))}ms"
    # The third argument: for this transaction only, as with SET LOCAL.
    calls = ", ".join(f"set_config('{name}', '{value}', true)" for name in names)
    connection.exec_driver_sql(f"SELECT {calls}")


def _limit_sqlite(session: Session, connection: Connection, seconds: float) -> None:
    until: float | None = time.monotonic() + seconds

    def too_late() -> int:
        return int(until is not None and time.monotonic() > until)

    def ended(_session: Session, transaction: SessionTransaction) -> None:
        nonlocal until
        if transaction.parent is None:
            # The handler stays with the connection, and from now on lets everything pass.
            until = None

    event.listen(session, "after_transaction_end", ended)
    adapted: Any = connection.connection.dbapi_connection
    if hasattr(adapted, "run_async"):
        adapted.run_async(lambda driver: driver.set_progress_handler(too_late, _STEPS))
    else:
        adapted.set_progress_handler(too_late, _STEPS)


_LIMITS: dict[str, Callable[[Session, Connection, float], None]] = {
    "postgresql": _limit_postgresql,
    "sqlite": _limit_sqlite,
}
