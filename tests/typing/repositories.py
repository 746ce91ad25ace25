"""What type checkers know of repositories and units of work; checked by mypy and pyright, never run."""

from sqlalchemy.ext.asyncio import AsyncSession as PlainAsyncSession
from sqlalchemy.orm import Session as PlainSession
from typing_extensions import assert_type

from querywright import (
    AsyncDatabase,
    AsyncRepository,
    AsyncSession,
    AsyncUnitOfWork,
    Database,
    Repository,
    Session,
    UnitOfWork,
    advisory_lock,
)
from querywright.fastapi import IfMatch, Writer, etag
from tests.suite.models import Author, Tag


class Authors(Repository[Author]):
    def shouting(self) -> list[Author]:
        return self.find(Author.name == "A", order_by=Author.name.desc())


class AsyncAuthors(AsyncRepository[Author]):
    async def shouting(self) -> list[Author]:
        return await self.find(Author.name == "A", order_by=[Author.name, Author.id.desc()])


class Library(UnitOfWork):
    authors: Authors
    tags: Repository[Tag]


class AsyncLibrary(AsyncUnitOfWork):
    authors: AsyncAuthors
    tags: AsyncRepository[Tag]


def sync_repositories(session: PlainSession) -> None:
    assert_type(Repository(Author, session), Repository[Author])
    assert_type(Repository(Author, session).model, type[Author])
    authors = Authors(session)
    assert_type(authors.get(1, lock="update", nowait=True), Author | None)
    assert_type(authors.one(Author.id == 1), Author)
    assert_type(authors.find(Author.deleted, limit=1), list[Author])
    assert_type(authors.add(Author(name="A")), Author)
    assert_type(authors.exists(1), bool)
    assert_type(authors.count(), int)
    assert_type(authors.shouting(), list[Author])


async def async_repositories(session: PlainAsyncSession) -> None:
    assert_type(AsyncRepository(Author, session), AsyncRepository[Author])
    authors = AsyncAuthors(session)
    assert_type(await authors.get(1, lock="share", skip_locked=True), Author | None)
    assert_type(await authors.one(1), Author)
    assert_type(await authors.find(), list[Author])
    assert_type(authors.add(Author(name="A")), Author)
    assert_type(await authors.exists(Author.id == 1), bool)
    assert_type(await authors.count(Author.id > 1), int)
    assert_type(await authors.shouting(), list[Author])


async def units(sync_db: Database, db: AsyncDatabase) -> None:
    with Library(sync_db, read_only=True) as library:
        assert_type(library, Library)
        assert_type(library.session, Session)
        assert_type(library.tags.get(1), Tag | None)
        advisory_lock(library.session, "library", 1)
    async with AsyncLibrary(db, isolation="SERIALIZABLE") as async_library:
        assert_type(async_library, AsyncLibrary)
        assert_type(async_library.session, AsyncSession)
        assert_type(await async_library.tags.find(), list[Tag])
        await advisory_lock(async_library.session, "library", wait=False)


async def dependencies(tx: Writer, if_match: IfMatch) -> str:
    tag = await AsyncLibrary.on(tx).tags.one(1)
    if_match.check(tag)
    return etag(tag)


def what_is_wrong_is_noticed(session: PlainSession, db: Database, async_db: AsyncDatabase) -> None:
    authors = Authors(session)
    authors.get(1, lock="exclusive")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    authors.add(Tag(name="t"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    authors.find("name = 'A'")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Library(async_db)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Library(db, readonly=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    AsyncRepository(Author, session)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
