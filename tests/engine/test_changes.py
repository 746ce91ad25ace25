"""Which statements leave a mark on their session."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from querywright.engine.changes import Traces, changes_session, traces_of

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
        "SELECT 1 INTO\n\tTEMP t",
        "PREPARE p AS SELECT 1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "CALL p()",
        "SELECT 1; SET a.b = 1",
        "SELECT set_config('a.b', 'c', true), set_config('d.e', 'f', false)",
        "/* tenant=7; user=3 */ SET search_path TO tenant_7",
        "/* a /* nested; */ b */ SET search_path TO x",
        "-- trace; x\nSET statement_timeout TO 0",
        "SELECT set_config('search_path', 'a, true)', false)",
        "SELECT set_config('search_path', 'x', 'f')",
        "SELECT pg_catalog . set_config('search_path', 'x', false)",
        "SELECT \"set_config\"('search_path', 'x', false)",
        "SELECT U&\"set\\005fconfig\"('search_path', 'x', false)",
        "WITH s AS (SELECT 1) SELECT set_config('role', 'x', false) FROM s",
        "UPDATE pg_settings SET setting = 'x' WHERE name = 'search_path'",
        "UPDATE pg_catalog.\"pg_settings\" SET setting = 'x'",
        "EXPLAIN ANALYZE CREATE TEMP TABLE q AS SELECT 1",
        "(SELECT 1 INTO TEMP q)",
        "\ufeffSET search_path TO x",
        "\x0bSET search_path TO x",
        ";SET search_path TO x",
        "ABORT; SET search_path TO x",
        "SELECT $a$ ; $a$; SET search_path TO x",
        "SELECT E'\\''; SET search_path TO x; --'",
        "SELECT '\\'; SET search_path TO x; --'",
        "DO $$ BEGIN PERFORM 1; END $$",
        "EXECUTE p",
        "DISCARD ALL",
        "SELECT dblink('a')",
        "something new",
    ],
    "sqlite": [
        "PRAGMA main.cache_size = 5",
        "pragma foreign_keys(0)",
        "DETACH other",
        "/* ; */ ATTACH 'a' AS b",
        "SELECT [a;b]; PRAGMA foreign_keys = 0",
        'CREATE VIEW "temp".v AS SELECT 1',
        "CREATE TEMP VIEW v AS SELECT 1",
    ],
    "mysql": [
        "SET SESSION sql_mode = ''",
        "SET LOCAL a = 1",
        "SET @a = 1",
        "USE other",
        "SELECT GET_LOCK('a', 1)",
        "/*! SET sql_mode = '' */",
        "/*M!100100 SET @a = 1 */",
        "SET STATEMENT a=1 FOR SET @b = 1",
        "SELECT '\\''; # '\nSET @a = 1",
        "SELECT 1 INTO @a",
        "SELECT 1 INTO # the name\n@a",
        "SELECT @a := 1",
        "CREATE TEMPORARY TABLE t (id int)",
        "CALL p()",
    ],
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
        "SELECT 'SET a TO b; RESET ALL'",
        "SELECT $a$; SET role TO x$a$",
        'SELECT "; SET role" FROM t',
        "SELECT 1 -- ; SET role TO x",
        "SELECT temp, temporary FROM sensors WHERE into_temp = $1 AND a = $2",
        "ALTER TABLE x SET SCHEMA y",
        "NOTIFY x",
        "SELECT set_config('a.b', f('c, false)', 1), true)",
        "(SELECT 1) UNION (SELECT 2)",
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
    "mysql": [
        "SET TRANSACTION READ ONLY",
        "UPDATE t SET a = 1",
        "SELECT * FROM users",
        "START TRANSACTION READ ONLY",
        "/*M! SET STATEMENT group_concat_max_len=1 FOR */ SELECT /*+ SET_VAR(a=1) */ a FROM t",
        "SELECT /*!80000 a, */ b FROM t",
    ],
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


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite", "mysql"])
def test_what_ends_a_transaction(dialect: str) -> None:
    for sql in ("COMMIT", "rollback", "/* ; */ COMMIT", "SELECT 1; ROLLBACK", "BEGIN", "START TRANSACTION"):
        assert traces_of(dialect, sql).ended == re.sub(r"/\*.*?\*/|SELECT 1;", "", sql).split()[0].lower()
    for sql in ("SAVEPOINT a", "ROLLBACK TO SAVEPOINT a", "ROLLBACK TO a", "RELEASE a", "SELECT 'COMMIT'", "SELECT 1"):
        assert traces_of(dialect, sql).ended == ""


def test_what_is_known_to_outlast_a_transaction() -> None:
    for sql in (
        "SET a.b TO 1",
        "LISTEN x",
        "SELECT pg_advisory_lock(1)",
        "CREATE TEMP TABLE t (i int)",
        "PREPARE a AS SELECT 1",
    ):
        assert traces_of("postgresql", sql).outlasts
    for sql in ("SET LOCAL a.b TO 1", "DO $$ BEGIN END $$", "CALL f()", "SELECT pg_advisory_xact_lock(1)", "SELECT 1"):
        assert not traces_of("postgresql", sql).outlasts
    assert not traces_of("postgresql", "CREATE TEMP TABLE t (i int) ON COMMIT DROP").outlasts
    assert not traces_of("sqlite", "PRAGMA temp_store = 2").outlasts


@pytest.mark.parametrize("dialect", ["mysql", "mariadb"])
def test_what_commits_without_saying_so(dialect: str) -> None:
    for sql in (
        "SET autocommit=1",
        "set @@session.AUTOCOMMIT = 0",
        "SET sql_mode = '', `autocommit` = 1",
        "/* x */ SET SESSION autocommit = ON",
        "LOCK TABLES a WRITE",
        "UNLOCK TABLES",
    ):
        assert traces_of(dialect, sql).ended
    for sql in ("SET sql_mode = 'autocommit'", "SELECT @@autocommit", "UPDATE t SET autocommit = 1"):
        assert traces_of(dialect, sql).ended == ""


def test_long_statements_are_not_taken_apart() -> None:
    """An INSERT of many rows is sent as often as there are batches of them."""
    values = ", ".join(["(%(a)s, %(b)s)"] * 10_000)
    assert traces_of("postgresql", f"INSERT INTO t (a, b) VALUES {values}") == Traces(changed=False)
    assert traces_of("postgresql", f"INSERT INTO t (a, b) VALUES {values}; SET role TO x") == Traces(
        changed=True, outlasts=True
    )


def test_what_cannot_be_read_may_change_anything() -> None:
    for sql in ("SELECT 'not ended", 'SELECT "not ended', "SELECT 1 /* not ended"):
        assert traces_of("postgresql", sql).changed


@given(st.text())
def test_any_text_is_read(sql: str) -> None:
    for dialect in ("postgresql", "sqlite", "mysql"):
        traces_of(dialect, sql)
        assert traces_of(dialect, f"SELECT '{sql.replace(chr(39), '').replace(chr(92), '')}'") == Traces(changed=False)
