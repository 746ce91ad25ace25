"""What users call: ``fetch(bind, Model, statement)`` and the verbs of what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar, overload

from sqlalchemy import Connection, Engine, Select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.util import greenlet_spawn

from querywright.errors import ConfigurationError, MultipleFound, NotFound
from querywright.fetch.compile import Form, root_mapper
from querywright.fetch.decode import Dump, dump, to_bytes, validate
from querywright.fetch.execute import Bind, JsonBytes, Rows, connection_of, routing, run, seen_by_session
from querywright.fetch.plan import plan
from querywright.fetch.prepare import Prepared, Statement, prepare, require_kinds
from querywright.fetch.report import PlanReport, report_of

__all__ = ["AsyncFetch", "Fetch", "fetch"]

Model = TypeVar("Model")
_TWO = 2


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


class Fetch(Generic[Model]):
    """Rows in the shape of a response model, not fetched yet; each verb runs one statement.

    Made by `fetch` and by the ``fetch()`` methods of databases and sessions.
    """

    __slots__ = ("_bind", "_model", "_parameters", "_statement")

    def __init__(
        self, bind: Bind, model: type[Model], statement: Select[Any], parameters: Mapping[str, Any] | None = None
    ) -> None:
        require_kinds(model, statement)
        self._bind = bind
        self._model = model
        self._statement = statement
        self._parameters = parameters

    def all(self) -> list[Model]:
        """Return a model instance for each row."""
        return self._instances(*self._array(for_model=True))  # type: ignore[no-any-return]

    def one(self) -> Model:
        """Return the only row.

        Raises:
            NotFound: There is none.
            MultipleFound: There are more.
        """
        return self._instance(*self._only(for_model=True))  # type: ignore[no-any-return]

    def one_or_none(self) -> Model | None:
        """Return the only row, or ``None`` if there is none.

        Raises:
            MultipleFound: There are more.
        """
        try:
            return self.one()
        except NotFound:
            return None

    def first(self) -> Model | None:
        """Return the first row, or ``None`` if there is none."""
        prepared, rows = self._run(Form(array=False, limit=1, for_model=True))
        return self._instance(prepared, rows[0][0]) if rows else None

    def json(self) -> JsonBytes[list[Model]]:
        """Return all rows as one JSON array, written by the database.

        If the model has validators, serializers or computed fields, it writes the JSON itself: slower, same content.
        """
        return JsonBytes(self._bytes(*self._array(for_model=False), many=True))

    def json_one(self) -> JsonBytes[Model]:
        """Return the only row as a JSON object.

        Raises:
            NotFound: There is none.
            MultipleFound: There are more.
        """
        return JsonBytes(self._bytes(*self._only(for_model=False), many=False))

    def sql(self) -> str:
        """Return the SQL that `json` sends, with placeholders; nothing is run."""
        bind = self._bind
        target = bind.get_bind(**routing(self._statement)) if isinstance(bind, Session) else bind
        return self._prepare(target, self._statement, Form(array=True))[1].sql

    def explain_plan(self) -> PlanReport:
        """Tell, field by field, what fills it, and whether SQL or the model writes it; nothing is run."""
        return report_of(plan(self._model, root_mapper(self._statement)))

    def _instances(self, prepared: Prepared, text: str) -> Any:
        return validate(self._model, text, prepared.read, many=True)

    def _instance(self, prepared: Prepared, text: str) -> Any:
        return validate(self._model, text, prepared.read, many=False)

    def _bytes(self, prepared: Prepared, text: str, *, many: bool) -> bytes:
        if not prepared.form.for_model:
            return to_bytes(text, documents=prepared.plan.documents)
        return dump(self._model, validate(self._model, text, prepared.read, many=many), Dump(), many=many)

    def _array(self, *, for_model: bool) -> tuple[Prepared, str]:
        prepared, rows = self._run(Form(array=True, for_model=for_model))
        return prepared, rows[0][0] if prepared.form.array else f"[{','.join([row[0] for row in rows])}]"

    def _only(self, *, for_model: bool) -> tuple[Prepared, str]:
        prepared, rows = self._run(Form(array=False, limit=_TWO, for_model=for_model))
        name = prepared.plan.mapper.class_.__name__
        if not rows:
            raise NotFound(name)
        if len(rows) > 1:
            raise MultipleFound(name)
        return prepared, rows[0][0]

    def _run(self, form: Form) -> tuple[Prepared, Rows]:
        bind, statement = self._bind, self._statement
        if isinstance(bind, Session):
            statement = seen_by_session(bind, statement)
            bind = connection_of(bind, statement)
        prepared, ready = self._prepare(bind, statement, form)
        return prepared, run(bind, ready)

    def _prepare(self, bind: Engine | Connection, statement: Select[Any], form: Form) -> tuple[Prepared, Statement]:
        options = {**bind.get_execution_options(), **statement.get_execution_options()}
        schemas = options.get("schema_translate_map")
        return prepare(self._model, statement, form, bind.dialect, schemas, self._parameters)


class AsyncFetch(Generic[Model]):
    """The same as `Fetch`, with verbs to await."""

    __slots__ = ("_fetch",)

    def __init__(
        self, bind: Bind, model: type[Model], statement: Select[Any], parameters: Mapping[str, Any] | None = None
    ) -> None:
        self._fetch = Fetch(bind, model, statement, parameters)

    async def all(self) -> list[Model]:
        """Return a model instance for each row."""
        return await greenlet_spawn(self._fetch.all)

    async def one(self) -> Model:
        """Return the only row.

        Raises:
            NotFound: There is none.
            MultipleFound: There are more.
        """
        return await greenlet_spawn(self._fetch.one)

    async def one_or_none(self) -> Model | None:
        """Return the only row, or ``None`` if there is none.

        Raises:
            MultipleFound: There are more.
        """
        return await greenlet_spawn(self._fetch.one_or_none)

    async def first(self) -> Model | None:
        """Return the first row, or ``None`` if there is none."""
        return await greenlet_spawn(self._fetch.first)

    async def json(self) -> JsonBytes[list[Model]]:
        """Return all rows as one JSON array, written by the database.

        If the model has validators, serializers or computed fields, it writes the JSON itself: slower, same content.
        """
        return await greenlet_spawn(self._fetch.json)

    async def json_one(self) -> JsonBytes[Model]:
        """Return the only row as a JSON object.

        Raises:
            NotFound: There is none.
            MultipleFound: There are more.
        """
        return await greenlet_spawn(self._fetch.json_one)

    def sql(self) -> str:
        """Return the SQL that `json` sends, with placeholders; nothing is run."""
        return self._fetch.sql()

    def explain_plan(self) -> PlanReport:
        """Tell, field by field, what fills it, and whether SQL or the model writes it; nothing is run."""
        return self._fetch.explain_plan()


# A class could be both kinds of engine holder as far as a type checker knows; none is.
@overload
def fetch(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    bind: AsyncSession | async_scoped_session[Any] | AsyncConnection | AsyncEngine | HasAsyncEngine,
    model: type[Model],
    statement: Select[Any],
    parameters: Mapping[str, Any] | None = None,
) -> AsyncFetch[Model]: ...
@overload
def fetch(
    bind: Session | scoped_session[Any] | Connection | Engine | HasEngine,
    model: type[Model],
    statement: Select[Any],
    parameters: Mapping[str, Any] | None = None,
) -> Fetch[Model]: ...
def fetch(
    bind: Any, model: type[Model], statement: Select[Any], parameters: Mapping[str, Any] | None = None
) -> Fetch[Model] | AsyncFetch[Model]:
    """Fetch rows in the shape of a response model, with one SQL statement.

    Args:
        bind: Where to run it: a session, connection, engine or database, of Querywright or plain SQLAlchemy. A
            session is flushed first if its autoflush is on; an engine or database lends a connection for the
            length of the statement.
        model: The response model. Each field names a column or relationship of the selected class; a field of a
            relationship is itself a model, or a list of them.
        statement: A ``select()`` of one mapped class; it decides which rows, and in which order.
        parameters: Values for the ``bindparam()`` of a statement that was built once and is used often.

    Returns:
        A lazy `Fetch`, or `AsyncFetch` if the bind is asynchronous.

    Raises:
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
    for kind, convert in _ASYNC_BINDS:
        if isinstance(bind, kind):
            return AsyncFetch(convert(bind), model, statement, parameters)
    if isinstance(bind, scoped_session):
        bind = bind()
    if isinstance(bind, (Session, Connection, Engine)):
        return Fetch(bind, model, statement, parameters)
    holder: HasEngine | HasAsyncEngine = bind
    return fetch(holder.engine, model, statement, parameters)


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
