"""Models inside each other as deep as they may be, in every verb: the parsers of databases are not that deep."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import create_model
from sqlalchemy import select

from querywright.fetching.plan.planner import MOST_LEVELS
from tests.suite.models import Author, Book, Out
from tests.suite.support import AnyDatabase, by_orm, collect, resolve, transaction

AUTHORS = select(Author).order_by(Author.id)


@pytest.fixture
async def authors(db: AnyDatabase) -> AnyDatabase:
    """Each author is mentored by the next."""
    async with transaction(db) as tx:
        for n in range(MOST_LEVELS + 2, 0, -1):
            tx.add(
                Author(id=n, name=f"name {n}", email=None if n % 3 else f"{n}@x", mentor_id=n + 1 if n < 34 else None)
            )
            await resolve(tx.flush())
        tx.add_all(Book(id=n, author_id=n, title=f"t{n}") for n in range(1, 34, 2))
    return db


def nested(depth: int, *fields: str) -> Any:
    """Make models inside each other, by each relationship in turn."""
    model: Any = create_model("Leaf", __base__=Out, id=(int, ...), name=(str, ...), email=(str | None, ...))
    kinds = {"mentor": lambda inside: inside | None, "pupils": lambda inside: list[inside]}
    for level in range(1, depth):
        field = fields[level % len(fields)]
        values: Any = {"id": (int, ...), "email": (str | None, ...), field: (kinds[field](model), ...)}
        model = create_model(f"Level{level}", __base__=Out, **values)
    return model


SHAPES = {
    "one": ("mentor",),
    "many": ("pupils",),
    "both": ("mentor", "pupils"),
    "twice": ("mentor", "mentor", "pupils"),
}


@pytest.mark.parametrize("depth", [5, MOST_LEVELS])
@pytest.mark.parametrize("fields", SHAPES)
async def test_models_as_deep_as_they_may_be(authors: AnyDatabase, fields: str, depth: int) -> None:
    model = nested(depth, *SHAPES[fields])
    # The ends of the chain, and its middle.
    some = AUTHORS.where(Author.id.in_([1, 20, 34]))
    expected = await by_orm(authors, model, some)
    found = authors.fetch(model, some)
    assert await resolve(found.all()) == expected
    written = [json.loads(row.model_dump_json()) for row in expected]
    assert json.loads(await resolve(found.json())) == written
    assert json.loads(await resolve(authors.fetch(model, some, strategy="levels").json())) == written
    assert json.loads(await resolve(found.json_page(size=3)))["items"] == written
    if depth == MOST_LEVELS:
        # What else there is depends on the way a row is written, not on its levels, whose compilation takes long.
        return
    compact = [json.loads(row.model_dump_json(exclude_none=True)) for row in expected]
    assert json.loads(await resolve(found.json(exclude_none=True))) == compact
    pages = [await resolve(found.page(size=2)), await resolve(found.page(size=2, number=2))]
    assert [row for page in pages for row in page.items] == expected
    assert (await resolve(found.page(size=2, after=pages[0].next))).items == expected[2:]
    assert await collect(found.stream(batch=2)) == expected
    assert json.loads(b"".join(await collect(found.stream_json()))) == written
    first = authors.fetch(model, some.limit(1))
    assert await resolve(first.one()) == await resolve(found.first()) == expected[0]
    assert json.loads(await resolve(first.json_one(exclude_none=True))) == compact[0]
    async with transaction(authors) as tx:
        assert await resolve(tx.fetch(model, some).all()) == expected
