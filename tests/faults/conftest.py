"""What the fault tests share: a network to break in front of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from querywright.testing import EmbeddedPostgres
from tests.faults.proxy import Proxy


@pytest.fixture
def proxy(postgres: EmbeddedPostgres) -> Iterator[Proxy]:
    """A proxy in front of the PostgreSQL of this process."""
    with Proxy(postgres.port) as running:
        yield running
