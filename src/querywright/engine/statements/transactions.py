"""Refuse what would end a transaction in a lie: a COMMIT of nothing, or going on after the database gave it up."""

from __future__ import annotations

from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Engine, ExceptionContext, RootTransaction, event

from querywright.engine.databases.backend import BEGUN
from querywright.engine.databases.errors import sqlstate_of
from querywright.engine.databases.lookup import backend_of
from querywright.engine.drivers.lookup import driver_for
from querywright.engine.pool.fork import is_of_parent
from querywright.errors import ManagedTransaction, TransactionLost

__all__ = ["install_transactions", "manage", "require_sound", "require_unmanaged"]

# A savepoint can be rolled back after these, but what the transaction has read until then is void
# (PostgreSQL manual, 13.5: the whole transaction must be run again). MySQL rolls back all of it: see mysql.py.
_VOIDING = frozenset({"40001", "40P01"})
_void: WeakKeyDictionary[RootTransaction, str] = WeakKeyDictionary()
# Those that a block of transaction() ends.
_managed: WeakSet[RootTransaction] = WeakSet()

_FAILED = "25P02"  # in_failed_sql_transaction
_READ_ONLY = "25006"  # read_only_sql_transaction


def install_transactions(engine: Engine) -> None:
    """Watch how transactions of an engine fail and end."""
    event.listen(engine, "handle_error", _remember)
    event.listen(engine, "commit", _check)


def require_sound(connection: Connection) -> None:
    """Refuse to go on in a transaction that only a new one can replace.

    Raises:
        TransactionLost: It was chosen to end a deadlock, or could not be serialized; or it is that of a parent process.
    """
    if is_of_parent(connection):
        message = "The transaction belongs to the process that this one was forked from."
        raise TransactionLost(message, hint="Leave it to that one, and begin another here.")
    if not _void:
        return
    transaction = connection.get_transaction()
    state = None if transaction is None else _void.get(transaction)
    if state is not None:
        message = "The transaction collided with another and is void, although a savepoint of it was rolled back."
        raise TransactionLost(message, sqlstate=state, hint="Run the whole transaction again, as db.run() does.")


def manage(connection: Connection) -> None:
    """Let only the block that has it end the transaction of a connection.

    Raises:
        ConfigurationError: There would be none.
    """
    driver_for(connection.dialect).require_transactions(connection.connection.dbapi_connection)
    transaction = connection.get_transaction()
    if transaction is not None:
        _managed.add(transaction)


def require_unmanaged(connection: Connection, command: str) -> None:
    """Refuse a command that would end the transaction of a block behind its back.

    Raises:
        ManagedTransaction: The block ends it.
    """
    if _managed and connection.get_transaction() in _managed:
        raise ManagedTransaction(command.upper())


def _remember(context: ExceptionContext) -> TransactionLost | None:
    state = sqlstate_of(context.original_exception)
    if state == _FAILED and context.statement is None:
        # The answer to a COMMIT, and not the symptom that every statement after the failed one shows.
        return _lost()
    if state == _READ_ONLY and _may_write(context.connection):
        # A failover has made a standby of this server, and the other connections lead to it as well.
        context.is_disconnect = True
    transaction = context.connection.get_transaction() if state in _VOIDING and context.connection else None
    if transaction is not None and state is not None:
        _void[transaction] = state
    return None


def _may_write(connection: Connection | None) -> bool:
    """Return whether a transaction was not begun to read only, on a database whose server may become a standby."""
    if connection is None:
        return False
    backend = backend_of(connection.dialect)
    return backend.has_standbys and not backend.only_reads(connection)


def _check(connection: Connection) -> None:
    """Before a COMMIT, ask the driver whether there is still anything to commit; this needs no round trip."""
    require_sound(connection)
    # None of SQLite's is open in autocommit.
    is_open = connection.info.get(BEGUN, True)
    if is_open and driver_for(connection.dialect).has_lost(connection.connection.dbapi_connection):
        raise _lost()


def _lost() -> TransactionLost:
    message = "A statement failed and the error was caught, but the whole transaction was rolled back with it."
    return TransactionLost(message, hint="Let the error out, or try the statement inside a savepoint.")
