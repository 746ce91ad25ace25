"""Enter what a fetch is asked of: a session is flushed, its listeners see the statement, its connection is taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from querywright.engine.exclusive import exclusive
from querywright.fetching.execute.query import Query
from querywright.fetching.execute.run import Bind
from querywright.fetching.execute.session import connection_of, has_listeners, routing, seen_by_session

__all__ = ["entered", "seen_on"]


def entered(query: Query, bind: Bind) -> AbstractContextManager[tuple[Query, Engine | Connection]]:
    """Enter a session: flush it, let its listeners change the statement, take its connection for oneself."""
    if isinstance(bind, Session):
        return _within(query, bind)
    return nullcontext((_seen_without_session(query, bind), bind))


@contextmanager
def _within(query: Query, session: Session) -> Iterator[tuple[Query, Connection]]:
    with exclusive(session):
        seen = seen_by_session(session, query.statement, query.parameters)
        yield query.as_seen(seen), connection_of(session, seen.statement, seen.arguments)


def seen_on(query: Query, bind: Bind) -> tuple[Query, Engine | Connection]:
    """Return the same as `entered`, without taking a connection of a session."""
    if not isinstance(bind, Session):
        return _seen_without_session(query, bind), bind
    with exclusive(bind):
        seen = seen_by_session(bind, query.statement, query.parameters)
        return query.as_seen(seen), bind.get_bind(**{**seen.arguments, **routing(seen.statement)})


def _seen_without_session(query: Query, bind: Engine | Connection) -> Query:
    """Let those who listen to all sessions of a database change the statement, such as a filter of deleted rows."""
    if query.sessions is None or not has_listeners(query.sessions):
        return query
    with query.sessions(bind) as session:
        return query.as_seen(seen_by_session(session, query.statement, query.parameters))
