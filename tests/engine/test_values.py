from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import Dialect, String, literal, select
from sqlalchemy.exc import StatementError
from sqlalchemy.types import TypeDecorator
from typing_extensions import override

from querywright import Database, DatabaseError, InvalidValue
from querywright.engine import classify
from querywright.engine.values import column_of


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
