"""Run what tests do with psycopg, in databases that are not asynchronous, on psycopg2 instead: with --psycopg2."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from querywright import DatabaseSettings
from querywright.engine import create_sync_engine
from querywright.session import database

_instead = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--psycopg2", action="store_true", help="test psycopg2 where psycopg would be, unless in asyncio")


def pytest_configure(config: pytest.Config) -> None:
    global _instead  # noqa: PLW0603 - of the process
    _instead = bool(config.getoption("--psycopg2"))
    if _instead:
        replaced: Any = database
        replaced.create_sync_engine = _create


def synchronous(url: str) -> str:
    """Name the driver that is tested in the URL of a plain engine."""
    return url.replace("postgresql+psycopg:", "postgresql+psycopg2:") if _instead else url


def _create(settings: DatabaseSettings) -> Engine:
    url = SecretStr(synchronous(settings.url.get_secret_value()))
    return create_sync_engine(settings.model_copy(update={"url": url}))
