"""What MySQL's errors do to connections; a cluster that loses its quorum is not at hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from querywright.engine.databases.mysql import _lose


@pytest.mark.parametrize(
    ("number", "lost", "all_of_them"),
    [(1213, True, False), (1047, True, True), (1062, False, None), ("text", False, None)],
)
def test_which_errors_end_connections(number: Any, *, lost: bool, all_of_them: bool | None) -> None:
    context: Any = SimpleNamespace(
        original_exception=Exception(number), is_disconnect=False, invalidate_pool_on_disconnect=None
    )
    _lose(context)
    assert (context.is_disconnect, context.invalidate_pool_on_disconnect) == (lost, all_of_them)
