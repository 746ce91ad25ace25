from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import Dialect, String, literal, select
from sqlalchemy.exc import DataError, DBAPIError, StatementError
from sqlalchemy.types import TypeDecorator
from typing_extensions import override

from querywright import Database, DatabaseError, InvalidValue
from querywright.engine import classify
from querywright.engine.databases.mysql import mysql_sqlstate
from querywright.engine.databases.values import column_of


class Aware(TypeDecorator[Any]):
    """As SQLAlchemy's documentation has one, and with a fault."""

    impl = String
    cache_ok = True

    @override
    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value.tzinfo is None:
            raise TypeError("tzinfo is required")
        return self._written(value)

    def _written(self, value: Any) -> Any:
        return value + 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dt.datetime.fromisoformat("2024-01-01"), InvalidValue),
        (dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc), DatabaseError),
        ("2024-01-01", DatabaseError),
    ],
    ids=["refused by the type", "a fault in the type", "of another kind"],
)
def test_what_a_type_refuses_with_a_type_error(value: Any, expected: type[DatabaseError]) -> None:
    db = Database("sqlite+pysqlite:///:memory:")
    with pytest.raises(StatementError) as caught, db.transaction() as tx:
        tx.execute(select(literal(value, Aware())))
    db.dispose()
    assert type(classify(caught.value)) is expected


class MySQLError(Exception):
    """Its number and its words."""


@pytest.mark.parametrize(
    ("words", "column"),
    [
        ("Data too long for column 'name' at row 1", "name"),
        ("Incorrect integer value: 'column 'x' at row 1' for column `app`.`tags`.`id` at row 12", "id"),
        ("Field 'name' doesn't have a default value", "name"),
        ("Column 'name' cannot be null", "name"),
        ("Incorrect datetime value: 'for column 'name' at row 1'", None),
        ("Unknown column 'name' in 'WHERE'", None),
    ],
)
def test_the_column_that_a_server_names(words: str, column: str | None) -> None:
    assert column_of(MySQLError(1366, words)) == column


# Class 22 as https://www.postgresql.org/docs/18/errcodes-appendix.html has it.
SENT = [
    "22000", "2202E", "22021", "22008", "2200C", "22025", "22024", "22015", "22006", "22018", "22007", "2200D",
    "22009", "2201B", "2201W", "2201X", "2201G", "22014", "22016", "22013", "2202H", "2202G", "22023", "22004",
    "22003", "22026", "22001", "2200F", "22P02", "22P03", "22P04", "22P05", "2200L", "2200M", "2200N", "2200S",
    "2200T", "22030", "22032", "22037", "2203D", "2203E",
]  # fmt: skip
COMPUTED = [
    "22012", "2201E", "2201F", "22P01", "22011", "22027", "2200H",
]  # fmt: skip
FOUND = [
    "22031", "22033", "22034", "22035", "22036", "22038", "22039", "2203A", "2203B", "2203C", "2203F", "2203G",
]  # fmt: skip
WRITTEN = [
    "22002", "22005", "22010", "22019", "2200B", "2200G", "22022", "22P06",
]  # fmt: skip


class ServerError(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__("its words")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("states", "expected"),
    [(SENT, InvalidValue), (COMPUTED, DatabaseError), (FOUND, DatabaseError), (WRITTEN, DatabaseError)],
)
def test_whose_fault_the_codes_of_data_are(states: list[str], expected: type[DatabaseError]) -> None:
    # As SQLAlchemy's dialects have it: DataError for psycopg, DBAPIError for asyncpg.
    for kind in (DataError, DBAPIError):
        known = {state: type(classify(kind("SELECT", {}, ServerError(state)))) for state in states}
        assert known == dict.fromkeys(states, expected)


@pytest.mark.parametrize(
    ("number", "words", "state"),
    [
        (1064, "You have an error in your SQL syntax; check the manual [...] near '-1' at line 3", "2201W"),
        (1064, "You have an error in your SQL syntax; check the manual [...] near '-1, 3' at line 3", "2201W"),
        (1064, f"You have an error in your SQL syntax; check the manual [...] near '{10**79}' at line 3", "2201W"),
        (1064, f"You have an error in your SQL syntax; check the manual [...] near '{2**64}' at line 1", "2201W"),
        (1064, "You have an error in your SQL syntax; check the manual [...] near '5' at line 1", None),
        (1064, "You have an error in your SQL syntax; check the manual [...] near 'FORM t' at line 1", None),
        (1064, "You have an error in your SQL syntax; check the manual [...] near ''-1'' at line 1", None),
        (1064, "syntax error, unexpected $end, expecting FTS_TERM or FTS_NUMB or '*'", "2201B"),
        (1365, "Division by 0", "22012"),
        (1298, "Unknown or incorrect time zone: 'Mars'", "22023"),
        ([1064], "", None),
    ],
)
def test_the_codes_of_mysql(number: Any, words: str, state: str | None) -> None:
    assert mysql_sqlstate((number, words)) == state
