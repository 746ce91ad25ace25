"""Queries that a module declares once: ``users_by_id = prepare(UserOut, select(User).where(...))``."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, overload
from weakref import WeakSet

from sqlalchemy import Select

from querywright.fetching.aio import AsyncFetch
from querywright.fetching.api import AnyAsyncBind, AnyBind, fetch_query, sessions_of
from querywright.fetching.compile.statement import root_mapper
from querywright.fetching.execute.compiled import Declaration, require_kinds
from querywright.fetching.execute.query import Query
from querywright.fetching.plan.planner import plan
from querywright.fetching.verbs import Fetch

__all__ = ["PreparedQuery", "declared", "prepare"]

Model = TypeVar("Model")
_declared: WeakSet[PreparedQuery[Any]] = WeakSet()


class PreparedQuery(Generic[Model]):
    """A query that is planned and compiled once, made by `prepare`; call it with a bind and its parameters.

    Args:
        model: The response model.
        statement: Which rows.
    """

    def __init__(self, model: type[Model], statement: Select[Any]) -> None:
        require_kinds(model, statement)
        self.model = model
        self.statement = statement
        self._declaration = Declaration(model, statement)
        mapper = root_mapper(statement)
        # Not before all classes are defined: SQLAlchemy would never try to configure its mappers again.
        if mapper.configured:
            planned: Any = model
            plan(planned, mapper)
        _declared.add(self)

    @overload
    def __call__(self, bind: AnyAsyncBind, **parameters: Any) -> AsyncFetch[Model]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(self, bind: AnyBind, **parameters: Any) -> Fetch[Model]: ...
    def __call__(self, bind: Any, **parameters: Any) -> Fetch[Model] | AsyncFetch[Model]:
        """Give the parameters of one call.

        Args:
            bind: Where to run it: a session, connection, engine or database.
            **parameters: A value for each ``bindparam()`` of the statement.

        Returns:
            A lazy `Fetch`, or `AsyncFetch` if the bind is asynchronous.
        """
        query = Query(self.model, self.statement, parameters, declaration=self._declaration, sessions=sessions_of(bind))
        return fetch_query(bind, query)  # type: ignore[no-any-return]


def prepare(model: type[Model], statement: Select[Any]) -> PreparedQuery[Model]:
    """Declare a query once, at the top of a module; each call only fills in values.

    Args:
        model: The response model.
        statement: A ``select()`` of one mapped class, with a ``bindparam()`` for each value that a call gives.

    Returns:
        A query to call: ``users_by_id(db, id=42)`` is a `Fetch`.

    Raises:
        ShapeError: The model does not fit the class. If SQLAlchemy has not configured its mappers yet, that shows at
            the first call, or in `check_shapes` at start-up.

    Example:
        >>> from pydantic import BaseModel
        >>> from sqlalchemy import String, bindparam, select
        >>> from sqlalchemy.orm import mapped_column
        >>> from querywright import Base, Database, UUIDKey, prepare
        >>> class Fruit(UUIDKey, Base):
        ...     __tablename__ = "fruit"
        ...     name = mapped_column(String, nullable=False)
        >>> class FruitOut(BaseModel):
        ...     name: str
        >>> fruit_by_name = prepare(FruitOut, select(Fruit).where(Fruit.name == bindparam("name")))
        >>> db = Database("sqlite+pysqlite:///:memory:")
        >>> Base.metadata.create_all(db.engine, [Fruit.__table__])
        >>> with db.transaction() as tx:
        ...     tx.add_all([Fruit(name="apple"), Fruit(name="pear")])
        >>> fruit_by_name(db, name="pear").one()
        FruitOut(name='pear')
        >>> db.dispose()
    """
    return PreparedQuery(model, statement)


def declared() -> list[PreparedQuery[Any]]:
    """List the queries that are declared and still in use."""
    return list(_declared)
