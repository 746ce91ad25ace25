"""Conditional requests: nobody overwrites a version that they have not read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI, Response
from pydantic import BaseModel
from sqlalchemy import select, update
from sqlalchemy.orm.exc import StaleDataError

from querywright import (
    AsyncDatabase,
    AsyncRepository,
    ConfigurationError,
    Database,
    InvalidRequest,
    PreconditionFailed,
    StaleData,
    StaleRow,
)
from querywright.fastapi import (
    IfMatch,
    IfNoneMatch,
    OptionalIfMatch,
    Reader,
    SyncWriter,
    Writer,
    etag,
    install,
    lifespan,
)
from querywright.fastapi.responses.etags import Match, NoneMatch, parse_tags
from tests.suite.bank import Account, Card
from tests.suite.support import add

ASYNC = ("sqlite+aiosqlite", "postgresql+asyncpg", "postgresql+psycopg async")


class AccountOut(BaseModel):
    id: int
    owner: str
    version: int


class Gate:
    """Lets requests go on once so many have come to it."""

    def __init__(self) -> None:
        self.expected = 0
        self.opened = asyncio.Event()

    async def passed(self) -> None:
        self.expected -= 1
        if self.expected <= 0:
            self.opened.set()
        await self.opened.wait()


def routes(app: FastAPI, gate: Gate) -> None:
    @app.get("/accounts/{account_id}")
    async def read(account_id: int, db: Reader, if_none_match: IfNoneMatch, response: Response) -> AccountOut:
        account = await db.fetch(AccountOut, select(Account).where(Account.id == account_id)).one()
        if_none_match.check(account)
        response.headers["ETag"] = etag(account)
        return account

    @app.put("/accounts/{account_id}")
    async def rename(account_id: int, owner: str, tx: Writer, if_match: IfMatch, response: Response) -> None:
        account = await AsyncRepository(Account, tx).one(account_id)
        if_match.check(account)
        await gate.passed()
        account.owner = owner
        await tx.flush()
        response.headers["ETag"] = etag(account)

    @app.patch("/accounts/{account_id}")
    async def perhaps(account_id: int, owner: str, tx: Writer, if_match: OptionalIfMatch) -> None:
        account = await AsyncRepository(Account, tx).one(account_id)
        if_match.check(account)
        account.owner = owner

    @app.put("/new/{account_id}", status_code=201)
    async def create(account_id: int, tx: Writer, if_none_match: IfNoneMatch) -> None:
        if_none_match.check(await AsyncRepository(Account, tx).get(account_id))
        tx.add(Account(id=account_id, owner="new"))

    @app.post("/plain")
    async def plain() -> None:
        raise StaleDataError("UPDATE statement on table 'secret'")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def client(bank: AsyncDatabase, gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(lifespan=lifespan(bank))
    install(app, bank)
    routes(app, gate)
    await add(bank, Account(id=1, owner="Ada"))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.drivers(*ASYNC)
async def test_a_change_of_what_was_read(client: httpx.AsyncClient) -> None:
    tag = (await client.get("/accounts/1")).headers["etag"]
    assert tag == '"1"'
    changed = await client.put("/accounts/1?owner=Bo", headers={"If-Match": tag})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    late = await client.put("/accounts/1?owner=Cy", headers={"If-Match": tag})
    assert late.status_code == 412
    assert late.json() == {
        "type": "about:blank",
        "title": "Precondition Failed",
        "status": 412,
        "detail": "The row is no longer as it was read. Read it again.",
    }
    assert (await client.get("/accounts/1")).json()["owner"] == "Bo"


@pytest.mark.drivers(*ASYNC)
async def test_a_row_with_the_key_of_a_deleted_one(
    client: httpx.AsyncClient, bank: AsyncDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite gives a key again, and anybody may: what was read of the one row is nothing of the other."""
    monkeypatch.undo()
    await add(bank, first := Account(id=2, owner="Bo"))
    tag = (await client.get("/accounts/2")).headers["etag"]
    async with bank.transaction() as tx:
        await tx.delete(await tx.get(Account, 2))
    await add(bank, second := Account(id=2, owner="Cy"))
    assert second.version != first.version
    assert (await client.put("/accounts/2?owner=Di", headers={"If-Match": tag})).status_code == 412
    assert (await client.get("/accounts/2", headers={"If-None-Match": tag})).json()["owner"] == "Cy"
    first.owner = "Eve"
    with pytest.raises(StaleData):
        async with bank.transaction() as tx:
            tx.add(first)


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_headers(client: httpx.AsyncClient) -> None:
    missing = await client.put("/accounts/1?owner=Bo")
    assert (missing.status_code, missing.json()["title"]) == (428, "Precondition Required")
    assert "Send the ETag of what you read." in missing.json()["detail"]
    for value, status in {
        '"1"': 200,
        '"7", "2"': 200,
        '"7"': 412,
        'W/"3"': 412,
        "*": 200,
        "4": 422,
        "": 422,
        '"4", *': 422,
        '"4': 422,
    }.items():
        response = await client.put("/accounts/1?owner=Bo" + str(status) + value, headers={"If-Match": value})
        assert response.status_code == status, value
    lines = [("If-Match", '"7"'), ("If-Match", '"4"')]
    assert (await client.put("/accounts/1?owner=two lines", headers=lines)).status_code == 200
    assert (await client.patch("/accounts/1?owner=Cy")).status_code == 200
    assert (await client.patch("/accounts/1?owner=Cy", headers={"If-Match": '"1"'})).status_code == 412
    assert (await client.put("/accounts/9?owner=Cy", headers={"If-Match": "*"})).status_code == 404


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_if_none_match(client: httpx.AsyncClient) -> None:
    for value in ('"1"', 'W/"1"', '"7", "1"', "*"):
        response = await client.get("/accounts/1", headers={"If-None-Match": value})
        assert (response.status_code, response.headers["etag"], response.content) == (304, '"1"', b"")
    assert (await client.get("/accounts/1", headers={"If-None-Match": '"2"'})).status_code == 200
    for status in (201, 412):
        assert (await client.put("/new/2", headers={"If-None-Match": "*"})).status_code == status


# SQLite has one writer at a time, so there the second one already reads the new version.
@pytest.mark.drivers("postgresql+asyncpg", "postgresql+psycopg async")
async def test_a_race_between_check_and_commit_is_a_conflict(client: httpx.AsyncClient, gate: Gate) -> None:
    gate.expected = 2
    tag = {"If-Match": (await client.get("/accounts/1")).headers["etag"]}
    responses = await asyncio.gather(*(client.put(f"/accounts/1?owner={owner}", headers=tag) for owner in ("Bo", "Cy")))
    first, second = sorted(responses, key=lambda response: response.status_code)
    assert (first.status_code, second.status_code) == (200, 409)
    detail = "A row of Account was changed or deleted by somebody else after it was read."
    assert second.json()["detail"] == detail
    winner = "Bo" if responses[0] is first else "Cy"
    account = (await client.get("/accounts/1")).json()
    assert (account["owner"], account["version"]) == (winner, 2)


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_stale_data_of_plain_sessions_is_a_conflict(client: httpx.AsyncClient) -> None:
    response = await client.post("/plain")
    assert response.status_code == 409
    assert "secret" not in response.text


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg")
async def test_sync_handlers(bank: Database) -> None:
    app = FastAPI()
    install(app, bank)
    await add(bank, Account(id=1, owner="Ada"))

    @app.put("/accounts/{account_id}")
    def rename(account_id: int, owner: str, tx: SyncWriter, if_match: IfMatch) -> str:
        account = tx.get_one(Account, account_id)
        if_match.check(account)
        account.owner = owner
        tx.flush()
        return etag(account)

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for status in (200, 412):
            response = await client.put("/accounts/1?owner=Bo", headers={"If-Match": '"1"'})
            assert response.status_code == status


@pytest.mark.drivers("sqlite+pysqlite")
async def test_entity_tags(bank: Database) -> None:
    with bank.transaction() as tx:
        account, card = Account(id=1, owner="Ada"), Card(id=1, number="1")
        with pytest.raises(ConfigurationError, match="Account has no version"):
            etag(account)
        tx.add_all([account, card])
        tx.flush()
        assert etag(account) == '"1"'
        assert etag(card) == f'"{card.revision}"'
        account.owner = "Bo"
        with pytest.raises(ConfigurationError, match=r"Call flush\(\) before etag"):
            etag(account)
        tx.flush()
        assert etag(account) == '"2"'
        tx.execute(update(Account).values(version=7))
        tx.refresh(account)
        assert etag(account) == '"7"'
    assert etag(SimpleNamespace(version='2026 "x",ä')) == '"2026%20%22x%22%2C%C3%A4"'
    with pytest.raises(ConfigurationError, match="int has no version"):
        etag(3)


def test_matching() -> None:
    row = SimpleNamespace(version=1)
    Match(()).check(None)
    Match(("*",)).check(row)
    for tags in (("*",), ('"1"',)):
        with pytest.raises(PreconditionFailed):
            Match(tags).check(None)
    NoneMatch(("*",), reads=True).check(None)
    NoneMatch((), reads=False).check(row)


@pytest.mark.parametrize(
    ("lines", "tags"),
    [
        (None, ()),
        (['"a"'], ('"a"',)),
        (['W/"a"', '"b,c" ,, ""'], ('W/"a"', '"b,c"', '""')),
        ([" * "], ("*",)),
        ([', "a",'], ('"a"',)),
    ],
)
def test_what_is_a_list_of_tags(lines: list[str] | None, tags: tuple[str, ...]) -> None:
    assert parse_tags("If-Match", lines) == tags


@pytest.mark.parametrize("value", ["", "a", '"a" "b"', 'w/"a"', '"a', '"\x7f"', "**", ",", '"a"' + " " * 5000 + "x"])
def test_what_is_not(value: str) -> None:
    with pytest.raises(InvalidRequest, match="If-Match is neither"):
        parse_tags("If-Match", [value])


def test_the_error_of_a_conflict_carries_its_rows() -> None:
    assert StaleData((StaleRow("Account", (1,), 3),)).rows[0].version == 3
