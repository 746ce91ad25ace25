"""Fill the blog with the same made-up content every time."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, func, insert, select, text

from examples.blog.models import User
from querywright import AsyncDatabase, Base

START = dt.datetime(2025, 1, 1, tzinfo=dt.timezone.utc)
ANONYMOUS = 0.1
TAGS = (
    "async",
    "audio",
    "books",
    "cooking",
    "databases",
    "gardens",
    "history",
    "maps",
    "music",
    "python",
    "sql",
    "travel",
)
# fmt: off
WORDS = (
    "after", "always", "another", "autumn", "better", "between", "bright", "careful", "city", "clear", "cold",
    "common", "deep", "different", "early", "every", "first", "forest", "garden", "good", "green", "harbour",
    "hidden", "house", "island", "journey", "kitchen", "late", "letter", "light", "little", "long", "lost",
    "market", "morning", "mountain", "music", "narrow", "never", "night", "north", "old", "open", "other", "paper",
    "quiet", "rain", "river", "road", "room", "sea", "second", "short", "silver", "simple", "slow", "small", "snow",
    "song", "south", "spring", "steady", "stone", "story", "street", "strong", "summer", "table", "tall", "third",
    "tree", "under", "village", "voice", "warm", "water", "west", "white", "wind", "winter", "wooden", "world",
    "yellow", "young",
)
# fmt: on


@dataclass(frozen=True)
class Size:
    """How much content there is."""

    users: int = 1_000
    posts: int = 20_000
    comments: int = 100_000


async def seed(db: AsyncDatabase, size: Size = Size()) -> bool:
    """Create the tables, and fill them if they are empty.

    Everything is written in one transaction: an interrupted run leaves nothing behind.

    Returns:
        Whether anything was written.
    """
    if not await is_empty(db):
        return False
    async with db.engine.begin() as connection:
        for table, rows in _content(size):
            await connection.execute(insert(table), list(rows))
        if connection.dialect.name == "postgresql":
            for table in tables():
                await connection.execute(text(_continue_numbering(table)))
    async with db.engine.begin() as connection:
        # Without statistics a planner cannot know that a user has only twenty posts.
        await connection.execute(text("ANALYZE"))
    return True


async def is_empty(db: AsyncDatabase) -> bool:
    """Create the tables, and say whether there is nothing in them yet."""
    async with db.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all, tables=tables())
        return not await connection.scalar(select(func.count()).select_from(User))


def tables() -> list[Table]:
    """List the tables of the blog, parents first."""
    return [Base.metadata.tables[name] for name in ("users", "tags", "posts", "post_tags", "comments")]


def _continue_numbering(table: Table) -> str:
    """Let PostgreSQL's sequences go on behind the ids that were given."""
    if "id" not in table.c:
        return "SELECT 1"
    return f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), (SELECT max(id) FROM {table.name}))"  # noqa: S608 - our own names


def _content(size: Size) -> Iterator[tuple[Table, Iterator[dict[str, Any]]]]:
    """Give the rows of each table, parents first."""
    make = _Generator(size)
    makers = (make.users, make.tags, make.posts, make.links, make.comments)
    return zip(tables(), (maker() for maker in makers), strict=True)


class _Generator:
    """Makes rows by chance, and the same ones each time."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.chance = random.Random(2025)  # noqa: S311 - content, not a secret

    def words(self, least: int, most: int) -> str:
        return " ".join(self.chance.choices(WORDS, k=self.chance.randint(least, most))).capitalize()

    def when(self, position: int) -> dt.datetime:
        return START + dt.timedelta(minutes=position * 5, seconds=self.chance.randrange(300))

    def users(self) -> Iterator[dict[str, Any]]:
        for number in range(1, self.size.users + 1):
            yield {
                "id": number,
                "name": f"{self.words(1, 1)} {self.words(1, 1)}",
                "email": f"user{number}@example.com",
                "is_active": number % 10 != 0,
                "created_at": self.when(number),
            }

    def tags(self) -> Iterator[dict[str, Any]]:
        for number, name in enumerate(TAGS, 1):
            yield {"id": number, "name": name}

    def posts(self) -> Iterator[dict[str, Any]]:
        for number in range(1, self.size.posts + 1):
            yield {
                "id": number,
                "author_id": self.chance.randint(1, self.size.users),
                "title": self.words(3, 8),
                "body": f"{self.words(20, 60)}.",
                "created_at": self.when(number),
            }

    def links(self) -> Iterator[dict[str, Any]]:
        for post in range(1, self.size.posts + 1):
            for tag in self.chance.sample(range(1, len(TAGS) + 1), k=self.chance.randint(0, 3)):
                yield {"post_id": post, "tag_id": tag}

    def comments(self) -> Iterator[dict[str, Any]]:
        for number in range(1, self.size.comments + 1):
            anonymous = self.chance.random() < ANONYMOUS
            yield {
                "id": number,
                "post_id": self.chance.randint(1, self.size.posts),
                "author_id": None if anonymous else self.chance.randint(1, self.size.users),
                "text": f"{self.words(4, 20)}.",
                "created_at": self.when(number),
            }
