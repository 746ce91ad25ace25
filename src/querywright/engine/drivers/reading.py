"""How an argument for connecting is read of a URL, where the driver wants something else than a text."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from typing import Any, NamedTuple

from sqlalchemy.util import asbool

__all__ = ["NUMBER", "OBJECT", "SWITCH", "WHOLE", "WHOLE_OR_NONE", "Reader", "number_of"]


class Reader(NamedTuple):
    """How an argument for connecting is read of a text.

    Attributes:
        read: Reads it, or raises ValueError.
        wanted: What it has to be.
    """

    read: Callable[[str], Any]
    wanted: str


def _whole_or_none(text: str) -> int | None:
    return None if text.lower() == "none" else int(text)


def _no_object(_text: str) -> Any:
    raise ValueError


def number_of(value: Any) -> float:
    """Return a value of which nothing is known; if it is no number, one that lies between no others."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else nan


WHOLE = Reader(int, "a whole number")
WHOLE_OR_NONE = Reader(_whole_or_none, "a whole number, or none")
NUMBER = Reader(float, "a number")
SWITCH = Reader(asbool, "true or false")
OBJECT = Reader(_no_object, "given in connect_args, for it is no text")
