"""What is known of a driver or a database is found by the dialect, and of others nothing is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine

from querywright.engine.databases.lookup import BACKENDS, backend_of
from querywright.engine.drivers.driver import Driver
from querywright.engine.drivers.lookup import _DRIVERS, driver_for, driver_of_error


def dialect(name: str, driver: str, *, asynchronous: bool = False) -> Any:
    return SimpleNamespace(name=name, driver=driver, is_async=asynchronous)


def test_a_driver_of_another_database_is_not_taken_for_ours() -> None:
    assert type(driver_for(dialect("cockroachdb", "psycopg"))) is Driver
    assert type(driver_for(dialect("postgresql", "psycopg"))) is not Driver
    assert type(driver_for(dialect("cockroachdb", "psycopg"))) is Driver


@pytest.mark.parametrize("name", _DRIVERS)
def test_every_registered_driver_is_found(name: str) -> None:
    database, _, driver = name.partition("+")
    registered = _DRIVERS[name]
    for asynchronous in (False, True):
        if registered.asynchronous if asynchronous else registered.sync:
            found = driver_for(dialect(database, driver, asynchronous=asynchronous))
            assert found is registered.load(asynchronous=asynchronous)
            assert type(found) is not Driver
    assert type(registered.load()) is not Driver


def test_sqlalchemys_own_name_of_an_asynchronous_driver() -> None:
    wanted = driver_for(dialect("postgresql", "psycopg", asynchronous=True))
    assert driver_for(dialect("postgresql", "psycopg_async", asynchronous=True)) is wanted


def test_of_an_unknown_database_nothing_is_known() -> None:
    backend = backend_of(dialect("oracle", "oracledb"))
    assert (backend.name, backend.rules, backend.snapshot, backend.advisory_lock) == ("oracle", None, {}, None)
    assert driver_of_error(ValueError()) is None


def test_each_database_has_a_record_and_the_name_of_its_dialect() -> None:
    assert {name.partition("+")[0] for name in _DRIVERS} == BACKENDS.keys()
    engine = create_engine("sqlite+pysqlite://")
    assert backend_of(engine.dialect) is BACKENDS["sqlite"]
    engine.dispose()
