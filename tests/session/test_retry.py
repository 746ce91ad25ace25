"""What may be run again, how often, and after how long; no database needed."""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as SATimeoutError

from querywright import CommitOutcomeUnknown, TransactionLost
from querywright.session.units.retry import Attempts, Cause, RetryBudget, RetryPolicy, cause_of

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


class DriverError(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        self.sqlstate = sqlstate


def failed(sqlstate: str | None, *, lost: bool = False, kind: Any = DBAPIError) -> DBAPIError:
    error: DBAPIError = kind("SELECT 1", None, DriverError(sqlstate))
    error.connection_invalidated = lost
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (failed("40001"), Cause.CONFLICT),
        (failed("40P01"), Cause.CONFLICT),
        (failed("40001", lost=True), Cause.CONFLICT),
        (failed("08003", lost=True), Cause.CONNECTION),
        (failed("57P01", lost=True), Cause.CONNECTION),
        (failed(None, lost=True), Cause.CONNECTION),
        (failed("57P03"), Cause.CONNECTION),
        (failed("53300"), Cause.CONNECTION),
        (failed("08001"), Cause.CONNECTION),
        (OperationalError(None, None, DriverError(None)), Cause.ABSENT),
        (failed("0A000"), Cause.OUTDATED),
        (failed("26000"), Cause.OUTDATED),
        (failed("25006"), Cause.DEMOTED),
        (TransactionLost("void", sqlstate="40001"), Cause.CONFLICT),
        (OperationalError("BEGIN", None, sqlite3.OperationalError("disk I/O error")), None),
        (TransactionLost("ignored"), None),
        (CommitOutcomeUnknown(), None),
        (failed("57014"), None),
        (failed("25P02"), None),
        (failed("25P03", lost=True), None),
        (failed("25P04", lost=True), None),
        (failed("40003"), None),
        (failed("08007"), None),
        (failed("55P03"), None),
        (failed("23505", kind=IntegrityError), None),
        (failed("28P01"), None),
        (failed("42P01"), None),
        (failed("53100"), None),
        (failed("XX000"), None),
        (SATimeoutError(), None),
        (OSError(), None),
        (ValueError(), None),
    ],
    ids=lambda value: getattr(getattr(value, "orig", None), "sqlstate", None) or str(type(value).__name__),
)
def test_what_may_be_run_again(error: Exception, cause: Cause | None) -> None:
    assert cause_of(error) is cause


@pytest.mark.parametrize(
    ("errors", "cause"),
    [
        ([failed("40001")], Cause.CONFLICT),
        ([failed("40P01"), failed("25P02"), failed("25P02")], Cause.CONFLICT),
        ([failed("08003", lost=True), failed("40001")], Cause.CONNECTION),
        ([failed("40001"), ValueError()], None),
        ([failed("25P02")], None),
        ([failed("40001"), CommitOutcomeUnknown()], None),
    ],
    ids=str,
)
def test_several_errors_at_once(errors: list[Exception], cause: Cause | None) -> None:
    assert cause_of(ExceptionGroup("one", errors)) is cause
    assert cause_of(ExceptionGroup("all", [ExceptionGroup("one", errors), failed("25P02")])) is cause


def test_a_writer_in_the_queue_of_sqlite_may_try_again() -> None:
    locked = sqlite3.OperationalError("database is locked")
    assert cause_of(OperationalError("BEGIN IMMEDIATE", None, locked)) is Cause.CONFLICT
    assert cause_of(OperationalError("SELECT 1", None, locked)) is None


def test_what_is_opted_into() -> None:
    assert cause_of(failed("55P03"), {"55P03"}) is Cause.CONFLICT
    assert cause_of(failed("23505", kind=IntegrityError), {"23505"}) is Cause.CONFLICT
    # A timeout is the caller's own wish, whatever else it asks for.
    assert cause_of(failed("57014"), {"57014"}) is None
    assert cause_of(CommitOutcomeUnknown(), keyed=True) is Cause.UNKNOWN


def attempts(policy: RetryPolicy, *, budget: RetryBudget | None = None, now: list[float] | None = None) -> Attempts:
    times = now or [0.0]
    return Attempts(policy, budget or RetryBudget(), clock=lambda: times[0], uniform=lambda _low, high: high)


def test_pauses_grow_up_to_a_cap() -> None:
    runs = attempts(RetryPolicy(attempts=9, deadline=100))
    pauses = [runs.pause_after(failed("40001")) for _ in range(9)]
    assert pauses == [0.015, 0.03, 0.06, 0.12, 0.24, 0.48, 0.96, 1.0, None]


def test_a_connection_that_may_have_been_idle_for_too_long_is_no_reason() -> None:
    """The server ends it, and asyncpg and psycopg2 tell of a lost connection alone."""
    now = [0.0]
    runs = attempts(RetryPolicy(deadline=100, idle=3.0), now=now)
    now[0] = 2.9
    pause = runs.pause_after(failed("08006", lost=True))
    assert pause is not None
    now[0] += pause + 2.9
    assert runs.pause_after(failed("40001")) is not None
    now[0] += 4
    assert runs.pause_after(failed("40001")) is not None
    now[0] += 4
    assert runs.pause_after(failed("08006", lost=True)) is None


def test_no_attempt_begins_after_the_deadline() -> None:
    now = [0.0]
    runs = attempts(RetryPolicy(deadline=1.0), now=now)
    assert runs.pause_after(failed("40001")) is not None
    now[0] = 0.99
    assert runs.pause_after(failed("40001")) is None


def test_once_only_after_a_change_of_the_primary() -> None:
    runs = attempts(RetryPolicy())
    assert runs.pause_after(failed("0A000")) is not None
    assert runs.pause_after(failed("25006")) is not None
    assert runs.pause_after(failed("0A000")) is not None
    assert runs.pause_after(failed("25006")) is None


def test_lost_connections_use_up_a_budget_and_conflicts_do_not() -> None:
    budget = RetryBudget(ratio=0.5, most=2)
    down = failed(None, lost=True)
    assert [attempts(RetryPolicy(), budget=budget).pause_after(down) is not None for _ in range(6)] == [
        True, True, True, False, True, False,
    ]  # fmt: skip
    absent = OperationalError(None, None, DriverError(None))
    assert attempts(RetryPolicy(), budget=budget).pause_after(absent) is not None
    assert attempts(RetryPolicy(), budget=budget).pause_after(failed("40001")) is not None


@given(st.integers(1, 20), st.floats(0.01, 60), st.randoms(use_true_random=False))
def test_attempts_and_deadline_hold_whatever_happens(most: int, deadline: float, random: Any) -> None:
    now = [0.0]
    runs = Attempts(RetryPolicy(most, deadline), RetryBudget(), clock=lambda: now[0], uniform=random.uniform)
    begun = 1
    while True:
        now[0] += random.random()
        pause = runs.pause_after(failed(random.choice(["40001", "08006", "0A000"]), lost=True))
        if pause is None:
            break
        now[0] += pause
        begun += 1
        assert now[0] <= deadline
    assert begun <= most
