"""Querywright in a FastAPI application: lifespan, dependencies, JSON, entity tags, error handlers, health routes."""

from querywright.fastapi import extra as _extra  # isort: skip  # noqa: F401 - before what imports FastAPI
from querywright.fastapi.code.writers import LateCommitWarning
from querywright.fastapi.dependencies import (
    KeepingWriter,
    Reader,
    SyncKeepingWriter,
    SyncReader,
    SyncWriter,
    Writer,
)
from querywright.fastapi.idempotency.route import IdempotentRoute, everybody
from querywright.fastapi.install import install
from querywright.fastapi.lifespan import lifespan
from querywright.fastapi.responses.etags import IfMatch, IfNoneMatch, OptionalIfMatch, etag
from querywright.fastapi.responses.json import Json, JsonStream

__all__ = [
    "IdempotentRoute",
    "IfMatch",
    "IfNoneMatch",
    "Json",
    "JsonStream",
    "KeepingWriter",
    "LateCommitWarning",
    "OptionalIfMatch",
    "Reader",
    "SyncKeepingWriter",
    "SyncReader",
    "SyncWriter",
    "Writer",
    "etag",
    "everybody",
    "install",
    "lifespan",
]
