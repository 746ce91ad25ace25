"""Give a connection back to the pool as it was, and prove it: what one user of it has set, the next does not see."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from sqlalchemy import Connection, Engine, PoolProxiedConnection, PoolResetState, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from querywright.engine.completion import undisturbed
from querywright.engine.databases.lookup import backend_of
from querywright.engine.drivers.lookup import driver_for

__all__ = ["install_replacing", "install_reset", "mark_changed"]

When = Literal["changed", "always", "never"]

# In the info of a connection: a statement may have changed the session.
_CHANGED = "querywright_session_changed"
# The settings that its driver had when it was new.
_NEW = "querywright_new_state"


def mark_changed(connection: Connection | PoolProxiedConnection) -> None:
    """Have a connection reset when it goes back to the pool: a statement may have changed what its next user sees."""
    connection.info[_CHANGED] = True


def install_reset(engine: Engine, *, when: When) -> None:
    """Roll back, and take back what a session has changed, when its connection comes back.

    Args:
        engine: The engine, with all of Querywright's listeners and ``pool_reset_on_return=None``.
        when: Whether to take back only what was seen to be changed.
    """
    reset = _Reset(engine, when)
    event.listen(engine.pool, "reset", reset.returned)
    event.listen(engine.pool, "checkout", reset.lent)


class _Reset:
    """What is done to the connections of an engine between two of their users."""

    def __init__(self, engine: Engine, when: When) -> None:
        self._engine = engine
        self._dialect = engine.dialect
        self._driver = driver_for(engine.dialect)
        self._reset = backend_of(engine.dialect).reset
        self._when = when
        self._own_listeners = len(engine.pool.dispatch.connect)

    def lent(self, connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        """Have a connection that is not as it was replaced by a new one."""
        if not self._is_new(connection, record):
            raise DisconnectionError

    def returned(self, connection: Any, record: ConnectionPoolEntry | None, state: PoolResetState) -> None:
        """End what is open, and prove that nothing is left of it."""
        if not state.asyncio_safe:
            # The garbage collector has found it, and closes it.
            return
        if record is None or state.terminate_only:
            self._roll_back(connection, state)
        elif not (state.transaction_was_reset and self._is_left_as_new(connection, record)):
            work = partial(self._clean, connection, record, state)
            # Whoever returns it may have been cancelled, and under anyio every await fails.
            undisturbed(work) if self._dialect.is_async else work()

    def _is_left_as_new(self, connection: Any, record: ConnectionPoolEntry) -> bool:
        """Return whether a connection whose transaction has ended is as it was when it was new; needs no round trip."""
        if self._driver.is_closed(connection) or self._when == "always" or _CHANGED in record.info:
            return False
        _take_back_options(connection, record)
        return self._is_new(connection, record)

    def _clean(self, connection: Any, record: ConnectionPoolEntry, state: PoolResetState) -> None:
        if self._driver.is_closed(connection):
            record.invalidate()
            return
        changed = record.info.pop(_CHANGED, False)
        try:
            self._roll_back(connection, state)
            _take_back_options(connection, record)
            if not self._is_new(connection, record):
                record.invalidate()
            elif self._when == "always" or (changed and self._when == "changed"):
                self._discard(connection, record)
        except Exception as error:  # noqa: BLE001 - whatever it was, a new connection has nothing of the old one
            record.invalidate(error)

    def _roll_back(self, connection: Any, state: PoolResetState) -> None:
        """Roll back, whatever SQLAlchemy believes.

        It takes a COMMIT that failed for the end of the transaction; for SQLite, and for a refusal of ours, it is not.
        """
        if not state.transaction_was_reset or self._driver.state(self._dialect, connection).in_transaction:
            self._dialect.do_rollback(connection)

    def _discard(self, connection: Any, record: ConnectionPoolEntry) -> None:
        # What a "connect" listener of the user's has set up, only a new connection has.
        if self._reset is None or len(self._engine.pool.dispatch.connect) > self._own_listeners:
            record.invalidate()
        else:
            self._driver.run_quickly(connection, self._reset)

    def _is_new(self, connection: Any, record: ConnectionPoolEntry) -> bool:
        """Return whether a connection is as it was when it was lent for the first time."""
        state = self._driver.state(self._dialect, connection)
        if _NEW not in record.info:
            # What listeners of "connect" have begun ends with its first use.
            record.info[_NEW] = state.settings
            return True
        return record.info[_NEW] == state.settings and not state.in_transaction


def _take_back_options(connection: Any, record: Any) -> None:
    """Take back the options of a connection, as SQLAlchemy does a moment later.

    There an error would cost the place in the pool for ever.
    """
    while record.finalize_callback:
        record.finalize_callback.pop()(connection)


def install_replacing(engine: Engine) -> None:
    """Replace a connection that is not as it was, in a pool that is not ours and rolls back by itself.

    It does not where SQLAlchemy takes a COMMIT that failed for the end of the transaction.
    """
    dialect, driver = engine.dialect, driver_for(engine.dialect)

    def reset(connection: Any, record: ConnectionPoolEntry | None, state: PoolResetState) -> None:
        if not state.asyncio_safe or record is None:
            return
        changed = record.info.pop(_CHANGED, False)
        if changed or (state.transaction_was_reset and driver.state(dialect, connection).in_transaction):
            record.invalidate()

    event.listen(engine.pool, "reset", reset)
