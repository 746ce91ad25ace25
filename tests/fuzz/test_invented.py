"""Whatever the classes, rows, response models and statements: fetch equals the ORM and Pydantic."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.databases import emptied
from tests.fuzz.worlds import World, check, worlds


# SQLAlchemy's plain Numeric passes through a float on SQLite, and says so.
@pytest.mark.filterwarnings("ignore:Dialect sqlite.* does .not. support Decimal")
def test_fetch_equals_orm_and_pydantic(invented_url: str, batch: int, examples: int) -> None:
    with emptied(invented_url) as run:

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
        @given(world=worlds(invented_url.partition("+")[0]))
        def compare(world: World) -> None:
            run(lambda connection: check(connection, world))

        compare()
