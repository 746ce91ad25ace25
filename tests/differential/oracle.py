"""What the ORM makes of a statement, in a session of its own that the test's listeners do not see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select
from sqlalchemy.orm import Session
from sqlalchemy.orm.strategy_options import _AbstractLoad
from sqlalchemy.sql.base import CompileState
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.elements import _label_reference as LabelReference  # noqa: N812

__all__ = ["MARK", "Oracle", "Quiet", "savepoint"]

# In the info of a session of ours.
MARK = "querywright_differential"
_OPTIONS = ("schema_translate_map",)


class _Nothing:
    """No listeners, of any event."""

    def __bool__(self) -> bool:
        return False

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __call__(self, *_arguments: Any, **_named: Any) -> None:
        pass

    def __getattr__(self, name: str) -> _Nothing:
        return self


class QuietSession(Session):
    """A session that listeners of all sessions do not hear."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, autoflush=False, info={MARK: True})
        self.__dict__["dispatch"] = _Nothing()


class Quiet(Connection):
    """A second view of the connection of a test: it fires no events, and neither commits nor rolls back."""

    def __init__(self, connection: Connection) -> None:
        events = None if _rewrites(connection) else False
        super().__init__(connection.engine, connection.connection, _has_events=events)
        self._execution_options = connection._execution_options.union({"compiled_cache": {}})

    def _begin_impl(self, transaction: Any) -> None:
        pass

    def _commit_impl(self) -> None:
        pass

    def _rollback_impl(self) -> None:
        pass


def _rewrites(connection: Connection) -> bool:
    """Say whether a listener changes statements, which are wrong without it; SQLAlchemy wraps those that cannot."""
    listeners = connection.engine.dispatch.before_cursor_execute
    return any(getattr(listener, "__name__", "") != "wrap_before_cursor_execute" for listener in listeners)


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Undo what an error breaks: on PostgreSQL it would be the test's transaction."""
    if connection.dialect.name != "postgresql":
        yield
        return
    connection.exec_driver_sql("SAVEPOINT querywright_differential")
    try:
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT querywright_differential")
        raise
    finally:
        connection.exec_driver_sql("RELEASE SAVEPOINT querywright_differential")


@dataclass
class Oracle:
    """Runs a statement of a test again, without the options that only say how to load."""

    connection: Connection
    session: Session
    statement: Select[Any]
    parameters: Any
    options: dict[str, Any]

    @classmethod
    @contextmanager
    def of(cls, quiet: Connection, statement: Select[Any], parameters: Any, options: Any) -> Iterator[Oracle]:
        """Open a session on the connection of a test."""
        if not quiet.in_transaction():
            quiet.begin()
        with QuietSession(quiet) as session:
            kept = {name: options[name] for name in _OPTIONS if name in options}
            yield cls(quiet, session, _plain(statement), parameters, kept)

    def objects(self) -> list[Any]:
        """Load the objects."""
        found = self.session.scalars(self.statement, self.parameters, execution_options=self.options)
        # What with_expression() needs loads collections by a join as well.
        return list((found.unique() if any(map(_loads, self.statement._with_options)) else found).all())

    def keys(self) -> list[Any] | None:
        """Return for each row the values that it is ordered by; ``None`` if the statement has no order."""
        clauses = [_bare(clause) for clause in self.statement._order_by_clauses]
        if not clauses:
            return None
        statement = self.statement.add_columns(*(clause.label(f"k{n}") for n, clause in enumerate(clauses)))
        rows = self.session.execute(statement, self.parameters, execution_options=self.options)
        return [tuple(row[1:]) for row in rows]


def _plain(statement: Select[Any]) -> Select[Any]:
    plain = statement._clone()
    plain._with_options = tuple(option for option in plain._with_options if not _only_loads(option))
    # Without eager loads with_expression() fills nothing.
    if not any(map(_loads, plain._with_options)):
        defaults = CompileState.plugins["orm", "select"].default_compile_options  # type: ignore[attr-defined]
        plain._compile_options = defaults.safe_merge(statement._compile_options) + {"_enable_eagerloads": False}
    return plain


def _loads(option: Any) -> bool:
    return isinstance(option, _AbstractLoad)


def _only_loads(option: Any) -> bool:
    if not _loads(option):
        return False
    return not any(("query_expression", True) in (element.strategy or ()) for element in getattr(option, "context", ()))


def _bare(clause: Any) -> Any:
    while True:
        if isinstance(clause, LabelReference) or (isinstance(clause, UnaryExpression) and clause.modifier is not None):
            clause = clause.element
        else:
            return clause
