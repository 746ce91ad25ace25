"""The verbs of a fetch: what `Fetch` can return, each with one SQL statement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from querywright.errors import NotFound
from querywright.fetching.compile.form import Form
from querywright.fetching.compile.page import Page
from querywright.fetching.counting import count, exists_any, explain
from querywright.fetching.decode.written import JsonBytes
from querywright.fetching.execute.answers import client_bytes, instances
from querywright.fetching.execute.entering import entered, seen_on
from querywright.fetching.execute.fetches import array_of, batches_of, only_row, ready, rows_of
from querywright.fetching.execute.query import Query
from querywright.fetching.execute.run import Bind
from querywright.fetching.pages.paging import PageRequest, json_page, typed_page
from querywright.fetching.plan.report import PlanReport, report_of
from querywright.fetching.streaming import BATCH, streamed_json

__all__ = ["Fetch"]

Model = TypeVar("Model")
_TWO = 2
# Made once: a fetch of one row should spend its time in the database.
_ONE_INSTANCE = Form(array=False, limit=_TWO, for_model=True)
_ONE_OBJECT = Form(array=False, limit=_TWO)


class Fetch(Generic[Model]):
    """Rows in the shape of a response model, not fetched yet; each verb runs one statement.

    Made by `fetch` and by the ``fetch()`` methods of databases and sessions.
    """

    __slots__ = ("_bind", "_query")

    def __init__(self, bind: Bind, query: Query) -> None:
        self._bind = bind
        self._query = query

    def all(self) -> list[Model]:
        """Return a model instance for each row."""
        compiled, text = array_of(
            self._query, self._bind, Form(array=True, for_model=True, strategy=self._query.strategy)
        )
        return instances(self._query, compiled, text, many=True)  # type: ignore[no-any-return]

    def one(self) -> Model:
        """Return the only row.

        Raises:
            NotFound: There is none.
            MultipleFound: There are more.
        """
        compiled, text = only_row(self._query, self._bind, _ONE_INSTANCE)
        return instances(self._query, compiled, text, many=False)  # type: ignore[no-any-return]

    def one_or_none(self) -> Model | None:
        """Return the only row, or ``None`` if there is none.

        Raises:
            MultipleFound: There are more.
        """
        try:
            return self.one()
        except NotFound:
            return None

    def first(self) -> Model | None:
        """Return the first row, or ``None`` if there is none."""
        compiled, rows = rows_of(self._query, self._bind, Form(array=False, limit=1, for_model=True))
        return instances(self._query, compiled, rows[0][0], many=False) if rows else None

    def json(self, *, by_alias: bool = True, exclude_none: bool = False) -> JsonBytes[list[Model]]:
        """Return all rows as one JSON array, written by the database.

        If the model has validators, serializers or computed fields, it writes the JSON itself: slower, same content.

        Args:
            by_alias: Use the fields' aliases as keys.
            exclude_none: Leave out fields that are ``None``.
        """
        form = Form(array=True, by_alias=by_alias, exclude_none=exclude_none, strategy=self._query.strategy)
        form = self._query.client_form(form)
        compiled, text = array_of(self._query, self._bind, form)
        return JsonBytes(client_bytes(self._query, compiled, text, form, many=True))

    def json_one(self, *, by_alias: bool = True, exclude_none: bool = False) -> JsonBytes[Model]:
        """Return the only row as a JSON object.

        Args:
            by_alias: Use the fields' aliases as keys.
            exclude_none: Leave out fields that are ``None``.

        Raises:
            NotFound: There is none.
            MultipleFound: There are more.
        """
        plain = by_alias and not exclude_none
        form = _ONE_OBJECT if plain else Form(False, _TWO, by_alias=by_alias, exclude_none=exclude_none)
        form = self._query.client_form(form)
        compiled, text = only_row(self._query, self._bind, form)
        return JsonBytes(client_bytes(self._query, compiled, text, form, many=False))

    def page(
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
        return typed_page(self._query, self._bind, PageRequest(size, after or None, before or None, number, total))

    def json_page(
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
        request = PageRequest(size, after or None, before or None, number, total)
        return JsonBytes(json_page(self._query, self._bind, request))

    def stream(self, *, batch: int = BATCH) -> Iterator[Model]:
        """Read model instances as they are needed, through a cursor of the server; memory holds one batch.

        Args:
            batch: Rows that are read at once.
        """
        form = Form(array=False, for_model=True)
        for compiled, texts in batches_of(self._query, self._bind, form, batch):
            yield from instances(self._query, compiled, f"[{','.join(texts)}]", many=True)

    def stream_json(self, *, lines: bool = False, batch: int = BATCH) -> Iterator[bytes]:
        """Read all rows as pieces of one JSON array, through a cursor of the server; memory holds one batch.

        Args:
            lines: Write one row on each line, without brackets and commas (NDJSON), instead of an array.
            batch: Rows that are read at once.
        """
        yield from streamed_json(self._query, self._bind, lines=lines, batch=batch)

    def exists(self) -> bool:
        """Return whether there is any row."""
        return exists_any(self._query, self._bind)

    def count(self) -> int:
        """Count the rows."""
        return count(self._query, self._bind)

    def sql(self) -> str:
        """Return the SQL that `json` sends, with placeholders; nothing is run."""
        query, target = seen_on(self._query, self._bind)
        return ready(query, target, query.client_form(Form(array=True))).sql

    def explain(self, *, analyze: bool = False) -> str:
        """Return how the database would run what `json` sends.

        Args:
            analyze: Whether to run it, and tell how long each step took.
        """
        with entered(self._query, self._bind) as (query, target):
            statement = ready(query, target, query.client_form(Form(array=True)))
            return explain(target, statement, analyze=analyze)

    def explain_plan(self) -> PlanReport:
        """Return, field by field, what fills it, and whether SQL or the model writes it; nothing is run."""
        return report_of(self._query.plan)
