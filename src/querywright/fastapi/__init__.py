"""Querywright in a FastAPI application: lifespan, dependencies, JSON responses, error handlers, health routes."""

from querywright.fastapi.dependencies import Reader, SyncReader, SyncWriter, Writer
from querywright.fastapi.install import install
from querywright.fastapi.json import Json
from querywright.fastapi.lifespan import lifespan

__all__ = ["Json", "Reader", "SyncReader", "SyncWriter", "Writer", "install", "lifespan"]
