"""Validate and write with the response model what SQL alone cannot."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from querywright.fetching.decode.text import read_json, verify
from querywright.fetching.model.annotations import is_struct, read_annotation, union_members

__all__ = ["Dump", "rewritten", "takes_options", "validate"]


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
