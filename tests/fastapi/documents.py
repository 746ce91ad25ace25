"""What OpenAPI says of a route, and the database of an application that is asked for nothing else."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from querywright import AsyncDatabase

unused = AsyncDatabase("sqlite+aiosqlite:///never-opened.db")


def documented(app: FastAPI, path: str, method: str) -> dict[str, Any]:
    operation: dict[str, Any] = app.openapi()["paths"][path][method]
    return operation
