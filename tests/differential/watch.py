"""Look at each statement that a Session runs, compare, and write one line about it; never disturb the test."""

from __future__ import annotations

import json
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary
from zlib import crc32

from sqlalchemy import BindParameter, Connection, Select
from sqlalchemy.sql.base import CompileState
from sqlalchemy.sql.visitors import iterate

from querywright.fetching.compile.statement import root_mapper
from tests.differential.models import shape_of
from tests.differential.oracle import MARK, Oracle, Quiet, savepoint
from tests.differential.verbs import Outcome, compare
from tests.fuzz.databases import forget_plans

__all__ = ["forget", "watch"]

_SECONDS = 30
# What was compared, of each mapped class that still lives: the tests of a class share theirs.
_known: WeakKeyDictionary[Any, set[Any]] = WeakKeyDictionary()


def forget() -> None:
    """Drop what is kept of the classes of a test."""
    shape_of.cache_clear()
    forget_plans()


def watch(log: Path) -> None:
    """Begin to look at all sessions."""
    # Here a statement has been through the session's listeners, and its connection is known.
    cls: Any = CompileState.plugins["orm", "select"]
    run = cls.orm_execute_statement.__func__
    out = log.open("a", buffering=1)

    def orm_execute_statement(cls: Any, session: Any, statement: Any, params: Any, *rest: Any) -> Any:
        result = run(cls, session, statement, params, *rest)
        if MARK not in session.info:
            options, _bind_arguments, connection = rest
            _look(out, statement, params, options, connection)
        return result

    cls.orm_execute_statement = classmethod(orm_execute_statement)


def _look(out: Any, statement: Any, params: Any, options: Any, connection: Connection) -> None:
    kind = kind_of(statement, params)
    line: dict[str, Any] = {"test": _test(), "kind": kind}
    if kind == "one entity":
        try:
            with warnings.catch_warnings(), _bounded(), _unprepared(connection):
                warnings.simplefilter("ignore")
                outcome = _compared(statement, params, options, connection)
            line |= {"rows": outcome.rows, "demands": outcome.demands, "verbs": outcome.verbs}
        except Exception as error:  # noqa: BLE001 - it must not reach the test
            line["unseen"] = f"{type(error).__name__}: {error}"[:1000]
        verbs = line.get("verbs", {})
        if any(state in {"different", "failed", "refused"} for state, _ in verbs.values()) or "unseen" in line:
            line["sql"] = _text(statement, connection)
    out.write(json.dumps(line, default=repr) + "\n")


def _test() -> str:
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]


def kind_of(statement: Any, params: Any) -> str:
    """Say whether a statement is a select() of one mapped class that a test has written."""
    if not isinstance(statement, Select):
        return f"a {type(statement).__name__}"
    compiling: Any = statement._compile_options
    if compiling is not None and getattr(compiling, "_for_refresh_state", False):
        return "a refresh"
    path = getattr(compiling, "_current_path", None)
    if path is not None and not path.is_root:
        return "a load of a relationship"
    described = statement.column_descriptions
    if len(described) != 1 or described[0].get("entity") is None or described[0]["expr"] is not described[0]["entity"]:
        return "no single entity"
    if any(getattr(element, "is_dml", False) for element in iterate(statement)):
        return "rows that are written as well"
    return "many parameter sets" if isinstance(params, list) and len(params) > 1 else "one entity"


def _compared(statement: Select[Any], params: Any, options: Any, connection: Connection) -> Outcome:
    quiet = Quiet(connection)
    # Of a key with a NULL in it, Session.get() gives a value that its statement does not have.
    named = {bind.key for bind in iterate(statement) if isinstance(bind, BindParameter)}
    given = {
        name: value
        for name, value in ((params[0] if isinstance(params, list) else params) or {}).items()
        if name in named
    }
    with savepoint(quiet), Oracle.of(quiet, statement, given, options) as oracle:
        # The same relationships for all tests of a class, so that one that repeats another is seen to.
        turn = crc32("::".join(_test().split("::")[:2]).encode())
        return compare(oracle, statement, _known.setdefault(root_mapper(statement), set()), turn)


def _text(statement: Any, connection: Connection) -> str:
    try:
        return str(statement.compile(dialect=connection.dialect))[:3000]
    except Exception as error:  # noqa: BLE001 - for a reader only
        return f"{type(error).__name__}: {error}"


@contextmanager
def _bounded() -> Iterator[None]:
    def stop(_signal: int, _frame: Any) -> None:
        raise TimeoutError(f"no end within {_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _unprepared(connection: Connection) -> Iterator[None]:
    """Let no statement stay on the server: tests make other tables under the same names."""
    driver: Any = connection.connection.dbapi_connection
    if not hasattr(driver, "prepare_threshold"):
        yield
        return
    before, driver.prepare_threshold = driver.prepare_threshold, None
    try:
        yield
    finally:
        driver.prepare_threshold = before
