"""Querywright in a FastAPI application: lifespan, dependencies, JSON responses, error handlers, health routes."""

from querywright.fastapi.dependencies import Reader, SyncReader, SyncWriter, Writer
from querywright.fastapi.idempotency import IdempotentRoute
from querywright.fastapi.install import install
from querywright.fastapi.json import Json
from querywright.fastapi.lifespan import lifespan
from querywright.fastapi.writers import LateCommitWarning

__all__ = [
    "IdempotentRoute",
    "Json",
    "LateCommitWarning",
    "Reader",
    "SyncReader",
    "SyncWriter",
    "Writer",
    "install",
    "lifespan",
]
