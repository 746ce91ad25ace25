"""Name what to install where FastAPI is missing."""

from __future__ import annotations

from importlib.util import find_spec

from querywright.errors import MissingExtra

__all__: list[str] = []

if find_spec("fastapi") is None:
    raise MissingExtra("fastapi", "fastapi")
