"""The verbs of a fetch on an asyncio driver: the same as `Fetch`, to await."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, Generic, TypeVar

from sqlalchemy.util import greenlet_spawn

from querywright.fetching.compile.page import Page
from querywright.fetching.decode.written import JsonBytes
from querywright.fetching.execute.query import Query
from querywright.fetching.execute.run import Bind
from querywright.fetching.plan.report import PlanReport
from querywright.fetching.streaming import BATCH
from querywright.fetching.verbs import Fetch

__all__ = ["AsyncFetch"]

Model = TypeVar("Model")
Item = TypeVar("Item")


class AsyncFetch(Generic[Model]):
    """The same as `Fetch`, with verbs to await."""

    __slots__ = ("_fetch",)

    def __init__(self, bind: Bind, query: Query) -> None:
        self._fetch: Fetch[Model] = Fetch(bind, query)

    async def all(self) -> list[Model]:
        """Return a model instance for each row."""
        return await greenlet_spawn(self._fetch.all)

    async def one(self) -> Model:
        """Return the only row.

        Raises:
            NotFound: There is none.
            MultipleFound: There are more.
        """
        return await greenlet_spawn(self._fetch.one)

    async def one_or_none(self) -> Model | None:
        """Return the only row, or ``None`` if there is none.

        Raises:
            MultipleFound: There are more.
        """
        return await greenlet_spawn(self._fetch.one_or_none)

    async def first(self) -> Model | None:
        """Return the first row, or ``None`` if there is none."""
        return await greenlet_spawn(self._fetch.first)

    async def json(self, *, by_alias: bool = True, exclude_none: bool = False) -> JsonBytes[list[Model]]:
        """Return all rows as one JSON array, written by the database.

        If the model has validators, serializers or computed fields, it writes the JSON itself: slower, same content.

        Args:
            by_alias: Use the fields' aliases as keys.
            exclude_none: Leave out fields that are ``None``.
        """
        return await greenlet_spawn(self._fetch.json, by_alias=by_alias, exclude_none=exclude_none)

    async def json_one(self, *, by_alias: bool = True, exclude_none: bool = False) -> JsonBytes[Model]:
        """Return the only row as a JSON object.

        Args:
            by_alias: Use the fields' aliases as keys.
            exclude_none: Leave out fields that are ``None``.

        Raises:
            NotFound: There is none.
            MultipleFound: There are more.
        """
        return await greenlet_spawn(self._fetch.json_one, by_alias=by_alias, exclude_none=exclude_none)

    async def page(
        self,
        *,
        size: int,
        after: str | None = None,
        before: str | None = None,
        number: int | None = None,
        total: bool = True,
    ) -> Page[Model]:
        """Return one page of the rows, the number of all of them, and cursors to the pages around it.

        Rows are ordered as the statement says, and equal ones by their primary key. A page by cursor costs the same
        wherever it is, and stays right while rows come and go; a page by number can be jumped to.

        Args:
            size: Rows of a page, 1 to 1,000.
            after: The ``next`` of the page before; an empty one is as none.
            before: The ``previous`` of the page behind; an empty one is as none.
            number: The number of the page, from 1, instead of a cursor.
            total: Whether to count all rows.

        Raises:
            InvalidPage: The size or number is out of bounds.
            InvalidCursor: A cursor was changed, or belongs to a list in another order.
        """
        return await greenlet_spawn(self._fetch.page, size=size, after=after, before=before, number=number, total=total)

    async def json_page(
        self,
        *,
        size: int,
        after: str | None = None,
        before: str | None = None,
        number: int | None = None,
        total: bool = True,
    ) -> JsonBytes[Page[Model]]:
        """Return one page as a JSON object, its rows written by the database.

        Args:
            size: Rows of a page, 1 to 1,000.
            after: The ``next`` of the page before; an empty one is as none.
            before: The ``previous`` of the page behind; an empty one is as none.
            number: The number of the page, from 1, instead of a cursor.
            total: Whether to count all rows.

        Raises:
            InvalidPage: The size or number is out of bounds.
            InvalidCursor: A cursor was changed, or belongs to a list in another order.
        """
        return await greenlet_spawn(
            self._fetch.json_page, size=size, after=after, before=before, number=number, total=total
        )

    def stream(self, *, batch: int = BATCH) -> AsyncIterator[Model]:
        """Read model instances as they are needed, through a cursor of the server; memory holds one batch.

        Args:
            batch: Rows that are read at once.
        """
        return _awaiting(self._fetch.stream(batch=batch))

    def stream_json(self, *, lines: bool = False, batch: int = BATCH) -> AsyncIterator[bytes]:
        """Read all rows as pieces of one JSON array, through a cursor of the server; memory holds one batch.

        Args:
            lines: Write one row on each line, without brackets and commas (NDJSON), instead of an array.
            batch: Rows that are read at once.
        """
        return _awaiting(self._fetch.stream_json(lines=lines, batch=batch))

    async def exists(self) -> bool:
        """Return whether there is any row."""
        return await greenlet_spawn(self._fetch.exists)

    async def count(self) -> int:
        """Count the rows."""
        return await greenlet_spawn(self._fetch.count)

    def sql(self) -> str:
        """Return the SQL that `json` sends, with placeholders; nothing is run."""
        return self._fetch.sql()

    async def explain(self, *, analyze: bool = False) -> str:
        """Return how the database would run what `json` sends.

        Args:
            analyze: Whether to run it, and tell how long each step took.
        """
        return await greenlet_spawn(self._fetch.explain, analyze=analyze)

    def explain_plan(self) -> PlanReport:
        """Return, field by field, what fills it, and whether SQL or the model writes it; nothing is run."""
        return self._fetch.explain_plan()


async def _awaiting(iterator: Iterator[Item]) -> AsyncGenerator[Item, None]:
    """Take the items of an iterator that waits for the database."""
    done = object()

    def step() -> Any:
        return next(iterator, done)

    try:
        while (item := await greenlet_spawn(step)) is not done:
            yield item
    finally:
        # A cancelled task has to give its connection back as well.
        await asyncio.shield(asyncio.ensure_future(greenlet_spawn(iterator.close)))  # type: ignore[attr-defined]
