"""check_shapes finds at start-up what would fail or crawl at the first request."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel
from sqlalchemy import Index, select, text

from querywright import Count, check_shapes, prepare
from tests.suite.models import Author, AuthorOut, Book, NameOut, Out, TagOut
from tests.suite.support import AnyDatabase, resolve, run_sync, transaction
from tests.suite.zoo import Zoo


class ToyOut(Out):
    name: str


class DogOut(Out):
    kind: Literal["dog"]


class ToyBoxOut(Out):
    kind: Literal["cat"]
    toys: list[ToyOut]


class CagesOut(Out):
    animals: list[ToyBoxOut | DogOut]


class CountOut(Out):
    books: Annotated[int, Count("books")]


class Misspelt(BaseModel):
    nmae: str


class BooksOut(Out):
    tags: list[TagOut]


class ZooOut(Out):
    name: str


async def lines(db: AnyDatabase, *shapes: Any) -> list[str]:
    """What is found of these shapes; other modules have declared queries of their own."""
    models = tuple(model.__name__ for model, _ in shapes)
    return [str(finding) for finding in await resolve(check_shapes(db, *shapes)) if finding.path.startswith(models)]


async def test_nothing_to_find(db: AnyDatabase) -> None:
    assert await lines(db, (NameOut, Author), (BooksOut, select(Book))) == []


async def test_lists_without_an_index(db: AnyDatabase) -> None:
    if db.engine.dialect.name == "mariadb":
        pytest.skip("MariaDB makes an index for each foreign key")
    found = [line for line in await lines(db, (AuthorOut, Author), (CountOut, Author)) if "books" in line]
    problem = "books has no index on author_id, so each row of Author reads all of it."
    hint = "Create one, for example with index=True on author_id."
    assert f"AuthorOut.books: {problem} {hint}" in found
    assert f"CountOut.books: {problem} {hint}" in found
    async with transaction(db) as tx:
        index = Index("ix_for_the_test", Book.author_id)
        await run_sync(tx, lambda sync: index.create(sync.connection()))
        Book.metadata.tables["books"].indexes.discard(index)
    assert not [line for line in await lines(db, (AuthorOut, Author), (CountOut, Author)) if ".books: books" in line]


async def test_shapes_that_do_not_fit(db: AnyDatabase) -> None:
    assert await lines(db, (Misspelt, Author)) == [
        "Misspelt.nmae: Author has no attribute 'nmae'. Did you mean 'name'?"
    ]


async def test_tables_and_columns_that_are_not_there(db: AnyDatabase) -> None:
    assert await lines(db, (ZooOut, Zoo)) == ["ZooOut: the table zoos does not exist. Run the migrations."]
    async with transaction(db) as tx:
        await resolve(tx.execute(text("ALTER TABLE tags RENAME COLUMN name TO label")))
    assert await lines(db, (BooksOut, Book)) == [
        "BooksOut.tags: the table tags has no column name. Run the migrations."
    ]


async def test_relationships_of_a_subclass_are_looked_at(zoo: AnyDatabase) -> None:
    if zoo.engine.dialect.name == "mariadb":
        pytest.skip("MariaDB makes an index for each foreign key")
    hint = "Create one, for example with index=True on cat_id."
    path = "CagesOut.animals[](ToyBoxOut).toys"
    assert f"{path}: toys has no index on cat_id, so each row of Cat reads all of it. {hint}" in await lines(
        zoo, (CagesOut, Zoo)
    )


async def test_declared_queries_are_looked_at(db: AnyDatabase) -> None:
    query = prepare(ZooOut, select(Zoo))
    assert "ZooOut: the table zoos does not exist. Run the migrations." in map(str, await resolve(check_shapes(db)))
    del query
