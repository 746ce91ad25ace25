"""Which statements leave a mark on their session."""

from __future__ import annotations

import pytest

from querywright.engine.changes import changes_session

CHANGING = {
    "postgresql": [
        "SET search_path TO a",
        "set session statement_timeout = 0",
        "  -- why\n RESET ALL",
        "SELECT set_config('a.b', $1, false)",
        "SELECT set_config('a.b', $1, $2)",
        "SELECT pg_try_advisory_lock_shared(1)",
        "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
        "CREATE TABLE pg_temp.t (id int)",
        "SELECT 1 INTO TEMPORARY t",
        "PREPARE p AS SELECT 1",
        "CALL p()",
        "SELECT 1; SET a.b = 1",
        "SELECT set_config('a.b', 'c', true), set_config('d.e', 'f', false)",
    ],
    "sqlite": [
        "PRAGMA main.cache_size = 5",
        "pragma foreign_keys(0)",
        "DETACH other",
        "CREATE TEMP VIEW v AS SELECT 1",
    ],
    "mysql": ["SET SESSION sql_mode = ''", "SET LOCAL a = 1", "SET @a = 1", "USE other", "SELECT GET_LOCK('a', 1)"],
}
HARMLESS = {
    "postgresql": [
        "SET LOCAL search_path TO a",
        "SET TRANSACTION READ ONLY",
        "SET CONSTRAINTS ALL DEFERRED",
        "SELECT set_config('a.b', 'c', true), set_config('d.e', $1, true)",
        "SELECT pg_advisory_xact_lock(1)",
        "UPDATE t SET a = 1",
        "INSERT INTO settings VALUES (1)",
        "INSERT INTO t SELECT * FROM temperatures",
        "PREPARE TRANSACTION 'a'",
        "DECLARE c CURSOR FOR SELECT 1",
        "SAVEPOINT a",
        "SHOW search_path",
    ],
    "sqlite": [
        "PRAGMA foreign_keys",
        'PRAGMA main.table_xinfo("t")',
        "PRAGMA quick_check(1)",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA query_only(1)",
        "CREATE TABLE template (id int)",
        "BEGIN IMMEDIATE",
    ],
    "mysql": ["SET TRANSACTION READ ONLY", "UPDATE t SET a = 1", "SELECT * FROM users", "START TRANSACTION READ ONLY"],
}


def cases(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(dialect, sql) for dialect, statements in table.items() for sql in statements]


@pytest.mark.parametrize(("dialect", "sql"), cases(CHANGING))
def test_what_changes_a_session(dialect: str, sql: str) -> None:
    assert changes_session(dialect, sql)
    assert changes_session(dialect, sql + " " * 5000)


@pytest.mark.parametrize(("dialect", "sql"), cases(HARMLESS))
def test_what_leaves_no_mark(dialect: str, sql: str) -> None:
    assert not changes_session(dialect, sql)
