"""Send JSON bytes as they are, and describe them in OpenAPI by the model they were made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from starlette.responses import Response

from querywright.fetch import JsonBytes

__all__ = ["Json"]

Content = TypeVar("Content")


class Json(Response, Generic[Content]):
    """A response whose body is JSON that needs no more work.

    As a return annotation, ``Json[list[UserOut]]`` gives OpenAPI the schema of ``list[UserOut]``.

    Args:
        content: The bytes, from ``fetch(...).json()`` or ``json_one()``; a type checker compares their model.
        status_code: The status of the response; a ``status_code=`` of the route does not reach a ready response.
        headers: More headers.

    Example:
        >>> from querywright import JsonBytes
        >>> Json(JsonBytes(b'{"id":1}')).media_type
        'application/json'
    """

    media_type = "application/json"

    def __init__(
        self, content: JsonBytes[Content], status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(content, status_code=status_code, headers=headers)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Describe the response by its content."""
        arguments = get_args(source)
        return handler.generate_schema(arguments[0]) if arguments else core_schema.any_schema()
