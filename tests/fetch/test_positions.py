"""What a cursor holds is read back as it was, or refused."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import pytest

from querywright import InvalidCursor, ShapeError
from querywright.fetching.pages.positions import position_at, read_position
from querywright.fetching.writers import writer_for

VALUES = [
    0, 2**63 - 1, 0.1 + 0.2, -0.0, math.inf, 5e-324, "", "a\x00é", b"\x00\xff", Decimal("1E+3"), Decimal("0.10"),
    dt.datetime(1, 1, 1, 0, 0, 0, 1), dt.date(9999, 12, 31), dt.timedelta(days=-3, microseconds=1),  # noqa: DTZ001 - as drivers read
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    written = position_at([value, None], 2).written()
    position = read_position(written, 2)
    [read] = position.parameters.values()
    assert (type(read), repr(read)) == (type(value), repr(value))
    assert position.kinds[1] is None


def test_a_float_of_postgresql_comes_as_its_bits() -> None:
    position = position_at(["double precision", "00000001000002bd000000083fd3333333333334", "real", None], 2)
    assert position.values == (("double precision", "0.30000000000000004"), None)


def test_what_no_cursor_can_hold() -> None:
    with pytest.raises(ShapeError, match="reads as complex"):
        position_at([1j], 1)
    with pytest.raises(ShapeError, match="a text of more than 3 characters"):
        position_at(["abcd"], 1, most=3)


MALFORMED = [
    "", "1", "null", "[", "[1]", "[[]]", '[{"a": 1}]', "[null, null]", "[[null, null], null]", '[["@float"]]',
    '[["@integer", "x"]]', '[["@bytes", "x"]]', '[["@decimal", "x"]]', '[["@timestamp", "x"]]', '[["@interval", ""]]',
]  # fmt: skip


@pytest.mark.parametrize("written", MALFORMED)
def test_malformed_positions(written: str) -> None:
    with pytest.raises(InvalidCursor):
        read_position(written, 1)


@pytest.mark.parametrize("kind", ["integer", '"bit"', 'a."B c"[]', "timestamp with time zone", "double precision[]"])
def test_names_of_types(kind: str) -> None:
    assert kind in str(writer_for("postgresql").cursor_parameter("p", kind))


@pytest.mark.parametrize(
    "kind", ["", "int; DROP TABLE a", "int)", '"a', "int -- ", "@integer", "a.b.c", "int(3)", "'a'"]
)
def test_names_that_are_no_types(kind: str) -> None:
    with pytest.raises(InvalidCursor):
        writer_for("postgresql").cursor_parameter("p", kind)
