"""Check at start-up that every declared query fits: its classes, and the database's columns and indexes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, overload

import sqlalchemy as sa
from sqlalchemy import Connection, Dialect, Inspector, Select, Table
from sqlalchemy.exc import CompileError, NoSuchTableError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Mapper, RelationshipProperty

from querywright.errors import ShapeError
from querywright.fetching.api import HasAsyncEngine, HasEngine
from querywright.fetching.compile.form import Form
from querywright.fetching.execute.compiled import compile_fetch, require_kinds
from querywright.fetching.mapping.cardinality import leads_to_one
from querywright.fetching.plan.nodes import (
    Aggregate,
    Embedded,
    Groups,
    Node,
    Plan,
    Scalar,
    Shape,
    ToMany,
    ToOne,
    Variants,
)
from querywright.fetching.prepared import declared

__all__ = ["Finding", "check_shapes", "require_fitting"]


@dataclass(frozen=True)
class Finding:
    """Something that does not fit.

    Attributes:
        path: Where, from the root model.
        problem: What.
        hint: What to do about it.
    """

    path: str
    problem: str
    hint: str

    def __str__(self) -> str:
        """Write it as one sentence."""
        return f"{self.path}: {self.problem} {self.hint}".rstrip()


# A response model, and the class or statement that it is fetched from.
ShapePair = tuple[Any, Any]


@overload
def check_shapes(db: HasAsyncEngine, *shapes: ShapePair) -> Awaitable[list[Finding]]: ...  # pyright: ignore[reportOverlappingOverload]
@overload
def check_shapes(db: HasEngine, *shapes: ShapePair) -> list[Finding]: ...
def check_shapes(db: Any, *shapes: ShapePair) -> list[Finding] | Awaitable[list[Finding]]:
    """Find every query that does not fit the database, before the first request does.

    Looked at are all queries that `prepare` has declared, and the shapes given here: whether each model fits its class,
    whether the tables and columns exist, and whether each relationship that is followed has an index.

    Args:
        db: The database; its tables are inspected, nothing else is run.
        *shapes: More response models, each with the mapped class or statement that it is fetched from.

    Returns:
        What was found; nothing if all is well. To be awaited if the database is asynchronous.

    Example:
        >>> from pydantic import BaseModel
        >>> from sqlalchemy import String
        >>> from sqlalchemy.orm import mapped_column
        >>> from querywright import Base, Database, UUIDKey, check_shapes
        >>> class Plant(UUIDKey, Base):
        ...     __tablename__ = "plant"
        ...     name = mapped_column(String, nullable=False)
        >>> class PlantOut(BaseModel):
        ...     name: str
        >>> with Database("sqlite+pysqlite:///:memory:") as db:
        ...     print(*(each for each in check_shapes(db, (PlantOut, Plant)) if each.path == "PlantOut"))
        PlantOut: the table plant does not exist. Run the migrations.
    """
    pairs = [(query.model, query.statement) for query in declared()]
    pairs += [(model, given if isinstance(given, Select) else sa.select(given)) for model, given in shapes]

    def check(connection: Connection) -> list[Finding]:
        found = [finding for model, statement in pairs for finding in _check(connection, model, statement)]
        return list(dict.fromkeys(found))

    if isinstance(db.engine, AsyncEngine):
        return _on_async(db.engine, check)
    with db.engine.connect() as connection:
        return check(connection)


def require_fitting(dialect: Dialect) -> None:
    """Compile every query that `prepare` has declared, without a database.

    Args:
        dialect: That of the database which they will run on.

    Raises:
        ShapeError: Some do not fit their classes, or cannot be written in the database's SQL; it names all of them.
    """
    looked_at = (_planned(query.model, query.statement, dialect) for query in declared())
    found = list(dict.fromkeys(each for each in looked_at if isinstance(each, Finding)))
    if found:
        first, others = found[0], " ".join(map(str, found[1:]))
        raise ShapeError(first.path, first.problem, hint=f"{first.hint} {others}".strip())


def _planned(model: Any, statement: Select[Any], dialect: Dialect) -> Plan | Finding:
    """Plan and compile a query, or say why that cannot be done."""
    try:
        require_kinds(model, statement)
        return compile_fetch(model, statement, Form(array=True), dialect, None).plan
    except ShapeError as error:
        return Finding(error.path, error.reason, error.hint)
    except CompileError as error:
        return Finding(getattr(model, "__name__", str(model)), f"{dialect.name} cannot run it: {error}.", "")


async def _on_async(engine: AsyncEngine, check: Any) -> list[Finding]:
    async with engine.connect() as connection:
        return await connection.run_sync(check)


def _check(connection: Connection, model: Any, statement: Select[Any]) -> Iterator[Finding]:
    plan = _planned(model, statement, connection.dialect)
    if isinstance(plan, Finding):
        yield plan
        return
    inspector = sa.inspect(connection)
    missing = list(_missing(plan, inspector))
    yield from missing
    if not missing:
        yield from _without_index(plan.root, plan.mapper, plan.root.path, inspector)


def _missing(plan: Plan, inspector: Inspector) -> Iterator[Finding]:
    """Find tables and columns that the database does not have."""
    for table, path in dict(_tables(plan.root, plan.mapper, plan.root.path)).items():
        try:
            there = {column["name"] for column in inspector.get_columns(table.name, schema=table.schema)}
        except NoSuchTableError:
            there = set()
        if not there:
            yield Finding(path, f"the table {table.name} does not exist.", "Run the migrations.")
        elif gone := sorted(column.name for column in table.columns if column.name not in there):
            yield Finding(path, f"the table {table.name} has no column {', '.join(gone)}.", "Run the migrations.")


def _tables(node: Node, mapper: Mapper[Any], path: str) -> Iterator[tuple[Table, str]]:
    for table in mapper.tables:
        if isinstance(table, Table):
            yield table, path
    for relationship, target, where in _followed(node, mapper, path):
        if isinstance(relationship.secondary, Table):
            yield relationship.secondary, where
        yield from _tables(target, relationship.mapper, where)


Followed = Iterator[tuple[RelationshipProperty[Any], Node, str]]


def _followed(node: Node, mapper: Mapper[Any], path: str) -> Followed:
    """Go one level down: to each relationship that is followed from a row, with what is written of its rows."""
    return _FOLLOWED[type(node)](node, mapper, path)


def _nothing(_node: Scalar, _mapper: Mapper[Any], _path: str) -> Followed:
    return iter(())


def _related(node: ToOne | ToMany | Groups | Aggregate, mapper: Mapper[Any], path: str) -> Followed:
    [target] = node.inner
    yield mapper.relationships[node.relationship], target, path


def _of_fields(node: Shape, mapper: Mapper[Any], _path: str) -> Followed:
    for field in node.fields:
        yield from _followed(field.value, mapper, field.path)


def _of_composite(node: Embedded, mapper: Mapper[Any], path: str) -> Followed:
    return _followed(node.shape, mapper, path)


def _of_cases(node: Variants, _mapper: Mapper[Any], path: str) -> Followed:
    for shape in node.shapes:
        yield from _followed(shape, shape.mapper, path)


_FOLLOWED: dict[type, Callable[[Any, Mapper[Any], str], Followed]] = {
    Scalar: _nothing,
    ToOne: _related,
    ToMany: _related,
    Groups: _related,
    Aggregate: _related,
    Shape: _of_fields,
    Embedded: _of_composite,
    Variants: _of_cases,
}


def _without_index(node: Node, mapper: Mapper[Any], path: str, inspector: Inspector) -> Iterator[Finding]:
    """Find relationships that are followed row by row through a table without an index for it."""
    for relationship, target, where in _followed(node, mapper, path):
        table, columns = _sought(relationship)
        if not leads_to_one(relationship) and table is not None and not _has_index(table, columns, inspector):
            names, owner = ", ".join(sorted(columns)), relationship.parent.class_.__name__
            problem = f"{table.name} has no index on {names}, so each row of {owner} reads all of it."
            yield Finding(where, problem, f"Create one, for example with index=True on {names}.")
        yield from _without_index(target, relationship.mapper, where, inspector)


def _sought(relationship: RelationshipProperty[Any]) -> tuple[Table | None, set[str]]:
    """Name the table that is searched for the rows of one parent, and the columns that are compared."""
    far = [
        right if left in relationship.local_columns else left for left, right in relationship.local_remote_pairs or ()
    ]
    secondary = relationship.secondary
    if secondary is not None:
        pairs = [
            pair
            for pair in relationship.local_remote_pairs or ()
            if relationship.parent.persist_selectable.c.contains_column(pair[0])
        ]
        far = [right for _, right in pairs if right.table is secondary]
    tables = {column.table for column in far}
    table = tables.pop() if len(tables) == 1 else None
    return (table if isinstance(table, Table) else None), {column.name for column in far}


def _has_index(table: Table, columns: set[str], inspector: Inspector) -> bool:
    """Return whether the first columns of an index or key are these, in any order."""
    schema = table.schema
    known: list[Any] = [inspector.get_pk_constraint(table.name, schema=schema)["constrained_columns"]]
    known += [index["column_names"] for index in inspector.get_indexes(table.name, schema=schema)]
    known += [unique["column_names"] for unique in inspector.get_unique_constraints(table.name, schema=schema)]
    # Of a key of several columns the first alone narrows the search well enough only if it is one of these.
    return any(set(names[: len(columns)]) == columns for names in known if names)
