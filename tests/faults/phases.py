"""Know at each moment what a task does with its connection: opens it, begins, runs a statement, commits, returns it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from sqlalchemy import Engine, event

from querywright.engine import connecting

__all__ = ["PHASES", "Progress", "install_phases", "progress"]

PHASES = ("connect", "begin", "statement", "commit", "return")


class Progress:
    """What a task does with its connection.

    Attributes:
        phase: One of `PHASES`, or empty before the first one.
    """

    phase = ""


progress: ContextVar[Progress] = ContextVar("progress")


def install_phases(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each task of an engine write down its phases."""
    event.listen(engine, "commit", _committing)
    event.listen(engine.pool, "reset", _returning, insert=True)

    connect = connecting._connect

    def connect_and_tell(*arguments: Any) -> Any:
        _enter("connect")
        return connect(*arguments)

    # An event of the engine's comes after ours, which has connected already.
    monkeypatch.setattr(connecting, "_connect", connect_and_tell)

    @event.listens_for(engine, "before_cursor_execute")
    def execute(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        _enter("begin" if sql.startswith(("BEGIN", "START")) else "statement")

    if patch := _PATCH.get(engine.dialect.driver):
        patch(monkeypatch)


def _committing(_: Any) -> None:
    _enter("commit")


def _returning(*_: Any) -> None:
    _enter("return")


def _enter(phase: str) -> None:
    if (mine := progress.get(None)) is not None:
        mine.phase = phase


def _patch_psycopg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell BEGIN, which psycopg sends before the first statement."""
    from querywright.engine.drivers.psycopg import BoundedAsyncConnection  # noqa: PLC0415 - an optional package

    send = BoundedAsyncConnection._exec_command

    def send_and_tell(self: Any, command: Any, *arguments: Any, **options: Any) -> Any:
        begins = b"BEGIN" in bytes(command)
        if begins:
            _enter("begin")
        result = yield from send(self, command, *arguments, **options)
        if begins:
            _enter("statement")
        return result

    monkeypatch.setattr(BoundedAsyncConnection, "_exec_command", send_and_tell)


def _patch_asyncpg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell BEGIN, which SQLAlchemy's adapter sends before the first statement."""
    from querywright.engine.drivers.asyncpg import BoundedConnection  # noqa: PLC0415 - an optional package

    execute = BoundedConnection.execute

    async def execute_and_tell(self: Any, query: str, *arguments: Any, **options: Any) -> Any:
        begins = query.startswith("BEGIN")
        if begins:
            _enter("begin")
        result = await execute(self, query, *arguments, **options)
        if begins:
            _enter("statement")
        return result

    monkeypatch.setattr(BoundedConnection, "execute", execute_and_tell)


_PATCH: dict[str, Callable[[pytest.MonkeyPatch], None]] = {"psycopg": _patch_psycopg, "asyncpg": _patch_asyncpg}
