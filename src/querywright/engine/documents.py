"""Write JSON for a column: only what every database and every client can read again."""

from __future__ import annotations

import json
from itertools import accumulate
from re import compile as pattern
from typing import Any

from querywright.errors import InvalidValue

__all__ = ["DEEPEST", "write_json"]

# Pydantic gives up at 255, and a document lies in a row, and the row in a list.
DEEPEST = 200
# The same text as json.dumps() writes; infinity and NaN are no JSON.
_encode = json.JSONEncoder(allow_nan=False, check_circular=False).encode
_STRING = pattern(rb'"(?:[^"\\]|\\.)*"')
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# As signed bytes: one level deeper, one level back.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


def write_json(value: Any) -> str:
    """Write a document.

    Raises:
        InvalidValue: It has a number that is not finite, half of a surrogate pair, or too many levels.
        TypeError: It has something that JSON has not.

    Example:
        >>> write_json({"a": [1, None]})
        '{"a": [1, null]}'
    """
    try:
        text = _encode(value)
        if "\\ud" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidValue("A text in a JSON document is not Unicode.") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise InvalidValue("A number in a JSON document is not finite.") from None
    if text.count("[") + text.count("{") > DEEPEST and _depth(text.encode()) > DEEPEST:
        raise _too_deep()
    return text


def _depth(text: bytes) -> int:
    brackets = _STRING.sub(b"", text).translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(brackets).cast("b")), default=0)


def _too_deep() -> InvalidValue:
    return InvalidValue(f"A JSON document has more than {DEEPEST} levels.")
