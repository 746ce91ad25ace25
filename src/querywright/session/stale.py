"""Which rows made a flush fail because somebody else had changed them: SQLAlchemy only says that some did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import ColumnElement, Connection, Delete, event, null, select, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstanceState, Mapper, PassiveFlag, Session, SessionTransaction, attributes
from sqlalchemy.orm.exc import StaleDataError

from querywright.errors import StaleData, StaleRow

__all__ = ["NamingSession"]

# Databases limit the parameters of one statement.
_BATCH = 500
_GONE = object()


@dataclass
class _Flush:
    """A flush under way: the version of each row that it writes, its connections, and what watches them."""

    writes: dict[InstanceState[Any], Any] = field(default_factory=dict)
    connections: set[Connection] = field(default_factory=set)
    watches: dict[tuple[Connection, ColumnElement[Any]], Callable[..., None]] = field(default_factory=dict)


# What earlier flushes of a transaction wrote: nobody else can have changed that.
_written: WeakKeyDictionary[SessionTransaction, WeakSet[InstanceState[Any]]] = WeakKeyDictionary()


class NamingSession(Session):
    """A SQLAlchemy `Session` whose flush names the rows that it could not write."""

    _under_way: _Flush | None = None

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Write pending changes to the database; queries and commits do so by themselves.

        Raises:
            StaleData: Rows to be written were changed or deleted by somebody else.
        """
        transaction, outer = self.get_transaction(), self._under_way
        flush = self._under_way = _Flush()
        try:
            super().flush(objects)
        except StaleData:
            raise
        except StaleDataError as error:
            own = _written.get(transaction, ()) if transaction else ()
            # What the transaction had inserted has lost its key with the rollback.
            rows = [(state, version) for state, version in flush.writes.items() if state.key and state not in own]
            raise StaleData(_stale(self, rows, flush.connections)) from error
        finally:
            self._under_way = outer
            for (connection, _), watch in flush.watches.items():
                event.remove(connection, "after_execute", watch)
        if flush.writes and (transaction := self.get_transaction()):
            _written.setdefault(transaction, WeakSet()).update(flush.writes)


# A flush calls these for every row that it is about to write, those of cascades and of foreign keys included, and
# while the version that it will ask for is known; afterwards, the rollback has expired it.
@event.listens_for(Mapper, "before_update", raw=True)
def _before_update(_mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
    _remember(connection, state)


@event.listens_for(Mapper, "before_delete", raw=True)
def _before_delete(mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
    flush = _remember(connection, state)
    column = mapper.version_id_col
    # SQLAlchemy executes such DELETEs one by one, adds up the rows that they met, and then compares the sum only
    # where executemany would have counted: not with asyncpg, nor MySQL (2.0.58 and 2.1.9, orm/persistence.py).
    if flush and column is not None and not connection.dialect.supports_sane_multi_rowcount:
        _watch_deletes(flush, connection, column)


def _remember(connection: Connection, state: InstanceState[Any]) -> _Flush | None:
    session = state.session
    flush = session._under_way if isinstance(session, NamingSession) else None  # noqa: SLF001 - of the same module
    if session is None or flush is None:
        return None
    if not flush.writes:
        # A flush goes from class to class and stops at the first that fails; this is for those behind it.
        for each in map(attributes.instance_state, (*session.dirty, *session.deleted)):
            _note(flush, each, PassiveFlag.PASSIVE_NO_INITIALIZE)
    flush.connections.add(connection)
    if state not in flush.writes:
        _note(flush, state, PassiveFlag.PASSIVE_OFF)
    return flush


def _note(flush: _Flush, state: InstanceState[Any], passive: PassiveFlag) -> None:
    """Note a row with the version that was read, whatever the attribute holds now."""
    mapper, version = state.mapper, None
    if mapper.version_id_col is not None:
        key = mapper.get_property_by_column(mapper.version_id_col).key
        _, unchanged, deleted = attributes.get_history(state.obj(), key, passive)
        version = next(iter(deleted or unchanged), None)
        if version is None:
            return
    flush.writes[state] = version


def _watch_deletes(flush: _Flush, connection: Connection, column: ColumnElement[Any]) -> None:
    """Let the flush fail at a DELETE by version that meets no row."""

    def executed(_connection: Any, statement: Any, _many: Any, params: Any, _options: Any, result: Any) -> None:
        if isinstance(statement, Delete) and statement.table is table and column.key in params and not result.rowcount:
            message = f"DELETE statement on table {table!s} met no row."
            raise StaleDataError(message)

    table = getattr(column, "table", None)
    if (connection, column) not in flush.watches:
        flush.watches[connection, column] = executed
        event.listen(connection, "after_execute", executed)


def _stale(
    session: Session, writes: Sequence[tuple[InstanceState[Any], Any]], connections: Iterable[Connection]
) -> tuple[StaleRow, ...]:
    """Find out which of the rows of a flush, now rolled back, are not as they were read."""
    groups: dict[Mapper[Any], list[StaleRow]] = {}
    for state, version in writes:
        row = StaleRow(state.mapper.class_.__name__, tuple(state.identity or ()), version)
        groups.setdefault(state.mapper, []).append(row)
    if len(writes) < 2:  # noqa: PLR2004 - one row needs no question
        return tuple(chain.from_iterable(groups.values()))
    try:
        return tuple(
            row
            for mapper, rows in groups.items()
            for connection in connections
            if connection.engine is session.get_bind(mapper).engine
            for row in _changed(mapper, connection, rows)
        )
    except SQLAlchemyError:
        return ()


def _changed(mapper: Mapper[Any], connection: Connection, rows: list[StaleRow]) -> list[StaleRow]:
    """Compare rows with the database, on the connection that is there: another could be waited for for ever."""
    key = mapper.primary_key
    version = null() if mapper.version_id_col is None else mapper.version_id_col
    statement = select(*key, version).select_from(mapper.persist_selectable)
    # After a rollback to a savepoint, the transaction around it goes on.
    with nullcontext() if connection.in_transaction() else connection.begin():
        found = {
            tuple(values): current
            for start in range(0, len(rows), _BATCH)
            for *values, current in connection.execute(
                statement.where(tuple_(*key).in_([row.key for row in rows[start : start + _BATCH]]))
            )
        }
    return [row for row in rows if found.get(row.key, _GONE) != row.version]
