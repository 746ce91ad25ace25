"""The record of a database: everything in which one differs from another, but for the JSON that it writes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import URL, Connection, Engine, Insert, Table, insert

from querywright.engine.databases.traces import Rules
from querywright.errors import ConfigurationError
from querywright.settings import DatabaseSettings

__all__ = ["BEGUN", "Backend", "Lift"]

Options = Mapping[str, Any]
# Takes back a limit when its transaction has ended.
Lift = Callable[[], None]
# In the info of a connection: whether its transaction has begun; None where there is to be none.
BEGUN = "querywright_begun"


def _nothing(_: Any) -> None:
    """Do nothing."""


def _nothing_for_others(_engine: Engine, *, others: bool) -> None:
    """Do nothing."""


def _empty(_settings: DatabaseSettings, _url: URL) -> dict[str, Any]:
    return {}


def _is_on_disk(_url: URL) -> bool:
    return False


@dataclass(frozen=True)
class Backend:
    """A database, by the name that SQLAlchemy has for its dialect.

    Attributes:
        name: The name.
        rules: What its statements leave behind; ``None`` if nobody knows.
        is_local: Whether it is a library in this process: with no server, no network, and an answer to every COMMIT.
        is_in_memory: Whether a URL leads to a database that is gone with its engine.
        takes_pooler: Whether PgBouncer may stand before it.
        has_standbys: Whether a server of it may be a standby, and tells how far it has come.
        has_transaction_status: Whether it can be asked what became of a transaction.
        reads_one_result: Whether a connection runs no other statement before all rows of a stream are read.
        session: What a session begins with, in the driver's or the server's own words.
        install: Listens on an engine of ours.
        install_adopted: Listens on an engine of the application's, where others may listen, too.
        begin_late: Begins a transaction that was left to others, unless one of them has.
        autocommit: Execution options under which one statement runs without BEGIN and ROLLBACK around it.
        read_only: Execution options under which the database refuses to write.
        deferrable: Execution options under which a transaction waits until it can collide with none.
        isolation: The execution option that is the isolation level of a transaction, where a level is more than a word.
        reset: The statements that take back what a session has changed.
        explain: What stands before a statement that is explained, and before one that is run for it as well.
        insert_once: Makes an INSERT that leaves out a row whose key is there.
        advisory_lock: Locks a number until the transaction ends, and returns whether it could; the third argument says
            whether to wait.
        limit: Lets a transaction end after so many seconds.
        clock: Tells the time that is the same for all who use the database.
    """

    name: str
    rules: Rules | None = None
    is_local: bool = False
    is_in_memory: Callable[[URL], bool] = _is_on_disk
    takes_pooler: bool = False
    has_standbys: bool = False
    has_transaction_status: bool = False
    reads_one_result: bool = False
    session: Callable[[DatabaseSettings, URL], dict[str, Any]] = _empty
    install: Callable[[Engine], None] = _nothing
    install_adopted: Callable[..., None] = _nothing_for_others
    begin_late: Callable[[Connection], None] = _nothing
    autocommit: Options = field(default_factory=dict)
    read_only: Options = field(default_factory=dict)
    deferrable: Options = field(default_factory=dict)
    isolation: str | None = None
    reset: str | None = None
    explain: tuple[str, str] = ("EXPLAIN", "EXPLAIN")
    insert_once: Callable[[Table], Insert] = insert
    advisory_lock: Callable[[Connection, int, bool], bool] | None = None
    limit: Callable[[Connection, float], Lift | None] | None = None
    clock: Callable[[Connection], dt.datetime] | None = None

    @property
    def snapshot(self) -> Options:
        """Execution options under which several statements see the same rows."""
        level = {} if self.isolation is None else {self.isolation: "REPEATABLE READ"}
        return {**level, **self.read_only}

    @property
    def of_transactions(self) -> frozenset[str]:
        """The execution options that say how a transaction runs."""
        return frozenset({*self.read_only, *self.deferrable, *((self.isolation,) if self.isolation else ())})

    def only_reads(self, connection: Connection) -> bool:
        """Return whether the options of a connection let the database refuse to write."""
        return bool(self.read_only) and self.read_only.items() <= connection.get_execution_options().items()

    def require_writing(self, connection: Connection) -> None:
        """Refuse to lock in a read-only transaction.

        Raises:
            ConfigurationError: The transaction is read-only.
        """
        if self.only_reads(connection):
            raise ConfigurationError("A read-only transaction cannot hold locks.", hint="Use db.transaction().")
