"""Fetch a page: read its cursor, run its statement, write the cursors of the pages around it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.cache_key import CacheKey

from querywright.engine.databases.errors import sqlstate_of
from querywright.errors import InvalidPage, ShapeError
from querywright.fetching.compile.form import Form, PageForm
from querywright.fetching.compile.page import OFFSET, Page, require_size
from querywright.fetching.compile.sorting import Order, order_of
from querywright.fetching.execute.answers import client_bytes, instances
from querywright.fetching.execute.cache import StatementCache
from querywright.fetching.execute.compiled import CompiledFetch
from querywright.fetching.execute.entering import entered
from querywright.fetching.execute.fetches import rows_on
from querywright.fetching.execute.query import Query
from querywright.fetching.execute.run import Bind
from querywright.fetching.pages.cursors import LONGEST, Seal, foreign, read_open, seal_of, write_open
from querywright.fetching.pages.positions import Position, position_at, read_position
from querywright.fetching.pages.possible import are_possible
from querywright.fetching.pages.shown import NEEDS_SECRET, ShownOrder, shown_order
from querywright.fetching.writers import SortKinds, writer_for

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

    compiled: CompiledFetch
    form: Form
    text: str
    total: int | None
    next: str | None
    previous: str | None


def typed_page(query: Query, bind: Bind, request: PageRequest) -> Page[Any]:
    """Return a page of model instances."""
    found = _find(query, bind, request, for_model=True)
    items = instances(query, found.compiled, found.text, many=True)
    # Not validated: the items are, and may be of any kind of model.
    return Page.model_construct(items=items, total=found.total, next=found.next, previous=found.previous)


def json_page(query: Query, bind: Bind, request: PageRequest) -> bytes:
    """Return a page as JSON."""
    found = _find(query, bind, request, for_model=False)
    items = client_bytes(query, found.compiled, found.text, found.form, many=True)
    rest = json.dumps({"total": found.total, "next": found.next, "previous": found.previous}, separators=(",", ":"))
    return b'{"items":' + items + b"," + rest[1:].encode()


def _find(query: Query, bind: Bind, request: PageRequest, *, for_model: bool) -> _Found:
    with entered(query, bind) as (seen, target):
        return _find_on(seen, target, request, for_model=for_model)


def _find_on(query: Query, target: Engine | Connection, request: PageRequest, *, for_model: bool) -> _Found:
    page, values, order = PageForm(request.size, by_keyset=False, total=request.total), _offset(request), None
    if request.number is None:
        order = _order(query, target)
        page, values = _by_keyset(order, request)
    form = query.client_form(Form(array=False, for_model=for_model, page=page))
    try:
        compiled, rows = rows_on(query, target, form, values)
    except DBAPIError as error:
        if order is None or order.seal or page.behind is None or not _is_of_a_value(error):
            raise
        # The column is of another type than the class says, and the cursor not one that was given out.
        raise foreign() from error
    return _collect(compiled, form, rows, target, order)


def _is_of_a_value(error: DBAPIError) -> bool:
    """Return whether the database could not read a value, or not compare it."""
    return (sqlstate_of(error.orig) or "")[:2] in {"22", "42"}


def _offset(request: PageRequest) -> dict[str, Any]:
    return {OFFSET: (request.number - 1) * request.size} if request.number else {}


@dataclass(frozen=True)
class _Order:
    """The order of a list, as far as its cursors depend on it.

    Attributes:
        count: How many values a row is ordered by.
        kinds: The kinds of values that the database sorts by.
        name: What tells it from any other; of an order that clients see, as far as they do.
        seal: What its cursors are sealed with, if they are.
        shown: What clients see of the order; all of it, where cursors are not sealed.
    """

    count: int
    kinds: SortKinds
    name: str
    seal: Seal | None
    shown: ShownOrder | None

    def cursor(self, position: Position) -> str:
        """Write a cursor.

        Raises:
            ShapeError: No client could bring it back.
        """
        text = position.written()
        if self.seal is not None:
            cursor = self.seal.close(self.name, text)
        elif self.is_possible(position):
            cursor = write_open(self.name, text)
        else:
            kinds = " and ".join(sorted({kind.lstrip("@") for kind in position.kinds if kind}))
            reason = f"it is ordered by a value of {kinds} that a cursor holds only if it is encrypted."
            raise ShapeError("statement", reason, hint=NEEDS_SECRET)
        if len(cursor) > LONGEST:
            reason = f"it is ordered by a value that makes a cursor longer than {LONGEST} characters."
            raise ShapeError("statement", reason, hint="Order it by the beginning of the text, or by another column.")
        return cursor

    def position(self, cursor: str) -> Position:
        """Read a cursor.

        Raises:
            InvalidCursor: It is none of this list, or was changed.
        """
        text = self.seal.open(self.name, cursor) if self.seal else read_open(self.name, cursor)
        position = read_position(text, self.count)
        if not self.is_possible(position):
            raise foreign()
        return position

    def is_possible(self, position: Position) -> bool:
        """Return whether a row may have this position; of a sealed one that is known."""
        return self.shown is None or are_possible(position.values, self.shown.values, self.kinds)


# By the structure of a statement: its order, and for each value in it the place of that value in the statement.
_Known = tuple[Order, list[int | None]]
_known: StatementCache[_Known] = StatementCache(500)


def _order(query: Query, target: Engine | Connection) -> _Order:
    """Read the order of a list.

    Raises:
        ShapeError: Its cursors would show what the model does not, and there is no secret to encrypt them with.
    """
    order, bound = _bound_order(query, target)
    seal, kinds = seal_of(target.engine), writer_for(target.dialect.name).sort_kinds
    count = len(order.sorts)
    if seal is None:
        shown = shown_order(query.plan, order)
        return _Order(count, kinds, shown.name, None, shown)
    values = [(query.parameters or {}).get(each.key, each.effective_value) for each in bound]
    return _Order(count, kinds, f"{order.name} {values}", seal, None)


def _bound_order(query: Query, target: Engine | Connection) -> tuple[Order, list[BindParameter[Any]]]:
    writer = writer_for(target.dialect.name)

    def read(key: CacheKey | None) -> _Known:
        order = order_of(query.statement, writer)
        extracted = [] if key is None else key.bindparams
        return order, [_place(parameter, extracted) for parameter in order.parameters]

    (order, places), key = _known.find(query.statement, (target.dialect.name,), None, read)
    extracted = [] if key is None else key.bindparams
    pairs = zip(order.parameters, places, strict=True)
    return order, [parameter if place is None else extracted[place] for parameter, place in pairs]


def _place(parameter: BindParameter[Any], extracted: Sequence[BindParameter[Any]]) -> int | None:
    # As the compiler finds it: the parameters of a statement are cloned on their way.
    cloned = parameter._cloned_set  # noqa: SLF001 - nothing public
    return next((place for place, original in enumerate(extracted) if original in cloned), None)


def _by_keyset(order: _Order, request: PageRequest) -> tuple[PageForm, dict[str, Any]]:
    cursor = request.before if request.after is None else request.after
    if cursor is None:
        return PageForm(request.size, by_keyset=True, total=request.total), {}
    position = order.position(cursor)
    backwards = request.before is not None
    return PageForm(request.size, True, position.kinds, backwards=backwards, total=request.total), position.parameters


def _collect(
    compiled: CompiledFetch, form: Form, rows: Any, target: Engine | Connection, order: _Order | None
) -> _Found:
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
        return order.cursor(position_at(row[2:], order.count, writer_for(target.dialect.name).most_sorted))

    return _Found(
        compiled,
        form,
        f"[{','.join([row[0] for row in found])}]",
        total,
        next=cursor(found[-1]) if found and has_next else None,
        previous=cursor(found[0]) if found and has_previous else None,
    )
