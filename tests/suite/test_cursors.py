"""What cursors tell: nothing that the model does not show. What anybody can make of them: no error of the server."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from querywright import AsyncDatabase, ConfigurationError, Database, InvalidCursor, ShapeError, use_cursor_secret
from querywright.fetching.pages.cursors import LONGEST, named
from querywright.fetching.pages.possible import _CHECKS
from querywright.fetching.writers import _WRITERS, writer_for
from tests.conftest import SYNC
from tests.suite.models import Author, Everything, EverythingOut, NameOut
from tests.suite.support import AnyDatabase, add, resolve

SECRET = "one of its own, for these tests"  # noqa: S105 - only here
BY_NAME = select(Author).order_by(Author.name, Author.email.desc())


class EmailOut(NameOut):
    email: str | None


@pytest.fixture
async def authors(db: AnyDatabase) -> AnyDatabase:
    await add(db, *(Author(id=n, name=f"name {n % 3}", email=None if n % 2 else f"{n}@x.y") for n in range(1, 8)))
    return db


@pytest.fixture
async def plain(request: pytest.FixtureRequest, url: str) -> AsyncIterator[AnyDatabase]:
    """The same database, without a secret."""
    kind = Database if request.node.callspec.params["url"] in SYNC else AsyncDatabase
    database: AnyDatabase = kind(url)
    yield database
    await resolve(database.dispose())  # type: ignore[arg-type]


def raw(cursor: str) -> bytes:
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))


def written(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


async def test_without_a_secret_nothing_hidden_has_pages(authors: AnyDatabase, plain: AnyDatabase) -> None:
    for statement, size in ((BY_NAME, 3), (BY_NAME.where(Author.id == 0), 3), (select(Author).order_by("email"), 9)):
        fetched = plain.fetch(NameOut, statement)
        for verb in (fetched.page, fetched.json_page):
            with pytest.raises(ShapeError, match="email, which the model does not show") as caught:
                await resolve(verb(size=size))
            assert "QUERYWRIGHT_CURSOR_SECRET" in caught.value.hint
            assert "secrets.token_urlsafe(32)" in caught.value.hint
        assert len((await resolve(fetched.page(size=size, number=1))).items) <= size
    assert (await resolve(authors.fetch(NameOut, BY_NAME).page(size=3))).next is not None


async def test_without_a_secret_shown_values_have_pages(authors: AnyDatabase, plain: AnyDatabase) -> None:
    seen, cursor = [], None
    while True:
        page = await resolve(plain.fetch(EmailOut, BY_NAME).page(size=2, after=cursor))
        seen += page.items
        cursor = page.next
        if cursor is None:
            break
        shown = {str(value) for row in page.items for value in row.model_dump().values() if value is not None}
        values = [pair[1] for pair in json.loads(raw(cursor)[6:]) if pair]
        assert set(values) <= shown
    whole = await resolve(authors.fetch(EmailOut, BY_NAME).page(size=9))
    assert seen == whole.items
    back = await resolve(plain.fetch(EmailOut, BY_NAME).page(size=4, before=page.previous))
    assert back.items[-1] == whole.items[5]


async def test_who_has_no_secret_needs_none_of_the_url(plain: AnyDatabase, authors: AnyDatabase) -> None:
    """Workers that log in as others agree, and a cursor is no proof of a password."""
    first = await resolve(plain.fetch(EmailOut, BY_NAME).page(size=3))
    is_trusting = plain.engine.name == "postgresql"
    url = plain.engine.url.set(password="another") if is_trusting else plain.engine.url  # noqa: S106 - it is not asked for
    other = type(plain)(url)
    try:
        assert (await resolve(other.fetch(EmailOut, BY_NAME).page(size=3))).next == first.next
    finally:
        await resolve(other.dispose())  # type: ignore[arg-type]


async def test_with_a_secret_nothing_can_be_read_or_forged(authors: AnyDatabase) -> None:
    page = await resolve(authors.fetch(NameOut, BY_NAME).page(size=4))
    cursor = page.next
    assert cursor is not None
    content = raw(cursor)
    assert not [word for word in (b"name", b"@x", b"integer", b"text") if word in content]
    again = (await resolve(authors.fetch(NameOut, BY_NAME).page(size=4))).next
    assert again != cursor
    assert len({len((await resolve(authors.fetch(NameOut, BY_NAME).page(size=n))).next or "") for n in (1, 4, 6)}) == 1
    changed = [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in range(len(content))]
    forged = [*map(written, changed), cursor[:-4], cursor + "A", cursor + "=", cursor * 2, "é", "\ud800", "AAAA"]
    for each in [*forged, "A" * (LONGEST + 1), written(b"[" * 40_000)]:
        with pytest.raises(InvalidCursor, match="The cursor is not one of this list"):
            await resolve(authors.fetch(NameOut, BY_NAME).page(size=3, after=each))
    for other in (BY_NAME.order_by(Author.deleted), select(Author).order_by(Author.name.desc(), Author.email.desc())):
        with pytest.raises(InvalidCursor):
            await resolve(authors.fetch(NameOut, other).page(size=3, after=cursor))


async def test_all_who_know_the_secret_agree(authors: AnyDatabase, plain: AnyDatabase, url: str) -> None:
    mine = await resolve(authors.fetch(EmailOut, BY_NAME).page(size=3))
    open_ = await resolve(plain.fetch(EmailOut, BY_NAME).page(size=3))
    one, two = (type(authors)(url, cursor_secret=SECRET) for _ in range(2))
    try:
        first = await resolve(one.fetch(EmailOut, BY_NAME).page(size=3))
        assert (await resolve(two.fetch(EmailOut, BY_NAME).page(size=3, after=first.next))).items
        for db, cursor in ((one, mine.next), (one, open_.next), (authors, first.next), (plain, first.next)):
            with pytest.raises(InvalidCursor):
                await resolve(db.fetch(EmailOut, BY_NAME).page(size=3, after=cursor))
    finally:
        await resolve(one.dispose())  # type: ignore[arg-type]
        await resolve(two.dispose())  # type: ignore[arg-type]


@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite")
async def test_engines_of_sqlalchemy_can_have_a_secret(authors: AnyDatabase, plain: AnyDatabase) -> None:
    use_cursor_secret(plain.engine, SECRET)
    first = await resolve(plain.fetch(NameOut, BY_NAME).page(size=3))
    assert (await resolve(plain.fetch(NameOut, BY_NAME).page(size=3, after=first.next))).items
    with pytest.raises(ConfigurationError, match="at least 16 characters"):
        use_cursor_secret(plain.engine, "short")


class ShownOut(EverythingOut):
    genre: Any
    data: Any
    items: Any


NOW = dt.datetime(2026, 5, 4, 3, 2, 1, 500, tzinfo=dt.timezone.utc)
ROW: dict[str, Any] = {
    "number": 7, "text": "b", "flag": True, "ratio": 0.1 + 0.2, "price": Decimal("9.90"), "moment": NOW,
    "local": NOW.replace(tzinfo=None), "day": NOW.date(), "genre": "NOVEL", "level": "LOW", "data": {}, "items": [],
}  # fmt: skip
TYPED = ["id", "number", "text", "text_or_none", "flag", "ratio", "price", "moment", "local", "day", "key_or_none"]
TEXTS = [
    "", "a", "0", "-1", "32768", "2147483648", "9223372036854775808", "9" * 4301, "1" * 30_000, "1.5", "1e400", "1e39",
    "1e-60", "nan", "NaN", "inf", "Infinity", "-0", " 1", "0x1", "1_0", "٣", "true", "t", "\0", "a\0b", "\ud800",
    "é" * 5000,
    "2020-02-31", "2020-02-03", "20200203", "2020-02-03T04:05:06", "2020-02-03T04:05:06.5", "2020-02-03T04:05:06+23:00",
    "2020-02-03T04:05:06+01:00", "0001-01-01T00:00:00+15:00", "9999-12-31T23:59:59.999999-15:00", "infinity", "now",
    "-infinity", "10000-01-01", "24:00:00", "25:00:00", "12:30:00", "9" * 20, "3019000000001",
    "12345678-1234-5678-1234-567812345678", "{12345678-1234-5678-1234-567812345678}", "123456781234567812345678123456",
]  # fmt: skip
KINDS = [*_CHECKS, "@bytes", "", "integer[]", "regclass", "pg_catalog.text", '"text"', "x; DROP TABLE authors", "xml"]


_KINDS_OF = {name: frozenset().union(*writer_for(name).sort_kinds.by_encoding.values()) for name in _WRITERS}


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg", "postgresql+asyncpg", "mariadb+pymysql")
@pytest.mark.parametrize("name", TYPED)
async def test_forged_positions(db: AnyDatabase, plain: AnyDatabase, name: str) -> None:
    """Whatever stands in a cursor that is not sealed: it is refused, or the database takes it and returns a page."""
    await add(db, *(Everything(**ROW | {"number": number}) for number in range(3)))
    fetched = plain.fetch(ShownOut, select(Everything).order_by(getattr(Everything, name)))
    first = await resolve(fetched.page(size=2))
    assert first.next is not None
    whole = [row.id for row in (await resolve(fetched.page(size=9))).items]
    head, position = raw(first.next)[:6], json.loads(raw(first.next)[6:])
    kinds = [kind for kind in KINDS if kind in _KINDS_OF[plain.engine.name] or kind not in _CHECKS]
    forged = [[[kind, text], *position[1:]] for kind in [*kinds, "@timestamp", "integer"] for text in TEXTS]
    forged += [
        [],
        [None],
        {},
        1,
        "a",
        None,
        True,
        [[]],
        [position],
        position * 2,
        [None] * len(position),
        [1, 2],
        ["ab", "cd"],
    ]
    taken = 0
    for each in forged:
        try:
            page = await resolve(fetched.page(size=9, after=written(head + json.dumps(each).encode())))
        except InvalidCursor:
            continue
        taken += 1
        found = [row.id for row in page.items]
        assert found == whole[len(whole) - len(found) :]
    assert taken > 0
    for content in (
        b"\xff",
        b'[["@text","\xed\xa0\x80"]]',
        b"[" * 30_000,
        b'[["@integer"',
        b"",
        b"\0",
        b"NaN",
        b"[1e400, 1]",
    ):
        with pytest.raises(InvalidCursor):
            await resolve(fetched.page(size=9, after=written(head + content)))
    with pytest.raises(InvalidCursor):
        await resolve(fetched.page(size=9, after=written(named("another") + json.dumps(position).encode())))


@pytest.mark.drivers("sqlite+pysqlite")
async def test_values_that_make_too_long_cursors(plain: Database, db: Database) -> None:
    with db.transaction() as tx:
        tx.add_all([Everything(**ROW | {"text": "é" * LONGEST, "id": uuid.UUID(int=n)}) for n in range(2)])
    for each in (plain, db):
        with pytest.raises(ShapeError, match="longer than 65536 characters"):
            each.fetch(ShownOut, select(Everything).order_by(Everything.text)).page(size=1)
