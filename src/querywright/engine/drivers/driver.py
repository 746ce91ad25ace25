"""What Querywright asks of a driver, with the answers of one that has no ways of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import Dialect, Engine

from querywright.engine.drivers.reading import WHOLE, Reader
from querywright.engine.limits import Limits
from querywright.engine.tls import Tls
from querywright.errors import ConfigurationError
from querywright.settings import DatabaseSettings

__all__ = ["Diagnostics", "Driver", "Join", "Rows", "State", "names_in", "unwrapped"]

# The rows of a result, each a sequence of its columns.
Rows = Sequence[Any]
# Makes one of two values of an argument, of which both count.
Join = Callable[[Any, Any], Any]
_LONGEST = 500


class State(NamedTuple):
    """What a driver itself says of its connection, without a round trip.

    A cancelled call can leave it in a transaction, in autocommit or read only, without SQLAlchemy's knowledge.

    Attributes:
        settings: Those for transactions to come, such as autocommit and the isolation level, and whether an answer is
            still to come.
        in_transaction: Whether one has begun.
    """

    settings: Hashable
    in_transaction: bool


@dataclass(frozen=True)
class Diagnostics:
    """What an operator may read of an error.

    Attributes:
        message: The server's primary message; our own where that could hold a value.
        sqlstate: The SQLSTATE, if there is one.
        code: What the database itself calls the error, if it does.
        table: Whose row was refused.
        column: Whose value was refused.
        constraint: What refused it.
    """

    message: str
    sqlstate: str | None = None
    code: str | None = None
    table: str | None = None
    column: str | None = None
    constraint: str | None = None

    def __str__(self) -> str:
        names = (("table", self.table), ("column", self.column), ("constraint", self.constraint))
        named = ", ".join(f"{kind} {name}" for kind, name in names if name)
        codes = ", ".join(filter(None, (self.code, self.sqlstate and f"SQLSTATE {self.sqlstate}")))
        message = f"{self.message.rstrip('.')}: {named}" if named else self.message
        return _in_one_line(f"{message} ({codes})" if codes else message)


def _in_one_line(text: str) -> str:
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:_LONGEST]


class Driver:
    """A driver, synchronous or asynchronous.

    Its methods are called in a greenlet of SQLAlchemy's. ``lent`` is what SQLAlchemy's pool lends: the driver's
    connection, or the adapter around an asynchronous one.

    Attributes:
        decided: The arguments for connecting that Querywright decides.
        joined: How two values of an argument are both read, by its name.
        readers: How those are read of a URL that are no texts, by their names, where no default of theirs tells.
        takes_straight: Whether `fetch` can be called.
        wraps_values: Whether what it raises for a value is an error of the DBAPI already.
        knows_more_tls: Whether it understands more parameters of TLS than `Tls` does.
    """

    decided: ClassVar[frozenset[str]] = frozenset()
    joined: ClassVar[Mapping[str, Join]] = {}
    readers: ClassVar[Mapping[str, Reader]] = {"connect_timeout": WHOLE}
    takes_straight: ClassVar[bool] = False
    wraps_values: ClassVar[bool] = False
    knows_more_tls: ClassVar[bool] = False

    def known_arguments(self) -> set[str]:
        """Name the arguments for connecting that the driver takes."""
        return set()

    def wanted(self, name: str, value: Any) -> str | None:
        """Return what an argument has to be, if the driver would refuse this value with its first connection."""
        return None

    def arguments(self, settings: DatabaseSettings, session: Mapping[str, Any]) -> dict[str, Any]:
        """Translate settings into arguments for connecting.

        Args:
            settings: The settings.
            session: What a session of the database begins with.
        """
        return dict(session)

    def tls_arguments(self, tls: Tls) -> dict[str, Any]:
        """Translate what applies of TLS into arguments; asked for each connection, as a certificate may be new."""
        return {}

    def opening(self, dialect: Dialect, limits: Limits, tls: Tls) -> Callable[..., Any]:
        """Return what opens connections whose calls all end; of an asynchronous driver a coroutine."""
        return dialect.connect

    def install(self, engine: Engine) -> None:
        """Listen to what the driver needs to have translated or set up."""

    def state(self, dialect: Dialect, lent: Any) -> State:
        """Return the state of a connection."""
        return State(None, in_transaction=False)

    def commits_each(self, lent: Any) -> bool:
        """Return whether each statement commits, or the driver leaves SQLAlchemy no part in its transactions."""
        return False

    def is_closed(self, lent: Any) -> bool:
        """Return whether a connection is known to be closed; needs no round trip."""
        return False

    def socket_of(self, lent: Any) -> int | None:
        """Return the number of its socket; ``None`` if it has none."""
        return None

    def cut(self, lent: Any) -> None:
        """Close the socket of a connection that someone else is waiting on."""

    def has_lost(self, lent: Any) -> bool:
        """Return whether there is nothing left for a COMMIT, and the driver would not tell; needs no round trip."""
        return False

    def ping(self, dialect: Dialect, lent: Any) -> None:
        """Have the server answer, or raise whatever is raised then."""
        dialect.do_ping(lent)

    def run_quickly(self, lent: Any, command: str) -> None:
        """Run commands that never take long, in one round trip, outside of a transaction, and within a limit."""
        raise NotImplementedError

    def begin(self, lent: Any) -> None:
        """Begin a transaction, where the driver would begin one with the next statement, but not of `fetch`."""

    def fetch(self, lent: Any, sql: str, parameters: Any) -> Rows:
        """Run a statement, and return all its rows."""
        raise NotImplementedError

    def fetch_alone(self, lent: Any, sql: str, parameters: Any) -> Rows:
        """Run a statement outside of a transaction, and return all its rows."""
        return self.fetch(lent, sql, parameters)

    def diagnose(self, error: Any, statement: str) -> Diagnostics:
        """Read of an error what may stand in a log.

        Args:
            error: The driver's own.
            statement: What was run.
        """
        return Diagnostics("")

    def require_transactions(self, lent: Any) -> None:
        """Refuse a connection on which there would be none.

        Raises:
            ConfigurationError: It is in autocommit.
        """
        if self.commits_each(lent):
            message = "The connection is in autocommit, so there would be no transaction."
            hint = "Make the engine without isolation_level='AUTOCOMMIT', and without the driver's argument autocommit."
            raise ConfigurationError(message, hint=hint)


def unwrapped(lent: Any) -> Any:
    """Look through SQLAlchemy's adapter of an asynchronous driver."""
    return getattr(lent, "driver_connection", lent)


def names_in(message: str, patterns: tuple[re.Pattern[str], ...]) -> dict[str, str | None]:
    """Find the names of `Diagnostics` in a message of an error.

    Args:
        message: The message.
        patterns: Each reaches to its end, behind any value that imitates it.
    """
    return next((found.groupdict() for each in patterns if (found := each.search(message))), {})
