"""Hostile input is answered with a 4xx, by every driver, and what is accepted breaks nothing later."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, get_args

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import delete, text
from typing_extensions import override

from querywright import AsyncDatabase
from querywright.fastapi import SyncWriter, Writer
from tests.fastapi.hostile.application import application
from tests.fastapi.hostile.inputs import INPUTS, MISSING, Input
from tests.fastapi.hostile.models import SECRET, Base, Sample
from tests.suite.support import AnyDatabase, add, resolve, transaction
from tests.tables import needs

# What no client may read: names of drivers and their errors, SQL, names of tables, paths of files.
LEAKS = re.compile(
    r"asyncpg|psycopg|pymysql|aiomysql|sqlite|sqlalche|mariadb|postgres|SELECT |INSERT |UPDATE |WHERE |vault_"
    r"|sqlstate|codec|Traceback|site-packages|DataError|OverflowError|argument \$|bind param"
    rf"|{SECRET}",
    re.IGNORECASE,
)


@pytest.fixture
@needs(Base.metadata)
def vault_tables() -> None:
    """The table of this test's application, and that of its keys."""


@pytest.fixture
async def app(vault_tables: None, db: AnyDatabase) -> FastAPI:
    await add(db, Sample(id=1, name="kept"))
    return application(db)


def request(client: httpx.AsyncClient, sent: Input) -> httpx.Request:
    method = sent.method or ("GET" if sent.body is None else "POST")
    pairs = sent.headers.items()
    headers = [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in pairs]
    return client.build_request(method, sent.path, content=sent.body, headers=headers)


async def wrong_with(client: httpx.AsyncClient, sent: Input, statuses: Counter[int]) -> AsyncIterator[str]:
    response = await client.send(request(client, sent))
    statuses[response.status_code] += 1
    if response.status_code >= 500:
        yield f"{response.status_code} {response.text[:100]}"
    if response.status_code >= 400 and (leak := LEAKS.search(response.text)):
        yield f"leaks {leak[0]!r}: {response.text[:300]}"
    if response.status_code < 300 and sent.body is not None:
        for path in ("/objects", "/bytes"):
            later = await client.get(path)
            if later.status_code != 200:
                yield f"{response.status_code}, and then {later.status_code} for {path} {later.text[:100]}"


async def test_hostile_input(client: httpx.AsyncClient, db: AnyDatabase) -> None:
    failures: list[str] = []
    statuses: Counter[int] = Counter()
    for sent in INPUTS:
        failures += [f"{sent}: {each}" async for each in wrong_with(client, sent, statuses)]
        if sent.body is not None:
            async with transaction(db) as tx:
                await resolve(tx.execute(delete(Sample).where(Sample.id != 1)))
    print(f"{len(INPUTS)} inputs, answers: {dict(sorted(statuses.items()))}")  # noqa: T201 - with pytest -s
    assert not failures, f"{len(failures)} of {len(INPUTS)}\n" + "\n".join(failures)


async def test_missing_rows(client: httpx.AsyncClient) -> None:
    answers = {path: await client.get(path) for path in MISSING}
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(MISSING, 404)
    assert not [path for path, answer in answers.items() if LEAKS.search(answer.text)]


class Unbindable(dt.datetime):
    """A fault of the application, which no client could send."""

    @override
    def astimezone(self, tz: Any = None) -> Any:
        return self.nothing  # type: ignore[attr-defined]


FAULTS: dict[str, dict[str, Any]] = {
    "not serializable": {"data": dt.date(2024, 1, 1)},
    "a bug in a type": {"moment": Unbindable(2024, 1, 1, tzinfo=dt.timezone.utc)},
}


@pytest.mark.parametrize("name", FAULTS)
async def test_faults_of_the_application_stay_its_own(
    app: FastAPI, client: httpx.AsyncClient, db: AnyDatabase, name: str
) -> None:
    writer: Any = get_args(Writer if isinstance(db, AsyncDatabase) else SyncWriter)[1]

    async def fail(tx: Any = writer) -> None:
        tx.add(Sample(**FAULTS[name]))
        await resolve(tx.flush())

    app.post("/fault")(fail)
    response = await client.post("/fault")
    assert (response.status_code, LEAKS.search(response.text)) == (500, None)


@pytest.mark.drivers("postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg")
async def test_rows_that_python_cannot_read_are_no_fault_of_a_client(
    client: httpx.AsyncClient, db: AnyDatabase
) -> None:
    async with transaction(db) as tx:
        await resolve(tx.execute(text("UPDATE vault_samples SET zoned = '20000-01-01Z'")))
    response = await client.get("/objects")
    assert (response.status_code, LEAKS.search(response.text)) == (500, None)
