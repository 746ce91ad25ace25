"""What a path operation asks for: a database to read from, or a transaction to write in."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import Depends
from starlette.requests import HTTPConnection

from querywright.errors import ConfigurationError
from querywright.fastapi.answers import InThread, enter_last_to_leave
from querywright.session import AsyncDatabase, AsyncSession, Database, Session
from querywright.session.transactions.nesting import share

__all__ = [
    "KINDS", "READERS", "STATE", "WRITERS", "KeepingWriter", "Reader", "SyncKeepingWriter", "SyncReader", "SyncWriter",
    "Writer", "installed", "session_of",
]  # fmt: skip

STATE = "querywright"
_WRITER = "querywright_writer"
AnySession = TypeVar("AnySession", AsyncSession, Session)
AnyDatabase = TypeVar("AnyDatabase", AsyncDatabase, Database)


def installed(app: Any, kind: type[AnyDatabase]) -> AnyDatabase:
    """Return the database of an application.

    Raises:
        ConfigurationError: It has none, or one of the other kind.
    """
    db = getattr(app.state, STATE, None)
    if isinstance(db, kind):
        return db
    if db is None:
        raise ConfigurationError("The application has no database.", hint="Call install(app, db) after creating it.")
    names = "SyncReader or SyncWriter" if isinstance(db, Database) else "Reader or Writer"
    message = f"The application's database is {type(db).__name__}, this dependency needs {kind.__name__}."
    raise ConfigurationError(message, hint=f"Annotate the parameter as {names}.")


def _reader(connection: HTTPConnection) -> AsyncDatabase:
    return installed(connection.app, AsyncDatabase)


async def _writer(connection: HTTPConnection) -> AsyncSession:
    return await _write(connection, keep=False)


async def _keeping_writer(connection: HTTPConnection) -> AsyncSession:
    return await _write(connection, keep=True)


async def _write(connection: HTTPConnection, *, keep: bool) -> AsyncSession:
    transaction = installed(connection.app, AsyncDatabase).transaction()
    return _noted(connection, await enter_last_to_leave(connection, transaction, keep=keep), keep=keep)


def _sync_reader(connection: HTTPConnection) -> Database:
    return installed(connection.app, Database)


async def _sync_writer(connection: HTTPConnection) -> Session:
    return await _write_in_thread(connection, keep=False)


async def _sync_keeping_writer(connection: HTTPConnection) -> Session:
    return await _write_in_thread(connection, keep=True)


async def _write_in_thread(connection: HTTPConnection, *, keep: bool) -> Session:
    transaction = InThread(installed(connection.app, Database).transaction())
    session = await enter_last_to_leave(connection, transaction, keep=keep)
    # The path operation runs in a thread, which inherits the context of this task.
    share(session)
    return _noted(connection, session, keep=keep)


def _noted(connection: HTTPConnection, session: AnySession, *, keep: bool) -> AnySession:
    setattr(connection.state, _WRITER, (session, keep))
    return session


def session_of(connection: HTTPConnection) -> tuple[Any, bool]:
    """Return the session that the request's `Writer` has opened, and whether it is committed whatever the status."""
    found: tuple[Any, bool] = getattr(connection.state, _WRITER)
    return found


READERS = (_reader, _sync_reader)
WRITERS = (_writer, _keeping_writer, _sync_writer, _sync_keeping_writer)
# The kind of database that each needs.
KINDS: dict[Any, type[AsyncDatabase | Database]] = {
    **dict.fromkeys((_reader, _writer, _keeping_writer), AsyncDatabase),
    **dict.fromkeys((_sync_reader, _sync_writer, _sync_keeping_writer), Database),
}


# FastAPI's default scope "request" ends a dependency after the response was sent: the client would read 200 before
# the COMMIT, and a failed COMMIT could not change it any more (https://github.com/fastapi/fastapi/pull/14262).
Reader = Annotated[AsyncDatabase, Depends(_reader)]
Writer = Annotated[AsyncSession, Depends(_writer, scope="function")]
SyncReader = Annotated[Database, Depends(_sync_reader)]
SyncWriter = Annotated[Session, Depends(_sync_writer, scope="function")]
# For a path operation that returns an error and has written something that must stay, such as a failed login.
KeepingWriter = Annotated[AsyncSession, Depends(_keeping_writer, scope="function")]
SyncKeepingWriter = Annotated[Session, Depends(_sync_keeping_writer, scope="function")]
