"""What users call: ``fetch(bind, Model, statement)``, for every kind of bind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, overload

from sqlalchemy import URL, Connection, Engine, Select
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from querywright.errors import ConfigurationError
from querywright.fetching.aio import AsyncFetch
from querywright.fetching.compile.form import Strategy
from querywright.fetching.execute.compiled import require_kinds
from querywright.fetching.execute.query import Query
from querywright.fetching.execute.run import Bind
from querywright.fetching.plan.fieldsets import Fields, in_one_text
from querywright.fetching.verbs import Fetch

__all__ = ["AnyAsyncBind", "AnyBind", "HasAsyncEngine", "HasEngine", "fetch", "fetch_query", "sessions_of"]

Model = TypeVar("Model")


class HasEngine(Protocol):
    """A `Database`, or anything else that holds an engine."""

    @property
    def engine(self) -> Engine:
        """The engine to take a connection from."""
        ...


class HasAsyncEngine(Protocol):
    """An `AsyncDatabase`, or anything else that holds an async engine."""

    @property
    def engine(self) -> AsyncEngine:
        """The engine to take a connection from."""
        ...


AnyBind = Session | scoped_session[Any] | Connection | Engine | HasEngine
AnyAsyncBind = AsyncSession | async_scoped_session[Any] | AsyncConnection | AsyncEngine | HasAsyncEngine


# A class could be both kinds of engine holder as far as a type checker knows; none is.
@overload
def fetch(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    bind: AnyAsyncBind,
    model: type[Model],
    statement: Select[Any],
    parameters: Mapping[str, Any] | None = None,
    *,
    fields: Fields | None = None,
    strategy: Strategy = "auto",
) -> AsyncFetch[Model]: ...
@overload
def fetch(
    bind: AnyBind,
    model: type[Model],
    statement: Select[Any],
    parameters: Mapping[str, Any] | None = None,
    *,
    fields: Fields | None = None,
    strategy: Strategy = "auto",
) -> Fetch[Model]: ...
def fetch(
    bind: Any,
    model: type[Model],
    statement: Select[Any],
    parameters: Mapping[str, Any] | None = None,
    *,
    fields: Fields | None = None,
    strategy: Strategy = "auto",
) -> Fetch[Model] | AsyncFetch[Model]:
    """Fetch rows in the shape of a response model, with one SQL statement.

    Args:
        bind: Where to run it: a session, connection, engine or database, of Querywright or plain SQLAlchemy. A
            session is flushed first if its autoflush is on; an engine or database lends a connection for the
            length of the statement.
        model: The response model, of Pydantic, a dataclass, a TypedDict or a msgspec Struct. Each field names a
            column or relationship of the selected class, or has a marker such as `Path` or `Count`; a field of a
            relationship is itself a model, or a list of them.
        statement: A ``select()`` of one mapped class; it decides which rows, and in which order.
        parameters: Values for the ``bindparam()`` of a statement that was built once and is used often.
        fields: What a client wants of the model, such as ``"id,name,posts.title"`` or a list of such texts; it narrows
            the JSON verbs. One that names nothing is as none.
        strategy: ``"statement"`` runs one statement whatever its size, ``"levels"`` one for each level of lists;
            ``"auto"`` does the latter if there are too many rows for one, or too many lists inside each other.

    Returns:
        A lazy `Fetch`, or `AsyncFetch` if the bind is asynchronous.

    Raises:
        ConfigurationError: The bind is none.
        ShapeError: When a verb is called, if the model does not fit the class.

    Example:
        >>> from pydantic import BaseModel
        >>> from sqlalchemy import String, select
        >>> from sqlalchemy.orm import mapped_column
        >>> from querywright import Base, Database, UUIDKey, fetch
        >>> class Color(UUIDKey, Base):
        ...     __tablename__ = "color"
        ...     name = mapped_column(String, nullable=False)
        >>> class ColorOut(BaseModel):
        ...     name: str
        >>> db = Database("sqlite+pysqlite:///:memory:")
        >>> Base.metadata.create_all(db.engine, [Color.__table__])
        >>> with db.transaction() as tx:
        ...     tx.add_all([Color(name="blue"), Color(name="red")])
        >>> fetch(db, ColorOut, select(Color).order_by(Color.name)).json()
        b'[{"name":"blue"},{"name":"red"}]'
        >>> db.dispose()
    """
    require_kinds(model, statement)
    query = Query(model, statement, parameters, in_one_text(fields), strategy, sessions=sessions_of(bind))
    return fetch_query(bind, query)  # type: ignore[no-any-return]


def sessions_of(bind: Any) -> type[Session] | None:
    """Return the class of a database's sessions, whose listeners see what is fetched without one."""
    sessions = getattr(bind, "session_class", None)
    return sessions if isinstance(sessions, type) and issubclass(sessions, Session) else None


def fetch_query(bind: Any, query: Query) -> Any:
    """Make a `Fetch` or `AsyncFetch`, whichever the bind needs."""
    for kind, convert in _ASYNC_BINDS:
        if isinstance(bind, kind):
            return AsyncFetch(convert(bind), query)
    if isinstance(bind, scoped_session):
        bind = bind()
    if isinstance(bind, (Session, Connection, Engine)):
        return Fetch(bind, query)
    holder: HasEngine | HasAsyncEngine = bind
    try:
        engine = holder.engine
    except AttributeError as error:
        raise _no_bind(bind) from error
    return fetch_query(engine, query)


def _no_bind(given: Any) -> ConfigurationError:
    # Never the thing itself: a URL has a password.
    what = f"the class {given.__name__}" if isinstance(given, type) else f"this {type(given).__name__}"
    hint = "It is a session, connection, engine or database, of Querywright or SQLAlchemy."
    if isinstance(given, (sessionmaker, async_sessionmaker)):
        hint = "Call it, and give the session that it makes."
    elif isinstance(given, (str, URL)):
        hint += " Make a Database or AsyncDatabase of the URL."
    return ConfigurationError(f"fetch() cannot use {what} as its bind.", hint=hint)


def _started(connection: AsyncConnection) -> Connection:
    if connection.sync_connection is None:
        message = "The AsyncConnection is not open yet."
        raise ConfigurationError(message, hint="Write: async with engine.connect() as connection")
    return connection.sync_connection


_ASYNC_BINDS: tuple[tuple[type, Callable[[Any], Bind]], ...] = (
    (AsyncEngine, lambda bind: bind.sync_engine),
    (AsyncSession, lambda bind: bind.sync_session),
    (AsyncConnection, _started),
    (async_scoped_session, lambda bind: bind().sync_session),
)
