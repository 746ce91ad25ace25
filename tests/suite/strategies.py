"""Invent rows, response models and statements for the suite's tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel, create_model
from sqlalchemy import Select, inspect, select
from sqlalchemy.orm import RelationshipProperty

from tests.suite.models import Author, Book, Everything, EverythingOut, Genre, Level, Out, Profile, Tag

# PostgreSQL's text holds everything but NUL.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
integers = st.integers(-(2**31), 2**31 - 1)
floats = st.floats(allow_nan=False)
moments = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30), timezones=st.timezones())  # noqa: DTZ001 - bounds are naive
locals_ = st.datetimes()
# MariaDB's UUID takes none whose version and variant no RFC names.
keys = st.uuids(version=4)
documents = st.recursive(
    st.none() | st.booleans() | integers | st.floats(-1e100, 1e100) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, documents, max_size=3)


def everything() -> st.SearchStrategy[Everything]:
    """Rows of the table with one column of each type."""
    values = {
        "id": keys,
        "number": integers,
        "text": texts,
        "flag": st.booleans(),
        "ratio": floats,
        "price": st.decimals(-(10**9), 10**9, places=2),
        "moment": moments,
        "local": locals_,
        "day": st.dates(),
        "genre": st.sampled_from(Genre),
        "level": st.sampled_from(Level),
        "data": objects,
        "items": st.lists(documents, max_size=3),
    }
    optional = {
        f"{name}_or_none": st.none() | values[name]
        for name in ("number", "text", "flag", "ratio", "moment", "local", "day", "genre", "level", "data")
    }
    optional |= {"price_or_none": st.none() | st.decimals(-(10**8), 10**8, places=0)}
    optional |= {"key_or_none": st.none() | keys}
    return st.builds(Everything, **values, **optional)


@st.composite
def libraries(draw: st.DrawFn) -> list[list[object]]:
    """Draw rows of the related tables, in an order in which they can be inserted."""
    authors = [
        Author(
            id=number,
            name=draw(texts),
            email=draw(st.none() | st.just(f"{number}@example.com")),
            mentor_id=draw(st.none() | st.integers(1, number - 1)) if number > 1 else None,
            deleted=draw(st.booleans()),
        )
        for number in range(1, draw(st.integers(0, 5)) + 1)
    ]
    tags = [Tag(id=number, name=f"{number}{draw(texts)}"[:50]) for number in range(1, draw(st.integers(0, 3)) + 1)]
    books: list[Book] = []
    profiles: list[Profile] = []
    if authors:
        owners = st.integers(1, len(authors))
        books = [
            Book(id=number, author_id=draw(owners), title=draw(texts), pages=draw(st.integers(1, 4)))
            for number in range(1, draw(st.integers(0, 8)) + 1)
        ]
        profiles = [Profile(author_id=owner, text=draw(texts)) for owner in draw(st.sets(owners))]
    return [*([author] for author in authors), list(tags), list(books), list(profiles)]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[list[object]], list[dict[str, Any]], list[tuple[Any, Any]]]:
    """Draw rows, the tags of books, and pairs of response model and statement."""
    rows = draw(libraries())
    classes = draw(st.lists(st.sampled_from([Author, Book, Tag, Profile]), min_size=1, max_size=3))
    return rows, draw(links(rows)), [(draw(models(cls)), draw(statements_of(cls))) for cls in classes]


@st.composite
def links(draw: st.DrawFn, rows: list[list[object]]) -> list[dict[str, Any]]:
    """Draw which book has which tag; positions differ, so that their order is defined."""
    books = [row.id for group in rows for row in group if isinstance(row, Book)]
    tags = [row.id for group in rows for row in group if isinstance(row, Tag)]
    pairs = [(book, tag) for book in books for tag in tags]
    chosen = draw(st.permutations(pairs)) if pairs else []
    count = draw(st.integers(0, len(chosen)))
    return [{"book_id": b, "tag_id": t, "position": position} for position, (b, t) in enumerate(chosen[:count])]


# The scalar annotations of each class, and those of its relationships whose order is defined.
SCALARS: dict[type, dict[str, Any]] = {
    Author: {"id": int, "name": str, "email": str | None, "mentor_id": int | None, "deleted": bool, "shouted": str},
    Book: {"id": int, "author_id": int, "title": str, "pages": int, "deleted": bool},
    Tag: {"id": int, "name": str},
    Profile: {"id": int, "text": str, "author_id": int},
    Everything: {name: info.annotation for name, info in EverythingOut.model_fields.items()},
}


@dataclass
class _Namer:
    """Gives every model of a shape a name of its own."""

    count: int = field(default=0)

    def __call__(self, cls: type) -> str:
        self.count += 1
        return f"{cls.__name__}{self.count}"


@st.composite
def models(draw: st.DrawFn, cls: type, depth: int = 3, name: Callable[[type], str] | None = None) -> type[BaseModel]:
    """Draw a response model: some columns, and models of some relationships."""
    name = name or _Namer()
    columns = draw(st.lists(st.sampled_from(sorted(SCALARS[cls])), min_size=1, unique=True))
    fields: dict[str, Any] = {column: (SCALARS[cls][column], ...) for column in columns}
    relationships = sorted(inspect(cls).relationships.keys()) if depth else []
    chosen = draw(st.lists(st.sampled_from(relationships), max_size=2, unique=True)) if relationships else []
    for key in chosen:
        relationship: RelationshipProperty[Any] = inspect(cls).relationships[key]
        inner = draw(models(relationship.mapper.class_, depth - 1, name))
        required = relationship.direction.name == "MANYTOONE" and key == "author"
        annotation = list[inner] if relationship.uselist else inner if required else inner | None  # type: ignore[valid-type]
        fields[key] = (annotation, ...)
    order = draw(st.permutations(list(fields)))
    return create_model(name(cls), __base__=Out, **{key: fields[key] for key in order})


@st.composite
def statements_of(draw: st.DrawFn, cls: type) -> Select[Any]:
    """Draw a statement whose order is defined."""
    statement = select(cls)
    columns = inspect(cls).columns
    key = columns["id"]
    if cls is not Everything:
        if draw(st.booleans()):
            statement = statement.where(key.in_(draw(st.lists(st.integers(0, 6), max_size=4))))
        if draw(st.booleans()):
            statement = statement.where(key > draw(st.integers(0, 3)))
    statement = statement.order_by(key.desc() if draw(st.booleans()) else key)
    if draw(st.booleans()):
        statement = statement.limit(draw(st.integers(0, 4))).offset(draw(st.integers(0, 2)))
    return statement
