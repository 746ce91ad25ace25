"""The law of pages: walked forward, backward or by number, they are exactly the rows of the list, in its order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import CompileError, DBAPIError

from querywright import Fetch, ShapeError, fetch
from querywright.fetching.compile.related import identity_columns
from querywright.fetching.compile.statement import root_entity
from querywright.fetching.pages import cursors
from tests.paging.orders import direction_of, names_of
from tests.paging.statements import Asked

Key = tuple[Any, ...]


@dataclass
class Figures:
    """What was invented, and what became of it.

    Attributes:
        database: Where.
        invented: How many statements.
        invalid: How many of them the database itself refuses.
        accepted: How many have pages, by what is special about them.
        refused: How many have none, by reason.
    """

    database: str
    invented: int = 0
    invalid: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


def check(connection: Connection, asked: Asked, size: int, figures: Figures) -> None:
    """Compare the pages of a statement with its rows."""
    figures.invented += 1
    fetched = fetch(connection, asked.model, asked.statement)
    try:
        with connection.begin_nested():
            whole, ranked = fetched.all(), _ranked(connection, asked)
    except (DBAPIError, CompileError):
        figures.invalid += 1
        return
    assert fetched.count() == len(whole)
    assert fetched.exists() is bool(whole)
    try:
        first = fetched.page(size=size)
    except ShapeError as refusal:
        figures.refused[_reason(refusal)] += 1
        return
    assert not asked.refused
    in_order(whole, ranked, asked.model)
    forth = _walk(fetched, size, first)
    in_order([row for page in forth for row in page.items], ranked, asked.model)
    assert {page.total for page in forth} == {len(whole)}
    back = _walk_back(fetched, size, forth[-1])
    rows = [row for page in forth for row in page.items]
    assert back == rows
    numbers = range(1, len(whole) // size + 2)
    by_number = [row for number in numbers for row in fetched.page(size=size, number=number).items]
    assert by_number == rows
    assert _by_key(rows, asked.model) == _by_key(whole, asked.model)
    figures.accepted.update(asked.tags or {"plain"})
    with unsealed(connection.engine):
        try:
            first = fetched.page(size=size)
        except ShapeError as refusal:
            assert "does not show" in refusal.reason  # noqa: PT017 - most are refused
            return
        forth = _walk(fetched, size, first)
        assert [row for page in forth for row in page.items] == rows == _walk_back(fetched, size, forth[-1])
        figures.accepted["without a secret"] += 1


@contextmanager
def unsealed(engine: Engine) -> Iterator[None]:
    """Take the secret of an engine's cursors away for a while."""
    seal = cursors._seals.pop(engine.dialect)
    try:
        yield
    finally:
        cursors._seals[engine.dialect] = seal


def _walk(fetched: Fetch[Any], size: int, first: Any) -> list[Any]:
    pages, most = [first], first.total + 2
    while pages[-1].next is not None:
        pages.append(fetched.page(size=size, after=pages[-1].next))
        assert len(pages) <= most
    return pages


def _walk_back(fetched: Fetch[Any], size: int, last: Any) -> list[Any]:
    rows, cursor, most = list(last.items), last.previous, last.total + 2
    while cursor is not None:
        page = fetched.page(size=size, before=cursor)
        rows, cursor, most = [*page.items, *rows], page.previous, most - 1
        assert most > 0
    return rows


def in_order(rows: list[BaseModel], ranked: list[tuple[Key, int]], model: Any) -> None:
    """Check that rows are those of the oracle, and that only rows which are equal in the order change places."""
    keys = [_key(row, model) for row in rows]
    start = 0
    for _, group in groupby(ranked, key=lambda pair: pair[1]):
        expected = Counter(key for key, _ in group)
        end = start + expected.total()
        assert Counter(keys[start:end]) == expected
        start = end
    assert start == len(keys)


def _key_names(model: Any) -> list[str]:
    return [name for name in ("id", "part_id", "word", "name") if name in model.model_fields]


def _key(row: BaseModel, model: Any) -> Key:
    return tuple(getattr(row, name) for name in _key_names(model))


def _by_key(rows: list[BaseModel], model: Any) -> dict[Key, BaseModel]:
    return {_key(row, model): row for row in rows}


def _ranked(connection: Connection, asked: Asked) -> list[tuple[Key, int]]:
    """Let the database itself say which rows there are, and which of them come before which."""
    entity = root_entity(asked.statement)
    visible = [getattr(entity, name).label(f"v{n}") for n, name in enumerate(_key_names(asked.model))]
    # What tells the class of a row may be no attribute of it.
    known = [*(getattr(entity, name) for name in names_of(entity)), *identity_columns(entity)]
    everything = [column.label(f"a{n}") for n, column in enumerate(known)]
    apart = [direction_of(clause) for clause in asked.order]
    values = [_value(entity, expression).label(f"o{n}") for n, (expression, _) in enumerate(apart)]
    columns = [*visible, *everything, *values] if asked.statement._distinct else [*visible, *values]
    rows = asked.statement.with_only_columns(*columns).subquery()
    order = []
    for n, (_, words) in enumerate(apart):
        clause: Any = rows.c[f"o{n}"]
        for word in reversed(words):
            clause = sa.sql.elements.UnaryExpression(clause, modifier=word, wraps_column_expression=False)
        order.append(clause)
    rank: Any = func.dense_rank().over(order_by=order) if order else sa.literal_column("1")
    found = connection.execute(select(*(rows.c[f"v{n}"] for n in range(len(visible))), rank.label("rank")))
    return sorted(((tuple(row[:-1]), row[-1]) for row in found), key=lambda pair: pair[1])


def _value(entity: Any, expression: Any) -> Any:
    name = getattr(expression, "element", expression)
    if isinstance(name, str):
        return getattr(entity, name)
    while isinstance(expression, sa.Label) or type(expression).__name__ == "_label_reference":
        expression = expression.element
    return expression


def _reason(refusal: ShapeError) -> str:
    words = refusal.reason.partition(", and ")
    return words[2] or words[0]
