from __future__ import annotations

import json
from typing import Any

import pytest

from querywright import InvalidValue
from querywright.engine.documents import DEEPEST, write_json


def nested(levels: int) -> Any:
    return None if levels == 0 else {"a": nested(levels - 1)} if levels % 2 else [nested(levels - 1)]


def circular() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": [1, 2.5, "é", "\0", "💩", '"\\', True]},
        "\\ud800",
        nested(DEEPEST),
        [nested(20) for _ in range(30)],
        {"[{" * DEEPEST: '"[{' * DEEPEST},
        [[]] * DEEPEST * 2,
        10**400,
    ],
)
def test_documents_are_written_as_json_does(value: Any) -> None:
    assert write_json(value) == json.dumps(value)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (float("nan"), "not finite"),
        ({"a": [float("-inf")]}, "not finite"),
        ("\ud800", "not Unicode"),
        ({"a": {"💩\udfff": 1}}, "not Unicode"),
        (nested(DEEPEST + 1), "more than 200 levels"),
        ([[nested(3)] * DEEPEST, nested(DEEPEST)], "more than 200 levels"),
        (nested(900), "more than 200 levels"),
        (circular(), "more than 200 levels"),
    ],
)
def test_documents_that_could_not_be_read_again(value: Any, told: str) -> None:
    with pytest.raises(InvalidValue, match=told):
        write_json(value)


def test_what_json_has_not_is_a_fault_of_the_application() -> None:
    with pytest.raises(TypeError):
        write_json({"a": object()})
