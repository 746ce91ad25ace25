"""Turn JSON text from the database into model instances or verified bytes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from querywright.errors import DatabaseError, InvalidRow
from querywright.fetch.annotations import is_struct, read_annotation, union_members
from querywright.fetch.unfinished import finish, without_capitals
from querywright.fetch.writers import CUT, FEW_DIGITS, MISSING, MISSING_WITHIN, NOT_JSON, SEVERAL, TOO_LARGE

__all__ = ["Dump", "read_json", "rewritten", "takes_options", "to_bytes", "validate", "verify", "write_json"]


@dataclass(frozen=True)
class Dump:
    """How the model writes its JSON, where SQL cannot.

    Attributes:
        by_alias: Use aliases as keys.
        exclude_none: Leave out what is ``None``.
    """

    by_alias: bool = True
    exclude_none: bool = False


class _Codec(Protocol):
    """Validates and writes one kind of models."""

    def validate_json(self, text: str, /) -> Any: ...

    def validate_python(self, value: Any, /) -> Any: ...

    def dump(self, value: Any, how: Dump, /) -> bytes: ...


class _Pydantic:
    """Models of Pydantic, dataclasses, TypedDicts, and unions of them."""

    def __init__(self, annotation: Any) -> None:
        self._adapter = TypeAdapter(annotation)
        self._validate_json: Callable[[str], Any] = self._adapter.validate_json

    def validate_json(self, text: str) -> Any:
        try:
            return self._validate_json(text)
        except ValidationError as error:
            if error.errors(include_url=False, include_input=False, include_context=False)[0]["type"] != "json_invalid":
                raise
        return self.validate_python(read_json(text))

    def validate_python(self, value: Any) -> Any:
        return self._adapter.validate_python(value, from_attributes=True)

    def dump(self, value: Any, how: Dump) -> bytes:
        return self._adapter.dump_json(value, by_alias=how.by_alias, exclude_none=how.exclude_none)


class _Msgspec:
    """Structs of msgspec, which is installed if there is one, and unions of them."""

    def __init__(self, annotation: Any) -> None:
        self._msgspec: Any = sys.modules["msgspec"]
        self._decode: Callable[[str], Any] = self._msgspec.json.Decoder(annotation).decode
        self._annotation = annotation

    def validate_json(self, text: str) -> Any:
        try:
            return self._decode(text)
        except self._msgspec.DecodeError:
            return self.validate_python(read_json(text))

    def validate_python(self, value: Any) -> Any:
        return self._msgspec.convert(value, self._annotation, from_attributes=True)

    def dump(self, value: Any, _how: Dump) -> bytes:
        written: bytes = self._msgspec.json.encode(value)
        return written


@lru_cache(maxsize=1024)
def _codec(model: Any, many: bool) -> _Codec:  # noqa: FBT001 - a key of the cache
    annotation: Any = list[model] if many else model
    wanted = read_annotation(model).type
    structs = any(map(is_struct, union_members(wanted) or (wanted,)))
    return _Msgspec(annotation) if structs else _Pydantic(annotation)


_TOO_LONG = (
    "The JSON is longer than the server's max_allowed_packet, or a group_concat_max_len that it keeps.",
    "Fetch fewer rows at once, or let the server have longer texts.",
)
# What the database found wrong with more than a row.
_FAULTS = {
    TOO_LARGE: _TOO_LONG,
    CUT: _TOO_LONG,
    NOT_JSON: ("A JSON column holds a text that is none.", "Look for it with json_valid()."),
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


def validate(model: Any, text: str, read: Callable[[Any], Any] | None, *, many: bool) -> Any:
    """Make model instances of a JSON array, or one of an object.

    Args:
        model: The response model.
        text: What the database wrote.
        read: Converts the parsed JSON of a row to what the model validates; by default it validates the JSON.
        many: Whether the text is an array.
    """
    codec = _codec(model, many)
    text = verify(text)
    if read is None:
        return codec.validate_json(text)
    parsed = read_json(text)
    return codec.validate_python([read(row) for row in parsed] if many else read(parsed))


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


def takes_options(model: Any) -> bool:
    """Return whether what writes a model leaves out ``None``, and writes names for aliases, if it is told to."""
    return isinstance(_codec(model, many=True), _Pydantic)


def rewritten(model: Any, text: str, read: Callable[[Any], Any] | None, how: Dump, *, many: bool) -> bytes:
    """Let the model write its JSON, as FastAPI would.

    Args:
        model: The response model.
        text: What the database wrote.
        read: Converts the parsed JSON of a row to what the model validates; by default it validates the JSON.
        how: How the model writes.
        many: Whether the text is an array.
    """
    codec = _codec(model, many)
    try:
        return codec.dump(validate(model, text, read, many=many), how)
    except (PydanticSerializationError, UnicodeEncodeError):
        masked = _masked(text)
        if masked == text:
            raise
    return _unmasked(codec.dump(validate(model, masked, read, many=many), how))


# Half of a surrogate pair: JSON has an escape for it, and UTF-8 has no bytes. For each there is a character for private
# use in its place while a model writes.
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|u([dD][89a-fA-F]..)|.)", re.DOTALL)
_MASK = 0x10F000 - 0xD800
_MASKS = re.compile(f"[{chr(0xD800 + _MASK)}-{chr(0xDFFF + _MASK)}]")


def _masked(text: str) -> str:
    if _MASKS.search(text):
        return text
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16) + _MASK) if found[1] else found[0], text)


def _unmasked(written: bytes) -> bytes:
    return _MASKS.sub(lambda found: f"\\u{ord(found[0]) - _MASK:04x}", written.decode()).encode()
