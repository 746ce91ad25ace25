"""Finish the numbers that SQL leaves to Python, because no function of the database writes them as Python does."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from pydantic_core import to_json

from querywright.fetch.writers import UNFINISHED

__all__ = ["finish"]

_NUMBER = re.compile(f"{UNFINISHED}([a-z])([^{UNFINISHED}]*){UNFINISHED}")


def finish(text: str) -> str:
    """Write every number that was left to Python."""
    return _NUMBER.sub(_written, text) if UNFINISHED in text else text


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


_HOW: dict[str, Callable[[str], str]] = {"f": _float, "n": _rounded, "d": _scaled}
