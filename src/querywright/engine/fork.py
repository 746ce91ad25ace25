"""After a fork, leave the parent's connections to the parent."""

from __future__ import annotations

import os
from typing import Any
from weakref import WeakSet

from sqlalchemy import Engine

__all__ = ["forget_in_child"]

_engines: WeakSet[Engine] = WeakSet()
# Kept for ever, unused: to be collected would close them, so to speak up on the parent's sockets.
_pools_of_parents: list[Any] = []


def forget_in_child(engine: Engine) -> None:
    """Give an engine a new pool in each process that is forked from this one.

    Two processes on one socket read each other's answers
    (https://docs.sqlalchemy.org/en/20/core/pooling.html#using-connection-pools-with-multiprocessing-or-os-fork).
    """
    _engines.add(engine)


def _forget() -> None:
    for engine in list(_engines):
        _pools_of_parents.append(engine.pool)
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
