"""Have the OpenAPI of an application tell which problems its routes answer with, and what a response may leave out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from copy import deepcopy
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exception_handlers import http_exception_handler
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from querywright.fastapi.code.routes import declared, in_context
from querywright.fastapi.errors.refusals import answers_problems, answers_standard
from querywright.fastapi.errors.schemas import (
    DESCRIPTIONS,
    MEDIA_TYPE,
    PROBLEM,
    RAISED,
    REF,
    RETRY_AFTER,
    SCHEMAS,
    STANDARD,
    STANDARD_CONTENT,
    UNREADABLE,
    VALIDATION_PROBLEM,
    narrowed,
)
from querywright.fastapi.openapi.promises import Promises, promises

__all__ = ["describe"]

Schema = dict[str, Any]
_FIRST_REDIRECTION = 300


def describe(app: FastAPI) -> None:
    """Add to what ``app.openapi()`` returns; what the application itself says of a response stays as it is."""
    generate = app.openapi
    described: Schema | None = None

    def openapi() -> Schema:
        nonlocal described
        schema = generate()
        # FastAPI returns the same one until there are other routes.
        if schema is not described:
            _Description(app, schema).write()
            described = schema
        return schema

    setattr(app, "openapi", openapi)  # noqa: B010 - what FastAPI's guide does, type checkers forbid


class _Description:
    """Writes into the schema of an application.

    Args:
        app: The application.
        schema: What FastAPI has generated.
    """

    def __init__(self, app: FastAPI, schema: Schema) -> None:
        self._app = app
        self._paths: Schema = schema.get("paths", {})
        self._schemas: Schema = schema.setdefault("components", {}).setdefault("schemas", {})
        self._names = {name: self._free(name) for name in SCHEMAS}

    def write(self) -> None:
        """Describe each operation, and keep the schemas that are used."""
        invalid = self._invalid()
        operations = list(self._operations())
        raised = [self._raised(operation, found) for operation, found in operations]
        for operation, found in operations:
            self._promise(operation["responses"], found, invalid)
        for operation in self._all():
            if "requestBody" in operation:
                operation["responses"].setdefault("400", deepcopy(UNREADABLE))
        if answers_problems(self._app):
            self._replace_standard(invalid)
        for (operation, _), statuses in zip(operations, raised, strict=True):
            _add_raised(operation["responses"], statuses)
        used = json.dumps([self._paths, self._schemas])
        added = {self._names[name]: schema for name, schema in SCHEMAS.items()} | STANDARD
        for name, schema in added.items():
            if f'"{REF}{name}"' in used:
                self._schemas.setdefault(name, deepcopy(schema))

    def _operations(self) -> Iterator[tuple[Schema, Promises]]:
        for route in in_context(self._app.routes):
            if not isinstance(declared(route), APIRoute):
                continue
            for method in route.methods or ():
                operation = self._paths.get(route.path_format, {}).get(method.lower())
                if operation is not None:
                    yield operation, promises(route.dependant, method)

    def _all(self) -> Iterator[Schema]:
        """Give every operation, whether it needs a database or not."""
        for each in (each for path in self._paths.values() for each in path.values()):
            if isinstance(each, dict) and "responses" in each:
                yield each

    def _promise(self, responses: Schema, found: Promises, invalid: Schema) -> None:
        """Describe the problems of an operation, and what its response may leave out."""
        for status in sorted(found.statuses):
            response = invalid if status is HTTPStatus.UNPROCESSABLE_ENTITY else self._problem(status)
            responses.setdefault(str(status.value), deepcopy(response))
        if found.narrowed:
            for good in (each for each in responses if each.isdigit() and int(each) < _FIRST_REDIRECTION):
                responses[good] = narrowed(responses[good], self._schemas)

    def _raised(self, operation: Schema, found: Promises) -> list[HTTPStatus]:
        """List the statuses of its HTTPExceptions that the application does not describe, or answer, itself."""
        if self._app.exception_handlers.get(HTTPException) is not http_exception_handler:
            return []
        own = {code for code, each in operation["responses"].items() if each.get("content") != STANDARD_CONTENT}
        return sorted(status for status in found.raised if str(status.value) not in own)

    def _problem(self, status: HTTPStatus) -> Schema:
        response: Schema = {"description": DESCRIPTIONS.get(status, status.phrase)}
        if status >= HTTPStatus.BAD_REQUEST:
            response["content"] = {MEDIA_TYPE: {"schema": {"$ref": REF + self._names[PROBLEM]}}}
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            response["headers"] = RETRY_AFTER
        return response

    def _invalid(self) -> Schema:
        """Describe a 422; the application's own handler for it may write anything."""
        described = {"description": DESCRIPTIONS[HTTPStatus.UNPROCESSABLE_ENTITY]}
        if answers_problems(self._app):
            schema = {"$ref": REF + self._names[VALIDATION_PROBLEM]}
            return {**described, "content": {MEDIA_TYPE: {"schema": schema}}}
        return {**described, "content": STANDARD_CONTENT} if answers_standard(self._app) else described

    def _replace_standard(self, invalid: Schema) -> None:
        """Let FastAPI's own description of a 422 say what is answered."""
        for operation in self._all():
            if operation["responses"].get("422", {}).get("content") == STANDARD_CONTENT:
                operation["responses"]["422"] = deepcopy(invalid)
        used = json.dumps([self._paths, {k: v for k, v in self._schemas.items() if k not in STANDARD}])
        for name in STANDARD:
            if f'"{REF}{name}"' not in used:
                self._schemas.pop(name, None)

    def _free(self, name: str) -> str:
        """Find a name for a schema, beside those of the application's own models."""
        taken = name in self._schemas and self._schemas[name] != SCHEMAS[name]
        return f"Querywright{name}" if taken else name


def _add_raised(responses: Schema, statuses: Iterable[HTTPStatus]) -> None:
    """Describe what is raised beside what is there for a status: the media types differ, or else the schemas."""
    for status in statuses:
        response = responses.setdefault(str(status.value), {"description": status.phrase})
        content: Schema = response.setdefault("content", {})
        there = content.get("application/json", {}).get("schema")
        schema = RAISED if there is None else {"anyOf": [there, RAISED]}
        content["application/json"] = {"schema": deepcopy(schema)}
