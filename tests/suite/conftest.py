"""Databases filled with the tables of a module."""

from __future__ import annotations

import pytest

from querywright.models import mixins
from tests.suite.bank import BankBase
from tests.suite.outboxes import Broker, outbox
from tests.suite.support import AnyDatabase, add
from tests.suite.zoo import ZooBase, a_zoo
from tests.tables import needs


@pytest.fixture
@needs(ZooBase.metadata)
async def zoo(db: AnyDatabase) -> AnyDatabase:
    """A zoo with cats, dogs and keepers."""
    await add(db, *a_zoo())
    return db


@pytest.fixture
@needs(BankBase.metadata)
async def bank(db: AnyDatabase, monkeypatch: pytest.MonkeyPatch) -> AnyDatabase:
    """A bank without accounts, whose versions begin with 1."""
    monkeypatch.setattr(mixins, "_FIRST_VERSIONS", 1)
    return db


@pytest.fixture
@needs(outbox.table.metadata)
async def box(db: AnyDatabase) -> AnyDatabase:
    """A database with an outbox."""
    return db


@pytest.fixture
def broker() -> Broker:
    return Broker()
