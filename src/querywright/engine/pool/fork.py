"""After a fork, leave the parent's connections to the parent: those in its pools, and those in use."""

from __future__ import annotations

import ctypes
import gc
import os
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, Pool, QueuePool
from sqlalchemy.pool import _ConnectionFairy

__all__ = ["forget_in_child", "is_of_parent"]

_engines: WeakSet[Engine] = WeakSet()
# Kept for ever, unused: to be collected would close them, so to speak up on the parent's sockets.
_pools_of_parents: list[Any] = []
# Pools of which connections may be in use.
_lent: list[Pool] = []


def forget_in_child(engine: Engine) -> None:
    """Give an engine a new pool in each process that is forked from this one.

    Two processes on one socket read each other's answers
    (https://docs.sqlalchemy.org/en/20/core/pooling.html#using-connection-pools-with-multiprocessing-or-os-fork).
    """
    _engines.add(engine)


def is_of_parent(connection: Connection) -> bool:
    """Return whether a connection was in use when this process was forked: its transaction is the parent's."""
    in_child = bool(_pools_of_parents) and not (connection.closed or connection.invalidated)
    return in_child and connection.connection.dbapi_connection is None


def _note_lent() -> None:
    """Before a fork: in the child, another thread that has just gone may hold the lock of a pool."""
    pools = (engine.pool for engine in list(_engines))
    _lent[:] = [pool for pool in pools if not isinstance(pool, QueuePool) or pool.checkedout()]


def _forget() -> None:
    if _lent:
        # To look at every object copies the memory that parent and child share.
        _disown(_lent)
    for engine in list(_engines):
        _pools_of_parents.append(engine.pool)
        engine.dispose(close=False)


def _disown(pools: list[Pool]) -> None:
    """Take the connections in use away from the copies of those who use them.

    A block that the child leaves would roll back on the parent's socket, and the parent would commit nothing.
    """
    # A pool does not list what it has lent. Not isinstance(): proxies of others answer it, and do something.
    for each in gc.get_objects():
        if type(each) is _ConnectionFairy and each._pool in pools and each.dbapi_connection is not None:  # noqa: SLF001
            _keep(each.dbapi_connection)
            # What is collected is rolled back by way of its record.
            for holder in (each, each._connection_record):  # noqa: SLF001 - nothing public
                if holder is not None:
                    setattr(holder, "dbapi_connection", None)  # noqa: B010 - typed as never None


def _keep(connection: Any) -> None:
    """Keep a connection even from the end of the interpreter: SQLite rolls back in the file what it closes."""
    for each in (connection, getattr(connection, "driver_connection", None)):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_note_lent, after_in_child=_forget)
