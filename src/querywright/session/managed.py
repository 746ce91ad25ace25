"""End a managed transaction and its session, and say truly how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy.orm
from sqlalchemy.exc import PendingRollbackError, SQLAlchemyError

from querywright.engine.exclusive import exclusive
from querywright.engine.pool.health import cut
from querywright.errors import ConcurrentUse, TransactionLost
from querywright.fetching.execute.session import close_streams
from querywright.session.sessions import Session
from querywright.session.transactions.options import TransactionOptions
from querywright.session.transactions.timeouts import bound

__all__ = ["abandon", "begin", "complete", "doomed_by_error"]


def begin(session: Session, options: TransactionOptions) -> Session:
    """Put a new session in charge of a block; its transaction begins with the first statement."""
    session.managed = True
    if options.timeout is not None:
        bound(session, options.timeout)
    return session


@contextmanager
def doomed_by_error(session: Session) -> Iterator[None]:
    """Run a block that has joined a transaction: if it fails, half of its work must not be committed."""
    try:
        yield
    except BaseException as error:
        session.doomed = f"A block that had joined the transaction failed with {type(error).__name__}."
        raise


def complete(session: Session, where: str, *, find_out: bool = False) -> None:
    """Commit and close.

    Args:
        session: Whose transaction has come to its end.
        where: The place in the code at which its block ended.
        find_out: Whether to be able to find out what became of a COMMIT without an answer, for one more round trip.

    Raises:
        TransactionLost: There is nothing left to commit.
        CommitOutcomeUnknown: The COMMIT got no answer, and nobody knows what became of it.
    """
    try:
        with exclusive(session):
            _commit(session, find_out=find_out)
    except BaseException:
        abandon(session, where)
        raise
    session.ended = where
    sqlalchemy.orm.Session.close(session)


def abandon(session: Session, where: str) -> None:
    """Roll back and close, whatever state it is in; its objects can no longer be used."""
    # First, for a task that is still waiting for a connection gives it back once it sees this.
    session.ended = where
    try:
        with exclusive(session):
            try:
                # A connection that is lost has no cursor to close, and a stream that is being read is cut off below.
                with suppress(SQLAlchemyError, ValueError):
                    close_streams(session)
                sqlalchemy.orm.Session.rollback(session)
            finally:
                sqlalchemy.orm.Session.close(session)
    except ConcurrentUse:
        # Someone else is in the middle of a statement: the connection is of no use to anyone any more.
        for connection in session.begun:
            cut(connection)
        with suppress(SQLAlchemyError):
            sqlalchemy.orm.Session.invalidate(session)
        raise


def _commit(session: Session, *, find_out: bool) -> None:
    _require_active(session)
    close_streams(session)
    session.find_out = find_out
    try:
        sqlalchemy.orm.Session.commit(session)
    except PendingRollbackError as error:
        message = "A statement was cut off and the error was caught, but its connection is lost, and all with it."
        raise TransactionLost(message, hint="Let the error out.") from error


def _require_active(session: Session) -> None:
    """Refuse to end a transaction well that a failed flush has rolled back: SQLAlchemy would skip the COMMIT."""
    if session.doomed is not None:
        raise TransactionLost(session.doomed, hint="Let the error out, or say nested='savepoint'.")
    if not session.is_active:
        message = "A statement failed and the error was caught, but the whole transaction was rolled back with it."
        raise TransactionLost(message, hint="Let the error out, or try the statement inside savepoint().")
