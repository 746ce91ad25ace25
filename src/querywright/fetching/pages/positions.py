"""Where in an order a row stands: the values it is ordered by, as the database itself has them, and a cursor of them.

Nothing of a column's type is applied, for what a type makes of a value may not be the value that the database compares:
on SQLite a timestamp that CURRENT_TIMESTAMP wrote has other text than one that SQLAlchemy wrote.
"""

from __future__ import annotations

import datetime as dt
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from querywright.errors import ShapeError
from querywright.fetching.compile.keyset import parameter
from querywright.fetching.pages.cursors import foreign

__all__ = ["Position", "position_at", "read_position"]

# How a value of each class of Python is written, and read again; no type of a database has such a name.
_WRITTEN: dict[type, tuple[str, Callable[[Any], str]]] = {
    int: ("@integer", str),
    float: ("@float", repr),
    str: ("@text", str),
    bytes: ("@bytes", bytes.hex),
    Decimal: ("@decimal", str),
    dt.datetime: ("@timestamp", dt.datetime.isoformat),
    dt.date: ("@date", dt.date.isoformat),
    dt.timedelta: ("@interval", lambda value: str(value // dt.timedelta(microseconds=1))),
}
_READ: dict[str, Callable[[str], Any]] = {
    "@integer": int,
    "@float": float,
    "@bytes": bytes.fromhex,
    "@decimal": Decimal,
    "@timestamp": dt.datetime.fromisoformat,
    "@date": dt.date.fromisoformat,
    "@interval": lambda text: dt.timedelta(microseconds=int(text)),
}


@dataclass(frozen=True)
class Position:
    """The values that a row is ordered by.

    Attributes:
        values: For each its kind and its text; ``None`` for NULL.
    """

    values: tuple[tuple[str, str] | None, ...]

    @property
    def kinds(self) -> tuple[str | None, ...]:
        """The kind of each value, which the SQL of a page depends on."""
        return tuple(value and value[0] for value in self.values)

    @property
    def parameters(self) -> dict[str, Any]:
        """The values to bind; of a type of the database, the text that it casts."""
        found = ((parameter(n), value) for n, value in enumerate(self.values) if value is not None)
        return {name: _READ.get(kind, str)(text) for name, (kind, text) in found}

    def written(self) -> str:
        """Write it into a cursor."""
        return json.dumps(self.values, separators=(",", ":"))


def position_at(values: Sequence[Any], count: int, most: int | None = None) -> Position:
    """Take what a row of a page says of its position.

    Args:
        values: For each of its sorts a value, or a kind and a text.
        count: How many sorts there are.
        most: How many characters of a text are sorted, if not all.

    Raises:
        ShapeError: No cursor can hold a value.
    """
    if len(values) == count:
        return Position(tuple(None if value is None else _written(value, most) for value in values))
    pairs = zip(values[::2], values[1::2], strict=True)
    return Position(tuple(None if text is None else (kind, _number(kind, text)) for kind, text in pairs))


def _written(value: Any, most: int | None) -> tuple[str, str]:
    if type(value) not in _WRITTEN:
        reason = f"it is ordered by a value that the driver reads as {type(value).__name__}."
        raise ShapeError("statement", reason, hint="Order a list that has pages by numbers, texts or times.")
    if most is not None and isinstance(value, (str, bytes)) and len(value) > most:
        reason = f"it is ordered by a text of more than {most} characters, and the database sorts by no more."
        raise ShapeError("statement", reason, hint=f"Order it by func.left(column, {most}), or by another column.")
    kind, write = _WRITTEN[type(value)]
    return kind, write(value)


def _number(kind: str, text: str) -> str:
    """Write a float of PostgreSQL, which comes as its bits behind twelve bytes."""
    return repr(struct.unpack(_BITS[kind], bytes.fromhex(text)[12:])[0]) if kind in _BITS else text


_BITS = {"real": ">f", "double precision": ">d"}


def read_position(written: str, count: int) -> Position:
    """Read what a cursor holds.

    Raises:
        InvalidCursor: It is no position in an order of so many sorts.
    """
    try:
        values = [value if value is None else _pair(value) for value in json.loads(written)]
        position = Position(tuple(values))
        # As they are bound.
        _ = position.parameters
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        raise foreign() from None
    if len(values) != count:
        raise foreign()
    return position


def _pair(value: Any) -> tuple[str, str]:
    kind, text = value
    if not (isinstance(value, list) and isinstance(kind, str) and isinstance(text, str)):
        raise foreign()
    return kind, text
