"""Statements about the rows themselves: whether there are any, how many, and how the database would find them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Engine, Select, exists, literal_column, select
from sqlalchemy.sql.cache_key import CacheKey

from querywright.engine.databases.lookup import backend_of
from querywright.fetching.compile.binding import Binder, Statement
from querywright.fetching.compile.page import count_of, counted
from querywright.fetching.compile.related import criteria_of
from querywright.fetching.execute.cache import StatementCache
from querywright.fetching.execute.compiled import binder_for
from querywright.fetching.execute.entering import entered
from querywright.fetching.execute.fetches import require_known, schemas_of
from querywright.fetching.execute.query import Query
from querywright.fetching.execute.run import Bind, run
from querywright.fetching.writers import writer_for

__all__ = ["count", "exists_any", "explain"]

_cache: StatementCache[Binder] = StatementCache(500)


def count(query: Query, bind: Bind) -> int:
    """Count the rows of a query."""
    return int(_value(query, bind, count_of))


def exists_any(query: Query, bind: Bind) -> bool:
    """Return whether a query has any rows."""
    return bool(_value(query, bind, _exists))


def _exists(statement: Select[Any]) -> Select[Any]:
    return select(exists(select(literal_column("1")).select_from(counted(statement).subquery())))


def _value(query: Query, bind: Bind, make: Any) -> Any:
    with entered(query, bind) as (seen, target):
        return run(target, _ready(seen, target, make))[0][0]


def _ready(query: Query, target: Engine | Connection, make: Any) -> Statement:
    statement = query.statement
    schemas = schemas_of(target, statement)

    def compiled(_key: CacheKey | None) -> Binder:
        made = make(statement).options(*criteria_of(statement))
        return binder_for(made, statement, target.dialect, schemas)

    binder, key = _cache.find(statement, (make, target.dialect), schemas, compiled)
    require_known(query, target, binder)
    return binder.bind(key, query.parameters)


def explain(target: Engine | Connection, statement: Statement, *, analyze: bool) -> str:
    """Ask the database for its plan of a statement.

    Args:
        target: Where to ask.
        statement: What is explained.
        analyze: Whether it is run, to see how long each step takes; SQLite does not tell.
    """
    word = backend_of(target.dialect).explain[analyze]
    prelude, sql = writer_for(target.dialect.name).prelude, statement.sql
    start = len(prelude) if sql.startswith(prelude) else 0
    rows = run(target, replace(statement, sql=f"{sql[:start]}{word} {sql[start:]}"))
    return "\n".join(str(row[-1]) for row in rows)
