"""Fetch a page: open its cursor, run its statement, sign the cursors of the pages around it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, Engine

from querywright.errors import InvalidPage
from querywright.fetch.cache import LRU
from querywright.fetch.compiled import Prepared
from querywright.fetch.cursors import open_cursor, secret_of, sign_cursor
from querywright.fetch.execute import Bind
from querywright.fetch.form import Form, PageForm
from querywright.fetch.pages import OFFSET, Page, require_size
from querywright.fetch.positions import position_at, read_position
from querywright.fetch.query import Query
from querywright.fetch.sorting import Order, order_of
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
    page, values, order = PageForm(request.size, by_keyset=False, total=request.total), _offset(request), None
    if request.number is None:
        order = _order(query, target)
        page, values = _by_keyset(order, target, request)
    form = query.client_form(Form(array=False, for_model=for_model, page=page))
    prepared, rows = query.rows(target, form, values)
    return _collect(prepared, form, rows, target, order)


def _offset(request: PageRequest) -> dict[str, Any]:
    return {OFFSET: (request.number - 1) * request.size} if request.number else {}


@dataclass(frozen=True)
class _Order:
    """The order of a list, as far as its cursors depend on it.

    Attributes:
        text: What tells it from any other.
        count: How many values a row is ordered by.
    """

    text: str
    count: int


# By the structure of a statement: its order, and for each value in it the place of that value in the statement.
_known: LRU[tuple[Order, list[int | None]]] = LRU(500)


def _order(query: Query, target: Engine | Connection) -> _Order:
    key = query.statement._generate_cache_key()  # noqa: SLF001 - as wherever something is kept for a statement
    where, extracted = (None, []) if key is None else ((target.dialect.name, key.key), key.bindparams)
    known = _known.get(where) if where else None
    if known is None:
        order = order_of(query.statement, writer_for(target.dialect.name))
        known = order, [_place(parameter, extracted) for parameter in order.parameters]
        if where:
            _known.put(where, known)
    order, places = known
    bound = (
        parameter if place is None else extracted[place]
        for parameter, place in zip(order.parameters, places, strict=True)
    )
    values = [(query.parameters or {}).get(each.key, each.effective_value) for each in bound]
    return _Order(f"{order.name} {values}", len(order.sorts))


def _place(parameter: BindParameter[Any], extracted: Sequence[BindParameter[Any]]) -> int | None:
    # As the compiler finds it: the parameters of a statement are cloned on their way.
    cloned = parameter._cloned_set  # noqa: SLF001 - nothing public
    return next((place for place, original in enumerate(extracted) if original in cloned), None)


def _by_keyset(order: _Order, target: Engine | Connection, request: PageRequest) -> tuple[PageForm, dict[str, Any]]:
    cursor = request.before if request.after is None else request.after
    if cursor is None:
        return PageForm(request.size, by_keyset=True, total=request.total), {}
    position = read_position(open_cursor(secret_of(target.engine), order.text, cursor), order.count)
    backwards = request.before is not None
    return PageForm(request.size, True, position.kinds, backwards=backwards, total=request.total), position.parameters


def _collect(prepared: Prepared, form: Form, rows: Any, target: Engine | Connection, order: _Order | None) -> _Found:
    page = form.page
    assert page is not None  # noqa: S101 - only pages get here
    total = rows[0][1] if page.total else None
    found = [row for row in rows if row[0] is not None]
    more, found = len(found) > page.size, found[: page.size]
    if page.backwards:
        found.reverse()
    has_next, has_previous = (True, more) if page.backwards else (more, page.behind is not None)

    def cursor(row: Any) -> str | None:
        if order is None:
            return None
        position = position_at(row[2:], order.count, writer_for(target.dialect.name).most_sorted)
        return sign_cursor(secret_of(target.engine), order.text, position.written())

    return _Found(
        prepared,
        form,
        f"[{','.join([row[0] for row in found])}]",
        total,
        next=cursor(found[-1]) if found and has_next else None,
        previous=cursor(found[0]) if found and has_previous else None,
    )
