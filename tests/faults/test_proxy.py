"""The network that fails on demand fails as it was told."""

from __future__ import annotations

import gc
import socket
import threading
from contextlib import suppress

import pytest
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from querywright import AsyncDatabase
from querywright.testing import EmbeddedPostgres
from tests.faults.proxy import Proxy


@pytest.fixture
def engine(proxy: Proxy, postgres: EmbeddedPostgres) -> Engine:
    return create_engine(proxy.url(postgres.url("psycopg")), poolclass=NullPool)


def one(engine: Engine) -> object:
    with engine.connect() as connection:
        return connection.scalar(text("SELECT 1"))


def test_it_passes_everything_on(proxy: Proxy, engine: Engine) -> None:
    with engine.connect() as connection:
        assert proxy.open == 1
        assert connection.scalar(text("SELECT length(repeat('x', 5000000))")) == 5000000
        assert len(connection.scalar(text("SELECT repeat('x', 5000000)")) or "") == 5000000
    assert proxy.accepted == 1


def test_it_refuses_and_comes_back_at_the_same_port(proxy: Proxy, engine: Engine) -> None:
    with engine.connect() as connection:
        proxy.refuse()
        with pytest.raises(OperationalError):
            connection.scalar(text("SELECT 1"))
    with pytest.raises(OperationalError, match="refused"):
        one(engine)
    proxy.pass_()
    assert one(engine) == 1


def test_it_resets(proxy: Proxy, engine: Engine) -> None:
    proxy.reset()
    with pytest.raises(OperationalError):
        one(engine)
    proxy.pass_()
    with engine.connect() as connection:
        proxy.drop()
        with pytest.raises(OperationalError):
            connection.scalar(text("SELECT 1"))
    assert one(engine) == 1


def test_it_swallows_everything_until_it_passes_it_on(proxy: Proxy, engine: Engine) -> None:
    answers: list[object] = []
    with engine.connect() as connection:
        proxy.blackhole()
        threads = [
            threading.Thread(target=lambda: answers.append(connection.scalar(text("SELECT 1")))),
            threading.Thread(target=lambda: answers.append(one(engine))),
        ]
        for thread in threads:
            thread.start()
        threads[0].join(0.2)
        assert answers == []
        proxy.pass_()
        for thread in threads:
            thread.join()
    assert answers == [1, 1]


def test_it_delays(proxy: Proxy, engine: Engine) -> None:
    with engine.connect() as connection:
        connection.scalar(text("SELECT 1"))
        proxy.delay(0.1)
        held: list[object] = []
        thread = threading.Thread(target=lambda: held.append(connection.scalar(text("SELECT 2"))))
        thread.start()
        thread.join(0.1)
        assert held == []
        thread.join()
        assert held == [2]
        proxy.pass_()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize("reaches_server", [True, False])
async def test_it_cuts_a_connection_at_its_commit(
    proxy: Proxy, postgres: EmbeddedPostgres, driver: str, *, reaches_server: bool
) -> None:
    async with AsyncDatabase(proxy.url(postgres.url(driver))) as db:
        async with db.transaction() as tx:
            await tx.execute(text("CREATE TABLE cut (id int)"))
        proxy.cut_commits(reaches_server=reaches_server)
        try:
            with pytest.raises(Exception, match=r"(?i)clos|connection|reset"):
                async with db.transaction() as tx:
                    await tx.execute(text("INSERT INTO cut VALUES (1)"))
            async with db.transaction() as tx:
                assert await tx.scalar(text("SELECT count(*) FROM cut")) == int(reaches_server)
        finally:
            async with db.transaction() as tx:
                await tx.execute(text("DROP TABLE cut"))
    assert proxy.cut == 1
    assert proxy.commits == 4


@pytest.mark.parametrize("holding", [False, True])
def test_it_leaves_no_connection_open_that_was_made_while_it_ended(
    postgres: EmbeddedPostgres, *, holding: bool
) -> None:
    def connect(port: int) -> None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as client:
            client.recv(1)

    for _ in range(20):
        with Proxy(postgres.port) as proxy:
            if holding:
                proxy.blackhole()
            clients = [threading.Thread(target=connect, args=(proxy.port,)) for _ in range(20)]
            for client in clients:
                client.start()
        for client in clients:
            client.join()
        assert proxy.open == 0
    del proxy
    # What is collected here and not closed is a warning.
    gc.collect()
