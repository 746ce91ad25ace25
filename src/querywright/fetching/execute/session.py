"""Fetch in a session: flush it, let its listeners see the statement, and read in its transaction."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Select
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.orm import ORMExecuteState, Session

from querywright.errors import ShapeError
from querywright.fetching.compile.statement import root_mapper

__all__ = [
    "Seen", "close_streams", "connection_of", "has_listeners", "routing", "seen_by_session", "streams_of",
]  # fmt: skip

_STREAMS = "querywright_streams"


def streams_of(session: Session) -> WeakSet[Generator[Any, None, None]]:
    """Return the streams that read in the transaction of a session."""
    streams: WeakSet[Generator[Any, None, None]] | None = session.info.get(_STREAMS)
    if streams is None:
        streams = session.info[_STREAMS] = WeakSet()
    return streams


def close_streams(session: Session) -> None:
    """Close the cursors that still have rows, before the transaction ends: MySQL could not end it."""
    for each in list(session.info.get(_STREAMS, ())):
        each.close()


def connection_of(session: Session, statement: Select[Any], arguments: Mapping[str, Any]) -> Connection:
    """Flush the session if it would flush for this statement, and return the connection of its transaction."""
    flushing = session._flushing  # noqa: SLF001 - Session's own autoflush asks the same
    if session.autoflush and not flushing and statement.get_execution_options().get("autoflush", True):
        session.flush()
    return session.connection(bind_arguments={**arguments, **routing(statement)})


def routing(statement: Select[Any]) -> dict[str, Any]:
    """Return what a session with several databases chooses one by; see ``Session.get_bind``."""
    return {"mapper": root_mapper(statement), "clause": statement}


@dataclass(frozen=True)
class Seen:
    """A statement as the ``do_orm_execute`` listeners of a session leave it, such as with a tenant's filter.

    Attributes:
        statement: Which rows.
        parameters: Values for its named parameters.
        arguments: What the session chooses a database by, beside the statement.
        is_another: Whether a listener made another statement of it.
    """

    statement: Select[Any]
    parameters: Mapping[str, Any] | None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    is_another: bool = False


def seen_by_session(session: Session, statement: Select[Any], parameters: Mapping[str, Any] | None) -> Seen:
    """Let the listeners of a session see a statement, and change it.

    Raises:
        ShapeError: One of them answers it itself.
    """
    if not session.dispatch.do_orm_execute:
        return Seen(statement, parameters)
    own = None if parameters is None else dict(parameters)  # they may change it in place
    # Added to this call only: other threads may use listeners of the same class at the same time.
    answer = session._execute_internal(statement, own, _add_event=_Unread)  # noqa: SLF001 - execute() may be overridden
    if not isinstance(answer, _Unread):
        raise _answered()
    return answer.seen(statement)


def has_listeners(sessions: type[Session]) -> bool:
    """Return whether anyone listens to ``do_orm_execute`` of all sessions of a class."""
    return bool(_dispatch_of(sessions).do_orm_execute)  # type: ignore[arg-type]  # mypy asks its instances


@cache
def _dispatch_of(sessions: type[Session]) -> Any:
    # Of any session of the class: it sees who is added to the class later.
    return sessions().dispatch


class _Unread(IteratorResult[Any]):
    """What the listeners get for the rows of a fetch, which are not those of the ORM."""

    def __init__(self, state: ORMExecuteState) -> None:
        super().__init__(SimpleResultMetaData(["row"]), _refused())
        self._state = state

    def seen(self, statement: Select[Any]) -> Seen:
        """Return what became of a statement.

        Raises:
            ShapeError: It is not a ``select()`` any more.
        """
        state = self._state
        final: Any = state.statement
        if not isinstance(final, Select):
            reason = "a do_orm_execute listener of its session makes something else than a select() of it."
            raise ShapeError("statement", reason)
        given: Any = state.parameters
        options = {**state.execution_options, **state.local_execution_options}
        arguments = {name: value for name, value in state.bind_arguments.items() if not name.startswith("_sa_")}
        return Seen(final.execution_options(**options), given, arguments, is_another=final is not statement)


def _refused() -> Iterator[Any]:
    raise _answered()
    yield


def _answered() -> ShapeError:
    reason = "a do_orm_execute listener of its session answers it with rows of its own, of a cache or of shards."
    hint = "Let the listener pass by the statements of a fetch, marked by an option or execution option of yours."
    return ShapeError("statement", reason, hint=hint)
