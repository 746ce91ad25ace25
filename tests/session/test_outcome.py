"""Which errors of a COMMIT are an answer of the database, and which leave it open; no database needed."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from querywright import TransactionLost
from querywright.session.transactions.outcome import is_answer
from tests.session.test_retry import failed


@pytest.mark.parametrize(
    ("error", "answered"),
    [
        (failed("40001"), True),
        # Galera refuses a COMMIT with error 1213, after which the connection is given up.
        (failed("40001", lost=True), True),
        (failed("40P01"), True),
        (failed("23505", kind=IntegrityError), True),
        (failed("25P02"), True),
        (failed("53100"), True),
        (failed("40003"), False),
        (failed("08007"), False),
        (failed("08006"), False),
        (failed("57P01"), False),
        (failed("57P01", lost=True), False),
        (failed(None, lost=True), False),
        (failed(None), False),
        (TimeoutError(), False),
        (ConnectionResetError(), False),
        (TransactionLost("nothing to commit"), True),
    ],
    ids=str,
)
def test_postgresql(error: Exception, *, answered: bool) -> None:
    assert is_answer(error, "postgresql") is answered


def test_sqlite_always_answers() -> None:
    for message in ("disk I/O error", "cannot commit transaction - SQL statements in progress"):
        error: DBAPIError = OperationalError("COMMIT", None, sqlite3.OperationalError(message))
        assert is_answer(error, "sqlite")
