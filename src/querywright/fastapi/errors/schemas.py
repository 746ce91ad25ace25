"""What OpenAPI says of problems, and of responses that leave out what a client did not ask for."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi.openapi.utils import validation_error_definition, validation_error_response_definition

__all__ = [
    "DESCRIPTIONS", "MEDIA_TYPE", "PROBLEM", "RAISED", "REF", "RETRY_AFTER", "SCHEMAS", "STANDARD", "STANDARD_CONTENT",
    "UNREADABLE", "VALIDATION_PROBLEM", "narrowed",
]  # fmt: skip

Schema = dict[str, Any]

REF = "#/components/schemas/"
MEDIA_TYPE = "application/problem+json"
PROBLEM, VALIDATION_PROBLEM = "ProblemDetails", "ValidationProblemDetails"
# FastAPI's own format of a 422.
STANDARD: Schema = {
    "HTTPValidationError": validation_error_response_definition,
    "ValidationError": validation_error_definition,
}
STANDARD_CONTENT: Schema = {"application/json": {"schema": {"$ref": f"{REF}HTTPValidationError"}}}
# What FastAPI answers to bytes that are no text, and does not say.
UNREADABLE: Schema = {
    "description": "The body cannot be read.",
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
        }
    },
}
# What FastAPI makes of an HTTPException.
RAISED: Schema = {"type": "object", "required": ["detail"], "properties": {"detail": {}}}
RETRY_AFTER: Schema = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
DESCRIPTIONS = {
    HTTPStatus.NOT_MODIFIED: "The client has it as it is.",
    HTTPStatus.NOT_FOUND: "There is no such row.",
    HTTPStatus.CONFLICT: "It contradicts another row, or somebody else has changed the row meanwhile.",
    HTTPStatus.PRECONDITION_FAILED: "The row is not one that the client may change.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The request does not fit.",
    HTTPStatus.PRECONDITION_REQUIRED: "The request has to say which version it means.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database cannot serve now; try again later.",
}

_MEMBERS: Schema = {
    "type": {"type": "string"},
    "title": {"type": "string"},
    "status": {"type": "integer"},
    "detail": {"type": "string"},
}
_ERROR: Schema = {
    "type": "object",
    "required": ["loc", "msg", "type"],
    "properties": {
        "loc": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
        "msg": {"type": "string"},
        "type": {"type": "string"},
    },
}
SCHEMAS: Schema = {
    PROBLEM: {
        "type": "object",
        "title": PROBLEM,
        "description": "What went wrong (RFC 9457).",
        "required": ["type", "title", "status"],
        "properties": _MEMBERS,
    },
    VALIDATION_PROBLEM: {
        "type": "object",
        "title": VALIDATION_PROBLEM,
        "description": "What of a request does not fit (RFC 9457).",
        "required": ["type", "title", "status", "detail", "errors"],
        "properties": {**_MEMBERS, "errors": {"type": "array", "items": _ERROR}},
    },
}
# Of a page the client narrows the rows.
_PAGE = {"items", "total", "next", "previous"}


def narrowed(schema: Any, schemas: Schema) -> Any:
    """Copy a schema, and those that it refers to, so that every member of an object may be absent.

    Args:
        schema: A schema, or what contains some.
        schemas: Those that have a name; the copies are added.
    """
    if isinstance(schema, list):
        return [narrowed(each, schemas) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(name := schema.get("$ref"), str) and name.startswith(REF):
        return {**schema, "$ref": REF + _copied(name.removeprefix(REF), schemas)}
    members = schema.get("properties")
    left_out = {"discriminator"} if not isinstance(members, dict) or members.keys() == _PAGE else {"required"}
    copied = {key: narrowed(value, schemas) for key, value in schema.items() if key not in left_out}
    # Which of several it is, a member tells that may be absent.
    return {"anyOf" if key == "oneOf" else key: value for key, value in copied.items()}


def _copied(name: str, schemas: Schema) -> str:
    copy = f"{name}Sparse"
    if copy not in schemas:
        # Before its members, for it may refer to itself.
        schemas[copy] = {}
        schemas[copy] = narrowed(schemas[name], schemas)
        if schemas[copy] == schemas[name]:
            # Nothing of it may be absent, such as an enum.
            del schemas[copy]
            return name
        if "title" in schemas[copy]:
            schemas[copy]["title"] = f"{schemas[copy]['title']}Sparse"
    return copy
