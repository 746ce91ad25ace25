"""What is no bind, no database and no key is refused by a name for it, and with what to give instead."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, SecretStr
from sqlalchemy import Engine, MetaData, create_engine, make_url, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from querywright import AsyncDatabase, ConfigurationError, Database, IdempotencyKeys, fetch
from tests.suite.models import Author
from tests.suite.support import AnyDatabase, resolve

URL = "postgresql+psycopg://app:s3cret@localhost/app"


class AuthorOut(BaseModel):
    name: str


class Holder:
    engine = 5


class Lazy:
    @property
    def engine(self) -> Engine:
        raise AttributeError("its own")


@pytest.mark.parametrize(
    ("bind", "told"),
    [
        (sessionmaker(), r"this sessionmaker as its bind\. Call it, and give the session"),
        (async_sessionmaker(), r"this async_sessionmaker as its bind\. Call it, and give the session"),
        (Session, r"the class Session as its bind\. It is a session, connection, engine or database"),
        (AsyncSession, "the class AsyncSession as its bind"),
        (Database, "the class Database as its bind"),
        (scoped_session, "the class scoped_session as its bind"),
        (None, "this NoneType as its bind"),
        (5, "this int as its bind"),
        (Holder(), "this int as its bind"),
        (Lazy(), "this Lazy as its bind"),
        (URL, r"this str as its bind\. .*Make a Database or AsyncDatabase of the URL"),
        (make_url(URL), "this URL as its bind"),
    ],
)
def test_what_is_no_bind(bind: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"fetch\(\) cannot use {told}") as caught:
        fetch(bind, AuthorOut, select(Author))
    assert "s3cret" not in str(caught.value)


def test_the_reason_why_a_holder_has_no_engine_is_kept() -> None:
    with pytest.raises(ConfigurationError) as caught:
        fetch(Lazy(), AuthorOut, select(Author))
    assert str(caught.value.__cause__) == "its own"


@pytest.mark.parametrize("kind", [Database, AsyncDatabase])
@pytest.mark.parametrize(
    ("source", "told"),
    [
        (sessionmaker(), "this sessionmaker"),
        (async_sessionmaker(), "this async_sessionmaker"),
        (123, "this int"),
        (b"sqlite+pysqlite://", "this bytes"),
        (Engine, "this type"),
        (Session(create_engine("sqlite+pysqlite://")), "this Session"),
    ],
)
def test_what_no_database_is_made_of(kind: Any, source: Any, told: str) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"cannot be made of {told}\. Give it a URL, DatabaseSettings or an engine; without"
    ):
        kind(source)


def test_a_url_may_be_a_secret() -> None:
    source: Any = SecretStr("sqlite+pysqlite:///:memory:")
    Database(source).dispose()


@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite")
@pytest.mark.parametrize("key", ["s3cret", 5, IdempotencyKeys, IdempotencyKeys(MetaData())])
async def test_what_is_no_key(db: AnyDatabase, key: Any) -> None:
    done: list[Any] = []
    run: Any = db.run
    with pytest.raises(
        ConfigurationError, match=r"cannot use this \w+ as its key\. Write key=keys\(\"...\"\)"
    ) as caught:
        await resolve(run(done.append, key=key))
    assert not done
    assert "s3cret" not in str(caught.value)
