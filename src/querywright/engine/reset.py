"""Give a connection back to the pool as it was: what one user of it has set, the next does not see."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import Connection, Engine, Pool, PoolProxiedConnection, PoolResetState, event
from sqlalchemy.pool import ConnectionPoolEntry

from querywright.engine.pool import known_closed, run_quickly

__all__ = ["install_replacing", "install_reset", "mark_changed"]

# In the info of a connection: a statement may have changed the session.
_CHANGED = "querywright_session_changed"

# All of DISCARD ALL but DEALLOCATE ALL, for the drivers keep prepared statements
# (https://www.postgresql.org/docs/18/sql-discard.html).
_DISCARD = (
    "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; UNLISTEN *;"
    " SELECT pg_advisory_unlock_all(); DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES"
)


def mark_changed(connection: Connection | PoolProxiedConnection) -> None:
    """Have a connection reset when it goes back to the pool: a statement may have changed what its next user sees."""
    connection.info[_CHANGED] = True


def install_reset(engine: Engine, *, when: Literal["changed", "always", "never"]) -> None:
    """Roll back, and take back what a session has changed, when its connection comes back.

    Args:
        engine: The engine, with all of Querywright's listeners and ``pool_reset_on_return=None``.
        when: Whether to take back only what was seen to be changed.
    """
    dialect = engine.dialect
    ours = len(engine.pool.dispatch.connect)

    def reset(connection: Any, record: ConnectionPoolEntry | None, state: PoolResetState) -> None:
        if not state.asyncio_safe:
            # The garbage collector has found it, and closes it.
            return
        if record is not None and known_closed(dialect, connection):
            record.invalidate()
            return
        if not state.transaction_was_reset:
            dialect.do_rollback(connection)
        changed = record is not None and record.info.pop(_CHANGED, False)
        if record is None or state.terminate_only or not (changed or when == "always") or when == "never":
            return
        # What a "connect" listener of the user's has set up, only a new connection has.
        if dialect.name != "postgresql" or len(engine.pool.dispatch.connect) > ours:
            record.invalidate()
            return
        try:
            run_quickly(connection, _DISCARD)
        except Exception as error:  # noqa: BLE001 - whatever it was, a new connection has nothing of the old one
            record.invalidate(error)

    event.listen(engine.pool, "reset", reset)


def install_replacing(pool: Pool) -> None:
    """Replace a connection whose session was changed, in a pool that is not ours and rolls back by itself."""

    def reset(_connection: Any, record: ConnectionPoolEntry | None, state: PoolResetState) -> None:
        if state.asyncio_safe and record is not None and record.info.pop(_CHANGED, False):
            record.invalidate()

    event.listen(pool, "reset", reset)
