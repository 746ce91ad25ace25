"""Turn JSON text from the database into model instances or verified bytes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json, to_json

from querywright.errors import InvalidRow
from querywright.fetch.json import MISSING

__all__ = ["dump_array", "dump_object", "to_bytes", "validate_array", "validate_object", "verify"]


@lru_cache(maxsize=1024)
def _array_of(model: type[BaseModel]) -> TypeAdapter[list[Any]]:
    return TypeAdapter(list[model])  # type: ignore[valid-type]


def verify(text: str) -> str:
    """Return the text if every row in it had the values that its model requires.

    Raises:
        InvalidRow: One had not.
    """
    if MISSING in text:
        raise InvalidRow(text.split(MISSING, 2)[1])
    return text


def to_bytes(text: str, *, documents: bool) -> bytes:
    """Make bytes for a client.

    Args:
        text: What the database wrote.
        documents: Whether stored JSON is in it. Python stores NaN and Infinity in SQLite as such, which is no JSON;
            Pydantic writes null.
    """
    verify(text)
    if documents and ("NaN" in text or "Infinity" in text):
        return to_json(from_json(text), inf_nan_mode="null")
    return text.encode()


def validate_array(model: type[BaseModel], text: str) -> list[Any]:
    """Make model instances of a JSON array."""
    return _array_of(model).validate_json(verify(text))


def validate_object(model: type[BaseModel], text: str) -> Any:
    """Make a model instance of a JSON object."""
    return model.model_validate_json(verify(text))


def dump_array(model: type[BaseModel], text: str) -> bytes:
    """Let the model validate and write an array, as FastAPI would."""
    return _array_of(model).dump_json(validate_array(model, text), by_alias=True)


def dump_object(model: type[BaseModel], text: str) -> bytes:
    """Let the model validate and write an object, as FastAPI would."""
    instance: BaseModel = validate_object(model, text)
    return instance.model_dump_json(by_alias=True).encode()
