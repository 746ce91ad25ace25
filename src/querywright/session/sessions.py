"""SQLAlchemy's sessions with one more verb: fetch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import sqlalchemy.ext.asyncio
import sqlalchemy.orm
from sqlalchemy import Select

from querywright.fetch import AsyncFetch, Fetch
from querywright.fetch import fetch as fetch_from
from querywright.fetch.form import Strategy

__all__ = ["AsyncSession", "Session"]

Model = TypeVar("Model")


class Session(sqlalchemy.orm.Session):
    """A SQLAlchemy `Session` that can `fetch`."""

    def fetch(
        self,
        model: type[Model],
        statement: Select[Any],
        parameters: Mapping[str, Any] | None = None,
        *,
        fields: str | None = None,
        strategy: Strategy = "auto",
    ) -> Fetch[Model]:
        """Fetch rows in the shape of a response model, in this session's transaction and after a flush.

        See `querywright.fetch`.
        """
        return fetch_from(self, model, statement, parameters, fields=fields, strategy=strategy)


class AsyncSession(sqlalchemy.ext.asyncio.AsyncSession):
    """A SQLAlchemy `AsyncSession` that can `fetch`."""

    sync_session_class = Session

    def fetch(
        self,
        model: type[Model],
        statement: Select[Any],
        parameters: Mapping[str, Any] | None = None,
        *,
        fields: str | None = None,
        strategy: Strategy = "auto",
    ) -> AsyncFetch[Model]:
        """Fetch rows in the shape of a response model, in this session's transaction and after a flush.

        See `querywright.fetch`.
        """
        return fetch_from(self, model, statement, parameters, fields=fields, strategy=strategy)
