"""Bound how long one transaction may take, by the database itself and for this transaction alone."""

from __future__ import annotations

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction

from querywright.engine.databases.lookup import backend_of
from querywright.errors import ConfigurationError

__all__ = ["bound"]


def bound(session: Session, seconds: float) -> None:
    """Let the transaction that this session begins next end after so many seconds.

    Raises:
        ConfigurationError: The database has no way to.
    """
    backend = backend_of(session.get_bind().dialect)
    limit = backend.limit
    if limit is None:
        hint = "Set statement_timeout in the settings."
        raise ConfigurationError(f"{backend.name} has no timeout for one transaction.", hint=hint)

    def begun(_session: Session, transaction: SessionTransaction, connection: Connection) -> None:
        lift = None if transaction.nested else limit(connection, seconds)
        if lift is None:
            return

        def ended(_session: Session, transaction: SessionTransaction) -> None:
            if transaction.parent is None:
                lift()

        event.listen(session, "after_transaction_end", ended)

    event.listen(session, "after_begin", begun)
