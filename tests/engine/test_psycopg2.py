"""All ways to send a value with psycopg2 refuse the same ones, and all its calls end when the server is silent."""

from __future__ import annotations

import datetime as dt
import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import StatementError

from querywright import Database, InvalidValue
from querywright.engine import classify
from querywright.engine.limits import Limits
from querywright.testing import EmbeddedPostgres

psycopg2 = pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
extras = pytest.importorskip("psycopg2.extras", reason="psycopg2 is not installed")

EAST = dt.timezone(dt.timedelta(hours=14))
SHORT = Limits(connect=0.3, statement=0.3)
# Seconds, in which a call has to end.
PATIENCE = 10.0


@pytest.fixture
def db(postgres: EmbeddedPostgres) -> Iterator[Database]:
    with Database(postgres.url("psycopg2")) as opened:
        yield opened


@pytest.fixture
def driver(db: Database) -> Iterator[Any]:
    """A connection with an empty table that is not there for others, in a transaction."""
    with db.engine.connect() as connection:
        lent: Any = connection.connection.driver_connection
        cursor = lent.cursor()
        cursor.execute("CREATE TEMPORARY TABLE things (id bigint, n numeric, at timestamptz, name text)")
        cursor.execute("CREATE FUNCTION pg_temp.keep(numeric) RETURNS numeric LANGUAGE sql AS 'SELECT $1'")
        lent.commit()
        yield lent
        connection.invalidate()


def execute(cursor: Any, column: str, value: Any) -> None:
    cursor.execute(f"INSERT INTO things ({column}) VALUES (%s)", (value,))


def executemany(cursor: Any, column: str, value: Any) -> None:
    cursor.executemany(f"INSERT INTO things ({column}) VALUES (%(v)s)", iter([{"v": None}, {"v": value}]))


def execute_batch(cursor: Any, column: str, value: Any) -> None:
    extras.execute_batch(cursor, f"INSERT INTO things ({column}) VALUES (%s)", [(None,), (value,)])


def execute_values(cursor: Any, column: str, value: Any) -> None:
    extras.execute_values(cursor, f"INSERT INTO things ({column}) VALUES %s", [(None,), (value,)])


def callproc(cursor: Any, _column: str, value: Any) -> None:
    cursor.callproc("pg_temp.keep", [value])


WAYS = [execute, executemany, execute_batch, execute_values, callproc]
VALUES = {
    "infinity": ("n", Decimal("-Infinity"), "DataError"),
    "moment": ("at", dt.datetime(1, 1, 1, tzinfo=EAST), "OverflowError"),
    "NUL": ("name", "a\0b", "DataError"),
    "surrogate": ("name", "a\ud800b", "UnicodeEncodeError"),
    "array": ("n", [Decimal("Infinity")], "DataError"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_is_refused(driver: Any, way: Callable[..., None], kind: str) -> None:
    column, value, expected = VALUES[kind]
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its class is looked at
        way(driver.cursor(), column, value)
    assert type(caught.value).__name__ == expected
    assert getattr(caught.value, "pgcode", None) is None


@pytest.mark.parametrize("many", [False, True])
def test_an_integer_that_is_too_large(driver: Any, *, many: bool) -> None:
    statement = "UPDATE things SET n = 1 WHERE id & %s = 1"
    with pytest.raises(psycopg2.DataError, match="an integer that no type of integers has"):
        driver.cursor().executemany(statement, [(1,), (2**70,)]) if many else driver.cursor().execute(
            statement, (2**70,)
        )


def test_several_changed_objects_are_refused(db: Database) -> None:
    with db.engine.connect() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE things (n numeric)"))
        with pytest.raises(Exception, match="an infinite decimal"):
            connection.execute(text("INSERT INTO things VALUES (:n)"), [{"n": Decimal("Infinity")}] * 2)


def rows(driver: Any, count: int = 3000) -> Any:
    """A server's cursor that has to ask for its next row."""
    cursor = driver.cursor("rows")
    cursor.itersize = 10
    cursor.execute("SELECT generate_series(1, %s)", (count,))
    for _ in range(10):
        next(cursor)
    return cursor


def in_two_phases(driver: Any) -> Any:
    driver.tpc_begin(driver.xid(1, "a", "b"))
    driver.cursor().execute("SELECT 1")
    return driver


def begun(driver: Any) -> Any:
    driver.cursor().execute("SELECT 1")
    return driver


def sets(_driver: Any) -> Iterator[tuple[int]]:
    return iter([(1,), (2,)])


# What is prepared, and the call that finds no answer.
CALLS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "execute": (begun, lambda it: it.cursor().execute("SELECT 1")),
    "executemany": (begun, lambda it: it.cursor().executemany("SELECT %s", [(1,), (2,)])),
    "callproc": (begun, lambda it: it.cursor().callproc("pg_backend_pid")),
    "copy_expert": (begun, lambda it: it.cursor().copy_expert("COPY things TO STDOUT", io.StringIO())),
    "copy_to": (begun, lambda it: it.cursor().copy_to(io.BytesIO(), "things")),
    "copy_from": (begun, lambda it: it.cursor().copy_from(io.StringIO("1\n"), "things", columns=["id"])),
    "next": (rows, next),
    "fetchmany": (rows, lambda it: it.fetchmany(3000)),
    "scroll": (rows, lambda it: it.scroll(5)),
    "close of a server's cursor": (rows, lambda it: it.close()),
    "lobject": (begun, lambda it: it.lobject()),
    "large object": (lambda it: it.lobject(0, "wb"), lambda it: it.write(b"x")),
    "reset": (begun, lambda it: it.reset()),
    "commit": (begun, lambda it: it.commit()),
    "with": (begun, lambda it: it.__exit__(None, None, None)),
    "tpc_prepare": (in_two_phases, lambda it: it.tpc_prepare()),
    "tpc_commit": (in_two_phases, lambda it: it.tpc_commit()),
    "tpc_rollback": (in_two_phases, lambda it: it.tpc_rollback()),
    "tpc_recover": (lambda it: it, lambda it: it.tpc_recover()),
    "set_isolation_level": (begun, lambda it: it.set_isolation_level(3)),
    "set_client_encoding": (lambda it: it, lambda it: it.set_client_encoding("LATIN1")),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_without_an_answer_ends(driver: Any, name: str) -> None:
    prepare, call = CALLS[name]
    prepared, pid, ended = prepare(driver), driver.info.backend_pid, threading.Event()
    type(driver).limits = SHORT
    errors: list[Exception] = []

    def run() -> None:
        try:
            call(prepared)
        except psycopg2.Error as error:
            errors.append(error)
        ended.set()

    os.kill(pid, signal.SIGSTOP)
    try:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        in_time = ended.wait(PATIENCE)
    finally:
        os.kill(pid, signal.SIGCONT)
    thread.join()
    assert in_time
    assert len(errors) == 1
    assert driver.closed


class Slow(io.StringIO):
    """A file that takes longer to read, or to write, than the server may be silent."""

    def read(self, size: int | None = -1) -> str:
        time.sleep(SHORT.connect * 2)
        return super().read(size)

    def write(self, written: str) -> int:
        time.sleep(SHORT.connect * 2)
        return super().write(written)


def slowly() -> Iterator[tuple[int]]:
    for number in range(3):
        time.sleep(SHORT.connect / 2)
        yield (number,)


def test_the_time_that_the_application_takes_is_not_limited(driver: Any) -> None:
    type(driver).limits = SHORT
    cursor = driver.cursor()
    cursor.copy_expert("COPY things (id) FROM STDIN", Slow("1\n"))
    written = Slow()
    cursor.copy_to(written, "things", columns=["id"])
    assert written.getvalue() == "1\n"
    as_bytes = io.BytesIO()
    cursor.copy_to(as_bytes, "things", columns=["id"])
    assert as_bytes.getvalue() == b"1\n"
    cursor.executemany("INSERT INTO things (id) VALUES (%s)", slowly())
    cursor.executemany("SELECT pg_sleep(%s)", [(SHORT.connect / 2,)] * 3)
    cursor.execute("SELECT count(*) FROM things")
    assert cursor.fetchone() == (4,)


def test_the_limit_is_set_for_a_call_only(driver: Any) -> None:
    assert list(rows(driver, 15))[-1] == (15,)
    large = driver.lobject(0, "wb")
    large.write(b"abc")
    large.seek(0)
    assert large.read() == b"abc"
    driver.rollback()
    driver.autocommit = True
    assert driver.autocommit
    driver.autocommit = False
    assert driver.isolation_level is None
    assert driver.deadline == float("inf")


def test_a_zero_byte_is_a_value_for_an_engine_of_the_application_too(postgres: EmbeddedPostgres) -> None:
    engine = create_engine(postgres.url("psycopg2"))
    with Database(engine) as adopted, pytest.raises(StatementError) as caught, adopted.transaction() as tx:
        tx.execute(text("SELECT :value"), {"value": "a\0b"})
    engine.dispose()
    assert isinstance(classify(caught.value), InvalidValue)
