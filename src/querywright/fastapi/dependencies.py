"""What a path operation asks for: a database to read from, or a transaction to write in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, TypeVar

from fastapi import Depends
from starlette.requests import HTTPConnection

from querywright.errors import ConfigurationError
from querywright.session import AsyncDatabase, AsyncSession, Database, Session

__all__ = ["STATE", "WRITERS", "Reader", "SyncReader", "SyncWriter", "Writer", "session_of"]

STATE = "querywright"
_SESSION = "querywright_session"
AnyDatabase = TypeVar("AnyDatabase", AsyncDatabase, Database)


def _installed(connection: HTTPConnection, kind: type[AnyDatabase]) -> AnyDatabase:
    db = getattr(connection.app.state, STATE, None)
    if isinstance(db, kind):
        return db
    if db is None:
        raise ConfigurationError("The application has no database.", hint="Call install(app, db) after creating it.")
    names = "SyncReader or SyncWriter" if isinstance(db, Database) else "Reader or Writer"
    message = f"The application's database is {type(db).__name__}, this dependency needs {kind.__name__}."
    raise ConfigurationError(message, hint=f"Annotate the parameter as {names}.")


def _reader(connection: HTTPConnection) -> AsyncDatabase:
    return _installed(connection, AsyncDatabase)


async def _writer(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    async with _installed(connection, AsyncDatabase).transaction() as session:
        setattr(connection.state, _SESSION, session)
        yield session


def _sync_reader(connection: HTTPConnection) -> Database:
    return _installed(connection, Database)


def _sync_writer(connection: HTTPConnection) -> Iterator[Session]:
    with _installed(connection, Database).transaction() as session:
        setattr(connection.state, _SESSION, session)
        yield session


def session_of(connection: HTTPConnection) -> AsyncSession | Session:
    """Return the session that the request's `Writer` has opened."""
    session: AsyncSession | Session = getattr(connection.state, _SESSION)
    return session


WRITERS = (_writer, _sync_writer)


# FastAPI's default scope "request" ends a dependency after the response was sent: the client would read 200 before
# the COMMIT, and a failed COMMIT could not change it any more (https://github.com/fastapi/fastapi/pull/14262).
Reader = Annotated[AsyncDatabase, Depends(_reader)]
Writer = Annotated[AsyncSession, Depends(_writer, scope="function")]
SyncReader = Annotated[Database, Depends(_sync_reader)]
SyncWriter = Annotated[Session, Depends(_sync_writer, scope="function")]
