"""JSON that is written already, told apart from other bytes."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema

from querywright.errors import ConfigurationError

__all__ = ["JsonBytes"]

Content_co = TypeVar("Content_co", covariant=True)


class JsonBytes(bytes, Generic[Content_co]):
    """JSON as bytes; the parameter is the type that a client reads from them, for type checkers."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Be no field of a model and no response model: Pydantic would write the JSON as a string in JSON."""
        message = "JsonBytes is JSON that is written already, which Pydantic would write once more, as a string."
        hint = "In FastAPI, annotate and return Json: -> Json[list[UserOut]], return Json(await fetch(...).json())."
        raise ConfigurationError(message, hint=hint)
