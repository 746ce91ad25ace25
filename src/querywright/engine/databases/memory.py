"""A SQLite database in memory that all connections of an engine share, each with transactions of its own."""

from __future__ import annotations

import os
import sqlite3
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from sqlalchemy import URL, Engine, event

__all__ = ["CONNECT_ARGUMENTS", "install_memory", "is_memory"]

# Of sqlite3.connect(): the pool lends a connection to any thread.
CONNECT_ARGUMENTS = {"uri": True, "check_same_thread": False}


def is_memory(url: URL) -> bool:
    """Return whether a URL of SQLite names no file.

    Example:
        >>> from sqlalchemy import make_url
        >>> is_memory(make_url("sqlite+aiosqlite:///:memory:")), is_memory(make_url("sqlite+aiosqlite:///blog.db"))
        (True, False)
    """
    return url.get_backend_name() == "sqlite" and (
        url.database in {None, "", ":memory:", "file::memory:"} or url.query.get("mode") == "memory"
    )


def install_memory(engine: Engine) -> None:
    """Have the connections of an engine open the same database, and keep it while none of them is open.

    SQLite's file system in memory locks as files do: who cannot have a lock waits for the busy timeout
    (https://www.sqlite.org/src/file/src/memdb.c). Its shared cache, the older way, does not wait.
    """
    uri = f"file:/{_name(engine.url)}?vfs=memdb"
    keepers: dict[int, sqlite3.Connection] = {}

    def do_connect(_dialect: Any, _record: Any, arguments: list[Any], _options: Any) -> None:
        if os.getpid() not in keepers:
            keepers[os.getpid()] = sqlite3.connect(uri, uri=True, check_same_thread=False)
        arguments[:] = [uri]

    def disposed(_engine: Engine) -> None:
        # That of a parent process stays: a thread of it may have held its lock during the fork.
        keeper = keepers.pop(os.getpid(), None)
        if keeper is not None:
            keeper.close()

    event.listen(engine, "do_connect", do_connect)
    event.listen(engine, "engine_disposed", disposed)


def _name(url: URL) -> str:
    """Name a database: one that is shared by name is so within the process; any other belongs to its engine."""
    named = (url.database or "").removeprefix("file:").strip("/")
    return quote(named) if named and url.query.get("cache") == "shared" else uuid4().hex
