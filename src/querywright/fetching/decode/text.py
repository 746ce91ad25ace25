"""Read the text that a database has written: find broken rows, make bytes for a client, parse it."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from querywright.errors import DatabaseError, InvalidRow
from querywright.fetching.decode.unfinished import finish, without_capitals
from querywright.fetching.writers import CUT, FEW_DIGITS, MISSING, MISSING_WITHIN, NOT_JSON, SEVERAL, TOO_LARGE

__all__ = ["read_json", "to_bytes", "verify", "write_json"]


_TOO_LONG = (
    "The JSON is longer than the server's max_allowed_packet, or a group_concat_max_len that it keeps.",
    "Fetch fewer rows at once, or let the server have longer texts.",
)
# What the database found wrong with more than a row.
_FAULTS = {
    TOO_LARGE: _TOO_LONG,
    CUT: _TOO_LONG,
    NOT_JSON: ("A JSON column holds a text that is not JSON.", "Look for it with json_valid()."),
    SEVERAL: (
        "A key of Grouped has several rows, and the field's type one for each.",
        "Annotate it as dict[K, list[Model]], or choose one of them by where=.",
    ),
    FEW_DIGITS: ("The session's extra_float_digits is below 1: PostgreSQL cuts numbers off.", "Leave it at 1."),
}


def verify(text: str) -> str:
    """Return the text, whole, if every row in it had the values that its model requires.

    Raises:
        InvalidRow: One had not.
        DatabaseError: The text was longer than the database makes them, or it cannot write a value as it is.
    """
    if MISSING in text:
        path = text.split(MISSING, 2)[1]
        if path in _FAULTS:
            message, hint = _FAULTS[path]
            raise DatabaseError(message, hint=hint)
        raise InvalidRow(path)
    # One character is found much faster than a word.
    if "\\" in text and MISSING_WITHIN in text:
        raise InvalidRow(text.split(MISSING_WITHIN, 2)[1])
    return finish(text)


def _require_finite(text: str | bytes) -> None:
    """Refuse a number that is no JSON.

    Raises:
        InvalidRow: An infinite one is in a column of integers.
    """
    if not isinstance(text, str) or "I" not in text or not _may_have_infinity(text):
        return
    # Within a text it is harmless.
    if any(found[0] == _INFINITY for found in _STRING_OR_INFINITY.finditer(text)):
        raise InvalidRow("an integer that is infinite")


_INFINITY = "Inf"
_STRING_OR_INFINITY = re.compile(r'"(?:[^"\\]|\\.)*"|Inf', re.DOTALL)


def _may_have_infinity(text: str) -> bool:
    """Return whether one stands where a number may; a regular expression takes ten times as long to find the word."""
    at = text.find(_INFINITY)
    while at >= 0:
        if text[at - 1] in ":[,-" and text[at + len(_INFINITY)] in ",]}":
            return True
        at = text.find(_INFINITY, at + 1)
    return False


def to_bytes(text: str, *, documents: bool, capitals: bool = False, bare_infinity: bool = False) -> bytes:
    """Make bytes for a client.

    Args:
        text: What the database wrote.
        documents: Whether stored JSON is in it, with the spaces, escapes and numbers of whoever wrote it, and with NaN,
            which Python stores in SQLite. It is written as Pydantic does, and as it is where no parser takes it: half
            of a surrogate pair, or objects too deep inside each other.
        capitals: Whether the escapes of control characters have hexadecimal digits in capitals.
        bare_infinity: Whether an infinite number is ``Inf``, which is no JSON.
    """
    text = verify(text)
    if bare_infinity:
        _require_finite(text)
    if capitals:
        text = without_capitals(text)
    if not documents:
        return text.encode()
    try:
        return to_json(from_json(text), inf_nan_mode="null")
    except ValueError:
        return _without_nan(text)


# A string, to be left alone, or what Python writes and JSON does not have.
_STRING_OR_NAN = re.compile(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity', re.DOTALL)


def _without_nan(text: str) -> bytes:
    return _STRING_OR_NAN.sub(lambda found: found[0] if found[0][0] == '"' else "null", text).encode()


def read_json(text: str | bytes) -> Any:
    """Parse JSON, also what is stored."""
    try:
        return from_json(text)
    except ValueError:
        _require_finite(text)
        # Stored JSON may hold half of a surrogate pair, or be nested deeper than this parser goes.
        return json.loads(text)


def write_json(value: Any) -> bytes:
    """Write JSON, also what UTF-8 has no bytes for."""
    try:
        return to_json(value, inf_nan_mode="null")
    except PydanticSerializationError:
        return _without_nan(json.dumps(value, separators=(",", ":")))
