"""Finish what SQL leaves to Python, because no function of the database writes it as Python does."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from pydantic_core import to_json

from querywright.fetching.writers import UNFINISHED

__all__ = ["finish", "without_capitals"]

_NUMBER = re.compile(f"{UNFINISHED}([a-z])([^{UNFINISHED}]*){UNFINISHED}")


_ESCAPE = re.compile(r"\\(?:u00[01][0-9A-F]|.)")


def finish(text: str) -> str:
    """Write every number that was left to Python."""
    return _NUMBER.sub(_written, text) if UNFINISHED in text else text


def without_capitals(text: str) -> str:
    """Write the escapes of control characters as Python does."""
    return _ESCAPE.sub(_lower, text) if r"\u00" in text else text


def _lower(match: re.Match[str]) -> str:
    return match[0].lower() if match[0][1] == "u" else match[0]


def _written(match: re.Match[str]) -> str:
    return _HOW[match[1]](match[2])


def _float(number: str) -> str:
    return to_json(float(number)).decode()


def _rounded(rest: str) -> str:
    """Give as many decimals to a float as SQLAlchemy's Numeric does."""
    digits, _, number = rest.partition(":")
    return str(Decimal(f"{float(number):.{digits}f}"))


def _scaled(rest: str) -> str:
    """Put the point into an integer."""
    scale, _, units = rest.partition(":")
    return str(Decimal(units).scaleb(-int(scale)))


_HOW: dict[str, Callable[[str], str]] = {
    "f": _float,
    "n": _rounded,
    "d": _scaled,
    "s": lambda number: str(Decimal(number)),
}
