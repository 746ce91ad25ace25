"""What one test does to the tables, the next one does not see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    CursorResult,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    NullPool,
    Table,
    create_engine,
    text,
)

from querywright.testing import EmbeddedPostgres
from tests.mariadb import PrivateMariaDB
from tests.tables import Reused

metadata = MetaData()
parents = Table("parents", metadata, Column("id", Integer, primary_key=True))
children = Table(
    "children", metadata, Column("id", Integer, primary_key=True), Column("parent_id", ForeignKey("parents.id"))
)
DRIVERS = {"postgresql": "postgresql+psycopg", "mariadb": "mariadb+pymysql"}


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return DRIVERS[request.param]


@pytest.fixture
def reused(driver: str, request: pytest.FixtureRequest) -> Iterator[Reused]:
    if driver.startswith("mariadb"):
        maria: PrivateMariaDB = request.getfixturevalue("mariadb")
        database = Reused((metadata,), lambda: maria.url(driver, maria.new_database()))
    else:
        postgres: EmbeddedPostgres = request.getfixturevalue("postgres")
        new: Callable[[], str] = request.getfixturevalue("new_postgres_database")
        database = Reused((metadata,), lambda: postgres.url("psycopg", new()))
    yield database
    database.forget()


def opened(reused: Reused, driver: str) -> Engine:
    return create_engine(reused.url(driver), poolclass=NullPool)


def add(connection: Connection) -> list[int]:
    """Add a parent with a child; give their keys."""
    keys = [primary_key(connection.execute(parents.insert()))]
    return [*keys, primary_key(connection.execute(children.insert().values(parent_id=keys[0])))]


def primary_key(done: CursorResult[Any]) -> int:
    assert done.inserted_primary_key is not None
    return int(done.inserted_primary_key[0])


def test_rows_are_removed_and_counters_start_again(reused: Reused, driver: str) -> None:
    first = reused.url(driver)
    for _ in range(2):
        with opened(reused, driver).begin() as connection:
            assert add(connection) == [1, 1]
        reused.empty()
    assert reused.url(driver) == first


def test_a_number_that_no_row_has_is_given_again(reused: Reused, driver: str) -> None:
    for _ in range(2):
        with opened(reused, driver).connect() as connection:
            assert add(connection) == [1, 1]
            connection.rollback()
        reused.empty()


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE more (id integer)",
        "DROP TABLE children",
        "ALTER TABLE children ADD COLUMN more integer",
        "ALTER TABLE children RENAME COLUMN parent_id TO other",
    ],
)
def test_changed_tables_are_left_behind(reused: Reused, driver: str, change: str) -> None:
    first = reused.url(driver)
    with opened(reused, driver).begin() as connection:
        connection.execute(text(change))
    reused.empty()
    assert reused.url(driver) != first
    with opened(reused, driver).begin() as connection:
        assert add(connection) == [1, 1]
