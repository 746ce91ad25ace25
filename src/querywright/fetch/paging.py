"""Fetch a page: open its cursor, run its statement, sign the cursors of the pages around it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect, Engine

from querywright.errors import InvalidPage
from querywright.fetch.compile import root_entity
from querywright.fetch.compiled import Prepared
from querywright.fetch.cursors import open_cursor, secret_of, sign_cursor
from querywright.fetch.execute import Bind
from querywright.fetch.form import Form, PageForm
from querywright.fetch.keyset import Sort, parameter, sorts_of
from querywright.fetch.pages import OFFSET, Page, cursor_scalars, require_size
from querywright.fetch.query import Query
from querywright.fetch.reading import row_reader
from querywright.fetch.writers import writer_for

__all__ = ["PageRequest", "json_page", "typed_page"]


@dataclass(frozen=True)
class PageRequest:
    """Which page a client wants; see ``Fetch.page``."""

    size: int
    after: str | None
    before: str | None
    number: int | None
    total: bool

    def __post_init__(self) -> None:
        require_size(self.size, self.number)
        if sum(given is not None for given in (self.after, self.before, self.number)) > 1:
            raise InvalidPage("A page is given by after, before or number, not by two of them.")


@dataclass(frozen=True)
class _Found:
    """The rows of a page as text, and what goes with them."""

    prepared: Prepared
    form: Form
    text: str
    total: int | None
    next: str | None
    previous: str | None


def typed_page(query: Query, bind: Bind, request: PageRequest) -> Page[Any]:
    """Return a page of model instances."""
    found = _find(query, bind, request, for_model=True)
    items = query.instances(found.prepared, found.text, many=True)
    # Not validated: the items are, and may be of any kind of model.
    return Page.model_construct(items=items, total=found.total, next=found.next, previous=found.previous)


def json_page(query: Query, bind: Bind, request: PageRequest) -> bytes:
    """Return a page as JSON."""
    found = _find(query, bind, request, for_model=False)
    items = query.client_bytes(found.prepared, found.text, found.form, many=True)
    rest = json.dumps({"total": found.total, "next": found.next, "previous": found.previous}, separators=(",", ":"))
    return b'{"items":' + items + b"," + rest[1:].encode()


def _find(query: Query, bind: Bind, request: PageRequest, *, for_model: bool) -> _Found:
    with query.on(bind) as (seen, target):
        return _find_on(seen, target, request, for_model=for_model)


def _find_on(query: Query, target: Engine | Connection, request: PageRequest, *, for_model: bool) -> _Found:
    if request.number is not None:
        page, values, order = PageForm(request.size, by_keyset=False, total=request.total), _offset(request), ""
    else:
        page, values, order = _by_keyset(query, target, request)
    form = query.client_form(Form(array=False, for_model=for_model, page=page))
    prepared, rows = query.rows(target, form, values)
    return _collect(prepared, form, rows, target, order)


def _offset(request: PageRequest) -> dict[str, Any]:
    return {OFFSET: (request.number - 1) * request.size} if request.number else {}


def _by_keyset(query: Query, target: Engine | Connection, request: PageRequest) -> tuple[PageForm, dict[str, Any], str]:
    sorts = sorts_of(query.statement, root_entity(query.statement), writer_for(target.dialect.name))
    order = ", ".join(sort.name for sort in sorts)
    cursor = request.before if request.after is None else request.after
    if cursor is None:
        return PageForm(request.size, by_keyset=True, total=request.total), {}, order
    values = json.loads(open_cursor(secret_of(target.engine), order, cursor))
    nulls = tuple(value is None for value in values)
    form = PageForm(request.size, True, nulls, backwards=request.before is not None, total=request.total)
    return form, _values(sorts, values, target.dialect), order


def _values(sorts: tuple[Sort, ...], values: list[Any], dialect: Dialect) -> dict[str, Any]:
    """Turn what a cursor holds back into values to bind."""
    read = row_reader(cursor_scalars(sorts), dialect)(values)
    return {parameter(position): value for position, value in enumerate(read) if values[position] is not None}


def _collect(prepared: Prepared, form: Form, rows: Any, target: Engine | Connection, order: str) -> _Found:
    page = form.page
    assert page is not None  # noqa: S101 - only pages get here
    total = rows[0][2] if page.total else None
    found = [(text, cursor) for text, cursor, _ in rows if text is not None]
    more, found = len(found) > page.size, found[: page.size]
    if page.backwards:
        found.reverse()
    has_next, has_previous = (True, more) if page.backwards else (more, page.behind_nulls is not None)

    def sign(values: str) -> str:
        return sign_cursor(secret_of(target.engine), order, values)

    cursors = page.by_keyset and bool(found)
    return _Found(
        prepared,
        form,
        f"[{','.join([text for text, _ in found])}]",
        total,
        next=sign(found[-1][1]) if cursors and has_next else None,
        previous=sign(found[0][1]) if cursors and has_previous else None,
    )
