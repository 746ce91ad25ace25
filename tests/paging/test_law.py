"""Whatever the rows and the statement: its pages are its rows in their order, or page() refuses it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.paging.databases import opened
from tests.paging.law import Figures, check
from tests.paging.rows import insert, worlds
from tests.paging.statements import Asked, statements

# Statements that are asked of the same rows.
STATEMENTS = 10


@pytest.mark.filterwarnings(
    "ignore:Dialect sqlite.* does .not. support Decimal",
    # A cross join is what some of them are.
    "ignore:SELECT statement has a cartesian product",
)
def test_pages_are_the_list(paged_url: str, page_batch: int, examples: int, figures: Figures) -> None:
    database = paged_url.partition("+")[0]
    asked_of = st.lists(st.tuples(statements(database), st.integers(1, 4)), min_size=STATEMENTS, max_size=STATEMENTS)
    with opened(paged_url) as run:
        # Not made smaller: that takes longer than to read the statement.
        @settings(
            max_examples=max(examples // STATEMENTS, 1),
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.reuse, Phase.generate],
        )
        @given(rows=worlds(database), raised=st.booleans(), asked=asked_of)
        def compare(rows: Any, raised: bool, asked: list[tuple[Asked, int]]) -> None:  # noqa: FBT001 - Hypothesis names it
            def work(connection: Any) -> None:
                insert(connection, rows, raised=raised)
                for each, size in asked:
                    note(f"{size} a page of {each.model.__name__}, {sorted(each.tags)}: {each.statement}")
                    check(connection, each, size, figures)

            run(work)

        compare()
