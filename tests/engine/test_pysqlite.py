"""A connection of SQLite that one thread closes while another one is in a call of it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from querywright import Database
from querywright.engine.drivers.pysqlite import SQLiteConnection

# Calls `wait` in its middle, and ends before its time only if it is interrupted.
NUMBERS = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 3000000)"
MOST = "SELECT max(n), max(CASE WHEN n = 2 THEN wait() END) FROM numbers"
LONG = f"{NUMBERS} {MOST}"
# A row comes before.
LATE = f"{NUMBERS} SELECT 1, 1 UNION ALL {MOST}"


def execute(connection: Any) -> Any:
    return connection.execute(LONG)


def by_cursor(connection: Any) -> Any:
    return connection.cursor().execute(LONG)


def many(connection: Any) -> Any:
    return connection.executemany("INSERT INTO t SELECT wait() WHERE ?", [(1,), (1,)])


def script(connection: Any) -> Any:
    return connection.executescript(f"{LONG}; {LONG};")


def fetch_one(connection: Any) -> Any:
    cursor = connection.execute(LATE)
    return [cursor.fetchone(), cursor.fetchone()]


def fetch_many(connection: Any) -> Any:
    return connection.execute(LATE).fetchmany(size=5)


def fetch_all(connection: Any) -> Any:
    return connection.execute(LATE).fetchall()


def iterate(connection: Any) -> Any:
    return list(connection.execute(LATE))


CALLS = {call.__name__: call for call in (execute, by_cursor, many, script, fetch_one, fetch_many, fetch_all, iterate)}


def opened() -> tuple[Any, threading.Event, threading.Event]:
    """A connection whose function `wait` tells that it runs, and waits until it may end."""
    connection = sqlite3.connect(":memory:", check_same_thread=False, factory=SQLiteConnection)
    runs, may_end = threading.Event(), threading.Event()

    def wait() -> int:
        runs.set()
        return int(may_end.wait(10))

    connection.create_function("wait", 0, wait)
    connection.execute("CREATE TABLE t (n)")
    connection.commit()
    return connection, runs, may_end


def closed_within(call: Callable[[Any], Any]) -> tuple[Any, list[Exception]]:
    """Close a connection that another thread is in a call of; return it, and how that call ended."""
    connection, runs, may_end = opened()
    errors: list[Exception] = []

    def run() -> None:
        try:
            call(connection)
        except Exception as error:  # noqa: BLE001 - whatever it is
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert runs.wait(10)
    connection.close()
    connection.close()
    may_end.set()
    thread.join()
    return connection, errors


def is_closed(connection: Any) -> bool:
    try:
        sqlite3.Connection.cursor(connection)
    except sqlite3.ProgrammingError:
        return True
    return False


def check(name: str) -> None:
    """Be run in a process of its own, which the fault would take with it."""
    connection, errors = closed_within(CALLS[name])
    assert is_closed(connection)
    (error,) = errors
    assert isinstance(error, sqlite3.ProgrammingError), repr(error)
    assert str(error) == "Cannot operate on a closed database."


@pytest.mark.parametrize("name", CALLS)
def test_whoever_runs_a_statement_has_an_error(name: str) -> None:
    done = subprocess.run(  # noqa: S603 - this file
        [sys.executable, "-c", f"from tests.engine.test_pysqlite import check; check({name!r})"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_backup_under_way() -> None:
    connection, runs, may_end = opened()
    connection.executemany("INSERT INTO t VALUES (?)", [("x" * 5000,)] * 10)
    connection.commit()
    other = sqlite3.connect(":memory:", check_same_thread=False)

    def progress(*_counts: int) -> None:
        runs.set()
        may_end.wait(10)

    backup = threading.Thread(target=lambda: connection.backup(other, pages=1, progress=progress))
    backup.start()
    assert runs.wait(10)
    connection.close()
    assert not is_closed(connection)
    may_end.set()
    backup.join()
    assert is_closed(connection)
    other.close()


def test_a_connection_that_belongs_to_another_thread() -> None:
    connection = sqlite3.connect(":memory:", factory=SQLiteConnection)
    errors: list[Exception] = []

    def close() -> None:
        try:
            connection.close()
        except sqlite3.ProgrammingError as error:
            errors.append(error)

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert connection.execute("SELECT 1").fetchall() == [(1,)]
    connection.close()


def test_what_is_not_interrupted_by_a_close() -> None:
    connection, *_ = opened()
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        connection.execute("SELECT * FROM missing")
    with connection:
        connection.execute("INSERT INTO t VALUES (1)")
    assert connection.execute("SELECT n FROM t").fetchmany() == [(1,)]
    assert isinstance(connection.cursor(sqlite3.Cursor), sqlite3.Cursor)
    connection.close()


def test_the_connections_of_a_database(tmp_path: Path) -> None:
    db = Database(f"sqlite+pysqlite:///{tmp_path}/test.db")
    with db.engine.connect() as connection:
        assert isinstance(connection.connection.driver_connection, SQLiteConnection)
    db.dispose()
