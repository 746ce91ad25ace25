"""Units of work with a key: done once however often they are asked for, and waited for without a connection."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio.to_thread
import pytest
from sqlalchemy import MetaData, func, select

from querywright import (
    AsyncDatabase,
    CommitOutcomeUnknown,
    Database,
    IdempotencyKeys,
    InvalidValue,
    KeyInUse,
    KeyReused,
)
from tests.suite.models import Tag
from tests.suite.support import AnyDatabase, resolve, run, run_sync, transaction
from tests.tables import needs

COUNT = select(func.count()).select_from(Tag)
SERVERS = (
    "postgresql+psycopg", "postgresql+psycopg async", "postgresql+asyncpg", "mariadb+pymysql", "mariadb+aiomysql",
)  # fmt: skip
metadata = MetaData()
keys = IdempotencyKeys(metadata)


async def count(db: AnyDatabase) -> int:
    async with transaction(db, read_only=True) as tx:
        return int(await resolve(tx.scalar(COUNT)))


@pytest.fixture
@needs(metadata)
async def keyed(db: AnyDatabase) -> AnyDatabase:
    return db


def insert(tx: Any, name: str) -> dict[str, Any]:
    tx.add(Tag(name=name))
    tx.flush()
    return {"name": name}


async def test_a_key_is_for_one_unit_of_work(keyed: AnyDatabase) -> None:
    assert await run(keyed, insert, "one", key=keys("k")) == {"name": "one"}
    assert await run(keyed, insert, "ignored", key=keys("k")) == {"name": "one"}
    assert await count(keyed) == 1
    assert await run(keyed, insert, "two", key=keys("other")) == {"name": "two"}
    assert await count(keyed) == 2


async def test_a_failed_unit_of_work_leaves_no_key(keyed: AnyDatabase) -> None:
    def fail(_tx: Any) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await run(keyed, fail, key=keys("k"))
    assert await run(keyed, insert, "one", key=keys("k")) == {"name": "one"}


async def test_a_key_stands_for_one_request(keyed: AnyDatabase) -> None:
    await run(keyed, insert, "one", key=keys("k", fingerprint="a"))
    with pytest.raises(KeyReused):
        await run(keyed, insert, "one", key=keys("k", fingerprint="b"))


@pytest.mark.parametrize("wrong", ["", "x" * 256], ids=["empty", "too long"])
def test_a_key_that_cannot_be_kept_is_an_invalid_value(wrong: str) -> None:
    for caller in (None, "ann"):
        with pytest.raises(InvalidValue, match="1 to 255 characters"):
            keys(wrong, caller=caller)


# MariaDB's JSON is what MySQL's is: a number beyond 64 bits is a float.
@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite", "postgresql+psycopg", "postgresql+asyncpg")
async def test_a_result_comes_back_as_it_was(keyed: AnyDatabase) -> None:
    """SQLite makes a float of a bare number in a column of JSON."""
    for number, result in enumerate((10**20, 10**400, 1.0, 5, "5", None, True, [10**20], {"a": 1.0})):
        once, again = [await run(keyed, lambda _, result=result: result, key=keys(str(number))) for _ in range(2)]
        assert (again, type(again)) == (once, type(once)) == (result, type(result))


async def test_keys_are_compared_letter_by_letter(keyed: AnyDatabase) -> None:
    """MySQL takes texts for equal that differ in case, accents, spaces at their end or emoji."""
    alike = ["order-a", "ORDER-A", "order-á", "order-a ", "\U0001f600", "\U0001f601", "\ud800"]
    for value in alike:
        assert await run(keyed, insert, f"of {alike.index(value)}", key=keys(value)) == {
            "name": f"of {alike.index(value)}"
        }
    assert await count(keyed) == len(alike)


async def test_a_key_belongs_to_its_caller(keyed: AnyDatabase) -> None:
    callers = ["ann", "bob", 1, "11", "annk", None, ""]
    for each in callers:
        value = "1k" if each == 1 else "k"
        assert await run(keyed, insert, f"of {each!r}", key=keys(value, caller=each)) == {"name": f"of {each!r}"}
    assert await count(keyed) == len(callers)
    assert await run(keyed, insert, "ignored", key=keys("k", caller="ann")) == {"name": "of 'ann'"}


@pytest.mark.drivers("sqlite+aiosqlite", "postgresql+asyncpg", "postgresql+psycopg async")
async def test_eight_tasks_with_one_key(keyed: AsyncDatabase) -> None:
    async def work(tx: Any, number: int) -> int:
        tx.add(Tag(name=f"tag {number}"))
        return number

    results = await asyncio.gather(*(keyed.run(work, number, key=keys("k")) for number in range(8)))
    assert len(set(results)) == 1
    assert await count(keyed) == 1


async def test_keys_can_be_purged(keyed: AnyDatabase) -> None:
    await run(keyed, insert, "one", key=keys("k"))
    async with transaction(keyed) as tx:
        assert await run_sync(tx, lambda sync: keys.purge(sync, dt.timedelta(hours=1))) == 0
        assert await run_sync(tx, lambda sync: keys.purge(sync, dt.timedelta(seconds=-1))) == 1


@pytest.mark.parametrize("took_effect", [True, False])
@pytest.mark.parametrize("times", [1, 3])
async def test_hooks_of_commits_without_an_answer(
    keyed: AnyDatabase, monkeypatch: pytest.MonkeyPatch, times: int, *, took_effect: bool
) -> None:
    """On every database; tests/faults/test_commit.py has a network that loses them."""
    dialect = keyed.engine.dialect
    commit, left, hooks = dialect.do_commit, [None] * times, []

    def lose(connection: Any) -> None:
        if not left or took_effect:
            commit(connection)
        if left:
            left.pop()
            raise ConnectionResetError

    def work(tx: Any) -> int:
        tx.add(Tag(name="one"))
        tx.on_commit(hooks.append, "commit")
        tx.on_rollback(hooks.append, "rollback")
        return 7

    monkeypatch.setattr(dialect, "do_commit", lose)
    assert await run(keyed, work, key=keys("k"), deadline=60) == 7
    assert hooks == (["commit"] if took_effect else [*["rollback"] * times, "commit"])
    assert await count(keyed) == 1


async def test_hooks_of_a_commit_that_nobody_asks_for_again(
    keyed: AnyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks: list[str] = []

    def work(tx: Any) -> None:
        tx.on_commit(hooks.append, "commit")
        tx.on_rollback(hooks.append, "rollback")

    def lose(_connection: Any) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(keyed.engine.dialect, "do_commit", lose)
    with pytest.raises(CommitOutcomeUnknown):
        await run(keyed, work, key=keys("k"), attempts=1)
    assert hooks == []


class Held:
    """A unit of work that ends when it is told to."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.times = 0

    def work(self, tx: Any) -> int:
        tx.add(Tag(name=f"tag {self.times}"))
        self.times += 1
        self.begun.set()
        assert self.ended.wait(60)
        return 7

    async def work_async(self, tx: Any) -> int:
        return await anyio.to_thread.run_sync(self.work, tx)

    def run(self, db: AnyDatabase, **options: Any) -> asyncio.Future[Any]:
        """Begin to run it with one key, in a task or a thread."""
        options["key"] = keys("k")
        if isinstance(db, Database):
            return asyncio.get_running_loop().run_in_executor(None, partial(db.run, self.work, **options))
        return asyncio.ensure_future(db.run(self.work_async, **options))


@pytest.fixture
def held() -> Held:
    return Held()


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - of threads
        await asyncio.sleep(0.01)


async def another(db: AnyDatabase, **options: Any) -> AnyDatabase:
    return type(db)(db.engine.url.render_as_string(hide_password=False), **options)


async def test_repeats_leave_the_pool_to_others(keyed: AnyDatabase, held: Held) -> None:
    db = await another(keyed, pool_size=3, max_overflow=0, pool_timeout=2, lock_timeout=60)
    units = [held.run(db)]
    await until(held.begun.is_set)
    # Not more than a process has threads, or there is nobody to wait.
    units += [held.run(db) for _ in range(4)]
    for _ in range(5):
        await asyncio.sleep(0.01)
        await resolve(db.ping())
    held.ended.set()
    assert await asyncio.gather(*units) == [7] * 5
    assert (held.times, await count(db)) == (1, 1)
    await resolve(db.dispose())


async def test_a_repeat_does_not_wait_for_ever(keyed: AnyDatabase, held: Held) -> None:
    db = await another(keyed, lock_timeout=1)
    first = held.run(db)
    await until(held.begun.is_set)
    with pytest.raises(KeyInUse):
        await held.run(db)
    held.ended.set()
    assert (await first, await held.run(db), held.times) == (7, 7, 1)
    await resolve(db.dispose())


@pytest.mark.drivers(*SERVERS)
async def test_another_process_does_not_wait_for_ever(keyed: AnyDatabase, held: Held) -> None:
    other = await another(keyed, lock_timeout=1)
    first = held.run(keyed)
    await until(held.begun.is_set)
    with pytest.raises(KeyInUse):
        await held.run(other)
    # Who wants to try longer says so.
    patient = held.run(other, also={"55P03"}, deadline=60, attempts=100)
    held.ended.set()
    assert (await first, await patient, held.times) == (7, 7, 1)
    await resolve(other.dispose())
