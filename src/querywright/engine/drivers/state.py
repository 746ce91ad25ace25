"""What a driver itself says of its connection, without a round trip: which settings it has, whether it has begun."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Dialect

from querywright.errors import ConfigurationError

__all__ = ["State", "require_transactions", "state_of"]


class State(NamedTuple):
    """The state of a connection.

    A cancelled call can leave it in a transaction, in autocommit or read only, without SQLAlchemy's knowledge.

    Attributes:
        settings: Those for transactions to come, such as autocommit and the isolation level, and whether an answer is
            still to come.
        in_transaction: Whether one has begun.
    """

    settings: Hashable
    in_transaction: bool


def state_of(dialect: Dialect, lent: Any) -> State:
    """Ask the driver.

    Args:
        dialect: The dialect of the connection.
        lent: What SQLAlchemy's pool lends: the driver's connection, or the adapter around an asynchronous one.
    """
    return _STATE_OF[dialect.driver](dialect, lent, getattr(lent, "driver_connection", lent))


def require_transactions(dialect: Dialect, lent: Any) -> None:
    """Refuse a driver that commits each statement, or begins and commits in a way that leaves SQLAlchemy no part in it.

    Args:
        dialect: The dialect of the connection.
        lent: As above.

    Raises:
        ConfigurationError: It does.
    """
    if _COMMITS[dialect.driver](lent, getattr(lent, "driver_connection", lent)):
        message = "The connection is in autocommit, so there would be no transaction."
        hint = "Make the engine without isolation_level='AUTOCOMMIT', and without the driver's argument autocommit."
        raise ConfigurationError(message, hint=hint)


def _asyncpg(dialect: Dialect, lent: Any, driver: Any) -> State:
    # asyncpg has no settings for transactions to come; SQLAlchemy's adapter has.
    level = _spelled(lent.isolation_level)
    # After a BEGIN that was cancelled, asyncpg takes it for done, and would make a savepoint of the next one.
    begun = driver.is_in_transaction() or driver._top_xact is not None  # noqa: SLF001 - nothing public
    return State((_level(dialect, level), lent.readonly, lent.deferrable), bool(begun))


@cache
def _spelled(level: Any) -> str:
    return str(level).upper().replace("_", " ")


# libpq's PQTRANS_ACTIVE and those after it.
_ACTIVE, _INTRANS, _INERROR = 1, 2, 3


def _psycopg(dialect: Dialect, _lent: Any, driver: Any) -> State:
    level = driver.isolation_level.name.replace("_", " ") if driver.isolation_level else None
    settings = (driver.autocommit, _level(dialect, level), bool(driver.read_only), bool(driver.deferrable))
    status = driver.pgconn.transaction_status
    return State((*settings, status == _ACTIVE), status in {_INTRANS, _INERROR})


def _level(dialect: Dialect, level: str | None) -> str | None:
    """Return a level that is not the default: SQLAlchemy sets that where none was set."""
    default: str | None = getattr(dialect, "default_isolation_level", None)
    return None if level in {None, "NONE", default} else level


def _sqlite(_dialect: Dialect, _lent: Any, driver: Any) -> State:
    return State(driver.isolation_level, bool(driver.in_transaction))


# What the server says of itself with each answer
# (https://dev.mysql.com/doc/dev/mysql-server/latest/mysql__com_8h.html#SERVER_STATUS_flags_enum).
_IN_TRANSACTION, _AUTOCOMMIT, _NO_BACKSLASH_ESCAPES, _IN_READ_ONLY = 0x1, 0x2, 0x200, 0x2000


def _mysql(_dialect: Dialect, _lent: Any, driver: Any) -> State:
    status: int = driver.server_status
    return State(status & (_AUTOCOMMIT | _NO_BACKSLASH_ESCAPES), bool(status & (_IN_TRANSACTION | _IN_READ_ONLY)))


def _sqlite_has_control(_lent: Any, driver: Any) -> bool:
    # Where COMMIT does nothing, or a transaction is always open: sqlite3's attribute autocommit of Python 3.12.
    legacy = getattr(sqlite3, "LEGACY_TRANSACTION_CONTROL", None)
    return getattr(getattr(driver, "_conn", driver), "autocommit", legacy) != legacy


_COMMITS: dict[str, Callable[[Any, Any], bool]] = {
    "asyncpg": lambda lent, _: str(lent.isolation_level).lower() == "autocommit",
    "psycopg": lambda _, driver: bool(driver.autocommit),
    "pysqlite": _sqlite_has_control,
    "aiosqlite": _sqlite_has_control,
    "pymysql": lambda _, driver: bool(driver.server_status & _AUTOCOMMIT),
    "aiomysql": lambda _, driver: bool(driver.server_status & _AUTOCOMMIT),
}
_STATE_OF: dict[str, Callable[[Dialect, Any, Any], State]] = {
    "asyncpg": _asyncpg,
    "psycopg": _psycopg,
    "pysqlite": _sqlite,
    "aiosqlite": _sqlite,
    "pymysql": _mysql,
    "aiomysql": _mysql,
}
