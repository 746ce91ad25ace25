"""Databases filled with the tables of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.suite.bank import BankBase
from tests.suite.support import AnyDatabase, add, run_sync, transaction
from tests.suite.zoo import ZooBase, a_zoo


@pytest.fixture
async def zoo(db: AnyDatabase) -> AsyncIterator[AnyDatabase]:
    """A zoo with cats, dogs and keepers."""
    async with transaction(db) as tx:
        await run_sync(tx, lambda sync: ZooBase.metadata.create_all(sync.connection()))
    for row in a_zoo():
        await add(db, row)
    yield db
    async with transaction(db) as tx:
        await run_sync(tx, lambda sync: ZooBase.metadata.drop_all(sync.connection()))


@pytest.fixture
async def bank(db: AnyDatabase) -> AsyncIterator[AnyDatabase]:
    """A bank without accounts."""
    async with transaction(db) as tx:
        await run_sync(tx, lambda sync: BankBase.metadata.create_all(sync.connection()))
    yield db
    async with transaction(db) as tx:
        await run_sync(tx, lambda sync: BankBase.metadata.drop_all(sync.connection()))
