"""What a log may say of an error: the server's words, but no value, whatever imitates them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pymysql
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError, StatementError

from querywright import CommitOutcomeUnknown
from querywright.engine.diagnostics import diagnose
from querywright.engine.reports import report_of

VALUE = "hunter2"
IMITATION = f"{VALUE}' for key 'fake' for column `a`.`b`.`fake` at row 1"


def mysql(number: int, message: str, kind: type[DBAPIError] = OperationalError) -> DBAPIError:
    return kind("SELECT", {}, pymysql.err.OperationalError(number, message))


@pytest.mark.parametrize(
    ("number", "message", "told"),
    [
        (1146, "Table 'app.nowhere' doesn't exist", "Table 'app.nowhere' doesn't exist (error 1146)"),
        (1411, f"Incorrect datetime value: '{VALUE}' for function str_to_date",
         "A value does not fit its column. (error 1411, SQLSTATE 22007)"),
        (1064, f"use near '{IMITATION}' at line 1", "use near '...' at line 1 (error 1064)"),
        (1062, f"Duplicate entry '{IMITATION}' for key 'tags.name'",
         "A row with the same unique value already exists: table tags, constraint name (error 1062, SQLSTATE 23505)"),
        (1062, f"Duplicate entry '{IMITATION}' for ke",
         "A row with the same unique value already exists. (error 1062, SQLSTATE 23505)"),
        (1366, f"Incorrect integer value: '{IMITATION}' for column `a`.`tags`.`id` at row 1",
         "A value does not fit its column: table tags, column id (error 1366, SQLSTATE 22000)"),
        (1366, f"Incorrect integer value: '{IMITATION}' for column 'id' at row 1",
         "A value does not fit its column: column id (error 1366, SQLSTATE 22000)"),
        (3819, "Check constraint 'positive' is violated.",
         "A value breaks a rule of the table: constraint positive (error 3819, SQLSTATE 23514)"),
    ],
)  # fmt: skip
def test_messages_of_mysql(number: int, message: str, told: str) -> None:
    assert str(diagnose(mysql(number, message))) == told


@pytest.fixture
def sqlite() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript("""
            CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b TEXT, data BLOB);
            CREATE UNIQUE INDEX both ON t (a, b);
            CREATE UNIQUE INDEX lowered ON t (lower(b));
            CREATE TRIGGER forbid BEFORE DELETE ON t BEGIN SELECT RAISE(ABORT, 'hunter2'); END;
            INSERT INTO t VALUES (1, 'x', 'hunter2', CAST(x'ff68756e74657232' AS TEXT));
        """)
        yield connection


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("SELECT ? FROM nowhere", "no such table: nowhere"),
        ("SELECT absent, ? FROM t", "no such column: absent"),
        ("SELECT data, ? FROM t", "The database reported an error."),
        ("SELECT json_extract('{}', ?)", "A value does not fit its column."),
        ("DELETE FROM t WHERE ? = 'hunter2'", "The database reported an error."),
        ("INSERT INTO t (a, b) VALUES ('y', ?)",
         "A row with the same unique value already exists: constraint index 'lowered'"),
        ("INSERT INTO t (id, b) VALUES (1, ? || 'x')",
         "A row with the same unique value already exists: table t, column id"),
    ],
)  # fmt: skip
def test_messages_of_sqlite(sqlite: sqlite3.Connection, statement: str, told: str) -> None:
    with pytest.raises(sqlite3.Error) as caught:
        sqlite.execute(statement, (VALUE,)).fetchall()
    kind = IntegrityError if isinstance(caught.value, sqlite3.IntegrityError) else OperationalError
    report = str(diagnose(kind(statement, (VALUE,), caught.value)))
    assert report.partition(" (")[0] == told
    assert VALUE not in report


def test_a_word_that_is_searched_for_is_no_column(sqlite: sqlite3.Connection) -> None:
    sqlite.execute("CREATE VIRTUAL TABLE texts USING fts5(body)")
    with pytest.raises(sqlite3.OperationalError, match=f"no such column: {VALUE}") as caught:
        sqlite.execute("SELECT * FROM texts WHERE texts MATCH ?", (f"{VALUE}:x",)).fetchall()
    statement = "SELECT * FROM texts WHERE texts MATCH ?"
    assert VALUE not in report_of(OperationalError(statement, (), caught.value))


def test_a_message_is_one_line_without_control_characters() -> None:
    error = OperationalError(None, None, Exception("first\n\x1b[31msecond\r\n third" + "x" * 1000))
    assert str(diagnose(error)).startswith("first [31msecond third")
    assert len(str(diagnose(error))) == 500


def test_errors_of_which_nothing_is_known_are_named() -> None:
    assert report_of(ValueError(VALUE)) == "ValueError"
    assert report_of(StatementError(VALUE, "SELECT 1", {}, ValueError(VALUE))) == (
        "StatementError: ValueError before the statement was sent"
    )
    assert report_of(ProgrammingError("SELECT", {}, Exception(VALUE))) == (
        "ProgrammingError: The database reported an error."
    )


def test_an_error_of_ours_names_what_has_caused_it() -> None:
    error = CommitOutcomeUnknown()
    error.__cause__ = mysql(2013, "Lost connection to MySQL server during query")
    assert report_of(error).endswith(
        "Cause: OperationalError: Lost connection to MySQL server during query (error 2013, SQLSTATE 08006)"
    )
