"""Turn JSON text from the database into model instances or verified bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from querywright.errors import DatabaseError, InvalidRow
from querywright.fetch.annotations import is_struct
from querywright.fetch.unfinished import finish, without_capitals
from querywright.fetch.writers import MISSING, TOO_LARGE

__all__ = ["Dump", "dump", "to_bytes", "validate", "verify"]


@dataclass(frozen=True)
class Dump:
    """How the model writes its JSON, where SQL cannot.

    Attributes:
        by_alias: Use aliases as keys.
        exclude_none: Leave out what is ``None``.
        include: Write only these fields; in the form that Pydantic takes for one instance.
    """

    by_alias: bool = True
    exclude_none: bool = False
    include: dict[str, Any] | None = None


class _Codec(Protocol):
    """Validates and writes one kind of models."""

    def validate_json(self, text: str, /) -> Any: ...

    def validate_python(self, value: Any, /) -> Any: ...

    def dump(self, value: Any, how: Dump, /) -> bytes: ...


class _Pydantic:
    """Models of Pydantic, dataclasses, TypedDicts, and unions of them."""

    def __init__(self, annotation: Any) -> None:
        adapter = TypeAdapter(annotation)
        self.validate_json: Callable[[str], Any] = adapter.validate_json
        self.validate_python: Callable[[Any], Any] = adapter.validate_python
        self._dump = adapter.dump_json

    def dump(self, value: Any, how: Dump) -> bytes:
        include: Any = how.include
        if include is not None and isinstance(value, list):
            include = {"__all__": include}
        return self._dump(value, by_alias=how.by_alias, exclude_none=how.exclude_none, include=include)


class _Msgspec:
    """Structs of msgspec, which is installed if there is one."""

    def __init__(self, annotation: Any) -> None:
        msgspec: Any = sys.modules["msgspec"]
        self.validate_json: Callable[[str], Any] = msgspec.json.Decoder(annotation).decode
        self._convert: Callable[..., Any] = msgspec.convert
        self._annotation = annotation
        self._encode: Callable[[Any], bytes] = msgspec.json.encode

    def validate_python(self, value: Any) -> Any:
        return self._convert(value, self._annotation)

    def dump(self, value: Any, _how: Dump) -> bytes:
        return self._encode(value)


@lru_cache(maxsize=1024)
def _codec(model: Any, many: bool) -> _Codec:  # noqa: FBT001 - a key of the cache
    annotation: Any = list[model] if many else model
    return _Msgspec(annotation) if is_struct(model) else _Pydantic(annotation)


def verify(text: str) -> str:
    """Return the text, whole, if every row in it had the values that its model requires.

    Raises:
        InvalidRow: One had not.
        DatabaseError: The text was longer than the database makes them.
    """
    if MISSING in text:
        path = text.split(MISSING, 2)[1]
        if path == TOO_LARGE:
            message = "The JSON is longer than the server's max_allowed_packet."
            raise DatabaseError(message, hint="Fetch fewer rows at once, or let the server have longer packets.")
        raise InvalidRow(path)
    return finish(text)


def to_bytes(text: str, *, documents: bool, capitals: bool = False) -> bytes:
    """Make bytes for a client.

    Args:
        text: What the database wrote.
        documents: Whether stored JSON is in it, which is written as it is stored: with spaces, escapes and numbers of
            whoever wrote it, and with NaN, which Python stores in SQLite, and for which Pydantic writes null.
        capitals: Whether the escapes of control characters have hexadecimal digits in capitals.
    """
    text = verify(text)
    if capitals:
        text = without_capitals(text)
    if not documents:
        return text.encode()
    try:
        return to_json(from_json(text), inf_nan_mode="null")
    except ValueError:
        # It may hold half of a surrogate pair.
        return text.encode()


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
    parsed = from_json(text)
    return codec.validate_python([read(row) for row in parsed] if many else read(parsed))


def dump(model: Any, value: Any, how: Dump, *, many: bool) -> bytes:
    """Let the model write its JSON, as FastAPI would."""
    return _codec(model, many).dump(value, how)
