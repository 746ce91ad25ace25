"""Tables that are made once for many tests: each finds them as they were made, without rows.

SQLite gets a copy of a file. A database of a server is emptied after each test, and one whose tables are no longer
what they were is left behind for a new one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, MetaData, NullPool, create_engine

from tests.mariadb import WITHOUT_TLS

Fixture = TypeVar("Fixture", bound=Callable[..., Any])

# By the names of the fixtures that need them.
_NEEDED: dict[str, MetaData] = {}

# Files of PostgreSQL are empty until a row is written, even if it is rolled back later.
_EMPTY_POSTGRESQL = """
DO $$
DECLARE
  written text := (
    SELECT string_agg(oid::regclass::text, ', ') FROM pg_class
    WHERE relkind = 'r' AND relpersistence = 'p' AND oid >= 16384 AND pg_relation_size(oid) > 0
  );
BEGIN
  IF written IS NOT NULL THEN
    EXECUTE 'TRUNCATE ' || written || ' CASCADE';
  END IF;
  PERFORM setval((quote_ident(schemaname) || '.' || quote_ident(sequencename))::regclass, start_value, false)
    FROM pg_sequences WHERE last_value IS NOT NULL;
END $$
"""
# What is not the system's own has an identifier from 16384 on (PostgreSQL manual, OID assignment).
_TABLES_OF_POSTGRESQL = """
SELECT attrelid, attnum, attname::text FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE attrelid >= 16384 AND relpersistence = 'p' ORDER BY 1, 2
"""
_TABLES_OF_MARIADB = """
SELECT table_name, column_name, column_type FROM information_schema.columns
WHERE table_schema = DATABASE() ORDER BY 1, 2
"""
_COUNTED_OF_MARIADB = """
SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND auto_increment > 1
"""


def needs(metadata: MetaData) -> Callable[[Fixture], Fixture]:
    """Have these tables in the database of each test that uses the decorated fixture.

    They are found by its name, so no other fixture, in whatever module, has the same.
    """

    def register(fixture: Fixture) -> Fixture:
        assert _NEEDED.setdefault(fixture.__name__, metadata) is metadata, "another fixture has this name"
        return fixture

    return register


def needed(fixtures: Collection[str]) -> tuple[MetaData, ...]:
    """Return the tables that a test needs, by the names of its fixtures."""
    return tuple(metadata for name, metadata in _NEEDED.items() if name in fixtures)


class Template:
    """A file of SQLite with tables, to be copied."""

    def __init__(self, tables: tuple[MetaData, ...], path: Path) -> None:
        self._path = path
        path.touch()
        engine = create_engine(f"sqlite+pysqlite:///{path}", poolclass=NullPool)
        for metadata in tables:
            metadata.create_all(engine)

    def copy(self, path: Path) -> None:
        shutil.copyfile(self._path, path)


class Reused:
    """A database of a server for one test after another.

    Args:
        tables: What is in it.
        new: Makes an empty database, and gives its URL.
    """

    def __init__(self, tables: tuple[MetaData, ...], new: Callable[[], str]) -> None:
        self._tables = tables
        self._new = new
        self._engine: Engine | None = None
        self._made: list[Any] = []

    def url(self, driver: str) -> str:
        """Return the URL of the database, which is made if there is none."""
        if self._engine is None:
            # A test may have ended all connections.
            self._engine = create_engine(self._new(), isolation_level="AUTOCOMMIT", pool_pre_ping=True)
            for metadata in self._tables:
                metadata.create_all(self._engine)
            with self._engine.connect() as connection:
                self._made = _found(connection)
        made = self._engine.url.set(drivername=driver)
        if not driver.endswith("pymysql"):
            made = made.difference_update_query([WITHOUT_TLS])
        return made.render_as_string(hide_password=False)

    def empty(self) -> None:
        """Remove all rows, and start all counters again."""
        assert self._engine is not None
        with self._engine.connect() as connection:
            found = _found(connection)
            if found == self._made:
                _empty(connection, {row[0] for row in found})
        if found != self._made:
            self.forget()

    def forget(self) -> None:
        """Close the connection; the next URL is that of another database."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


def _found(connection: Connection) -> list[Any]:
    """Describe all tables, so that a difference tells of any change; a name or number of the table comes first."""
    query = _TABLES_OF_POSTGRESQL if connection.dialect.name == "postgresql" else _TABLES_OF_MARIADB
    return list(connection.exec_driver_sql(query))


def _empty(connection: Connection, tables: Collection[str]) -> None:
    """Whoever still holds a table is a leak, which is to be seen and not waited for."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET lock_timeout = '10s'")
        connection.exec_driver_sql(_EMPTY_POSTGRESQL)
    else:
        connection.exec_driver_sql("SET foreign_key_checks = 0, lock_wait_timeout = 10")
        filled = [f"SELECT '{table}' FROM dual WHERE EXISTS (SELECT 1 FROM `{table}`)" for table in tables]
        written = connection.exec_driver_sql(" UNION ".join([_COUNTED_OF_MARIADB, *filled])).scalars().all()
        for table in written:
            connection.exec_driver_sql(f"TRUNCATE TABLE `{table}`")
