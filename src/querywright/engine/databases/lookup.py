"""Which databases there are: found by the name of a dialect."""

from __future__ import annotations

from sqlalchemy import Dialect

from querywright.engine.databases.backend import Backend
from querywright.engine.databases.mysql import MARIADB, MYSQL
from querywright.engine.databases.postgresql import POSTGRESQL
from querywright.engine.databases.sqlite import SQLITE

__all__ = ["BACKENDS", "backend_named", "backend_of"]

BACKENDS = {backend.name: backend for backend in (POSTGRESQL, SQLITE, MYSQL, MARIADB)}


def backend_of(dialect: Dialect) -> Backend:
    """Return what is known of the database of a dialect."""
    return backend_named(dialect.name)


def backend_named(name: str) -> Backend:
    """Return what is known of a database; little of one that is not supported."""
    return BACKENDS.get(name) or Backend(name)
