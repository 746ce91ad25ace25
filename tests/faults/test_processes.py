"""A13 and A14: connections stay with the process and the event loop that opened them."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from querywright import AsyncDatabase, Database
from querywright.engine import pool_snapshot
from querywright.testing import EmbeddedPostgres
from tests.faults.report import Figures
from tests.mariadb import PrivateMariaDB

DRIVERS = (
    "sqlite+pysqlite",
    "postgresql+psycopg",
    "sqlite+aiosqlite",
    "postgresql+psycopg async",
    "postgresql+asyncpg",
)
ASYNC = DRIVERS[2:]


@pytest.fixture
def place(driver: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database."""
    if driver.startswith("sqlite"):
        return f"{driver}:///{tmp_path}/test.db"
    if driver.startswith("mariadb"):
        mariadb: PrivateMariaDB = request.getfixturevalue("mariadb")
        return mariadb.url(driver, mariadb.new_database())
    postgres: EmbeddedPostgres = request.getfixturevalue("postgres")
    return postgres.url(driver.partition("+")[2].removesuffix(" async"))


# A parent forks children, which work while it works too; each prints the backend that served it, or its process.
FORKING = """
import asyncio, os, sys
from sqlalchemy import text
from querywright import AsyncDatabase, Database

url, asynchronous = sys.argv[1], sys.argv[2] == "async"
who = "SELECT pg_backend_pid()" if url.startswith("postgresql") else f"SELECT {os.getpid()}"

async def ask(db):
    async with db.session() as session:
        return [await session.scalar(text(who)) for _ in range(20)]

def work(loop, db):
    if asynchronous:
        return loop.run_until_complete(ask(db))
    with db.session() as session:
        return [session.scalar(text(who)) for _ in range(20)]

loop = asyncio.new_event_loop()
db = AsyncDatabase(url) if asynchronous else Database(url)
mine = work(loop, db)
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        try:
            # Nothing runs in the child's copy of the loop, which stays as it is: it warns where it is collected.
            own = asyncio.new_event_loop()
            theirs = work(own, db)
            own.run_until_complete(db.dispose()) if asynchronous else db.dispose()
            status = url.startswith("postgresql") and set(theirs) & set(mine)
            os._exit(1 if status else 0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(2)
    children.append(child)
again = work(loop, db)
statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
again += work(loop, db)
if set(again) != set(mine):
    sys.exit(f"the parent lost its connection: {mine[0]} {again}")
loop.run_until_complete(db.dispose()) if asynchronous else db.dispose()
loop.close()
sys.exit(f"children ended with {statuses}" if any(statuses) else 0)
"""


@pytest.mark.parametrize("driver", DRIVERS)
def test_a13_fork_leaves_the_connections_to_the_parent(driver: str, place: str, figures: Figures) -> None:
    kind = "async" if driver in ASYNC else "sync"
    # A fork in a process with threads, such as aiosqlite's, is deprecated since Python 3.12.
    options = ["-W", "error", "-W", "ignore::DeprecationWarning"]
    command = [sys.executable, *options, "-c", FORKING, place, kind]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603 - our own
    assert (ended.returncode, ended.stderr) == (0, "")
    figures.notes.append("3 children beside a working parent")


FORKING_INSIDE = """
import gc, os, sys
from sqlalchemy import text
from querywright import Database

url, how = sys.argv[1:]
db = Database(url)
with db.transaction() as tx:
    tx.execute(text("INSERT INTO forked VALUES (1)"))
    child = os.fork()
    if not child:
        if how == "leaves":
            sys.exit(0)
        elif how == "fails":
            raise LookupError
        elif how == "collects":
            tx.__dict__.clear()
            gc.collect()
            os._exit(0)
        elif how == "goes on":
            tx.execute(text("INSERT INTO forked VALUES (2)"))
        elif how == "has its own":
            with db.transaction(read_only=True) as own:
                own.execute(text("SELECT * FROM forked"))
            os._exit(0)
    else:
        os.waitpid(child, 0)
        tx.execute(text("INSERT INTO forked VALUES (3)"))
db.dispose()
"""


@pytest.mark.parametrize("how", ["leaves", "fails", "collects", "goes on", "has its own", "ends its block"])
@pytest.mark.parametrize("driver", ["sqlite+pysqlite", "postgresql+psycopg"])
def test_a13_fork_inside_a_transaction_leaves_it_to_the_parent(driver: str, place: str, how: str) -> None:
    with Database(place) as db:
        with db.transaction() as tx:
            tx.execute(text("DROP TABLE IF EXISTS forked"))
            tx.execute(text("CREATE TABLE forked (id integer PRIMARY KEY)"))
        command = [sys.executable, "-W", "error", "-c", FORKING_INSIDE, place, how]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603 - our own
        assert ended.returncode == 0, ended.stderr
        # What the child says of its failure is on the same stream.
        assert ("LookupError" in ended.stderr) is (how == "fails"), ended.stderr
        told = "TransactionLost: The transaction belongs to the process that this one was forked from."
        assert (told in ended.stderr) is (how in {"goes on", "ends its block"}), ended.stderr
        with db.session() as opened:
            assert list(opened.scalars(text("SELECT id FROM forked ORDER BY id"))) == [1, 3]


FORKING_IN_A_TASK = """
import asyncio, gc, os, sys
from sqlalchemy import text
from querywright import AsyncDatabase

url, how = sys.argv[1:]

async def save(db, number):
    async with db.transaction() as tx:
        await tx.execute(text(f"INSERT INTO forked VALUES ({number})"))

async def main():
    async with AsyncDatabase(url) as db:
        async with db.transaction() as tx:
            await tx.execute(text("INSERT INTO forked VALUES (1)"))
            child = os.fork()
            if not child:
                status = 1
                try:
                    if how == "fails":
                        await tx.execute(text("INSERT INTO forked VALUES (2)"))
                    elif how == "collects":
                        tx.sync_session.__dict__.clear()
                        gc.collect()
                    elif how == "works":
                        # A connection of its own, on a loop of its own; SQLite's writer is still the parent.
                        own = asyncio.new_event_loop()
                        own.run_until_complete(db.ping() if "sqlite" in url else save(db, 2))
                        own.run_until_complete(db.dispose())
                    status = 0
                finally:
                    os._exit(status)
            _, status = os.waitpid(child, 0)
            await tx.execute(text("INSERT INTO forked VALUES (3)"))
        await save(db, 4)
    sys.exit(os.waitstatus_to_exitcode(status))

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["leaves", "collects", "works", "fails"])
@pytest.mark.parametrize("driver", ASYNC)
def test_a13_fork_in_a_task_leaves_its_transaction_to_the_parent(driver: str, place: str, how: str) -> None:
    sync = place.replace("aiosqlite", "pysqlite").replace("asyncpg", "psycopg")
    with Database(sync) as db:
        with db.transaction() as tx:
            tx.execute(text("DROP TABLE IF EXISTS forked"))
            tx.execute(text("CREATE TABLE forked (id integer PRIMARY KEY)"))
        options = ["-W", "error", "-W", "ignore::DeprecationWarning"]
        command = [sys.executable, *options, "-c", FORKING_IN_A_TASK, place, how]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603 - our own
        assert (ended.returncode, ended.stderr) == (int(how == "fails"), "")
        with db.session() as opened:
            found = list(opened.scalars(text("SELECT id FROM forked ORDER BY id")))
        assert found == ([1, 2, 3, 4] if how == "works" and "sqlite" not in driver else [1, 3, 4])


async def ask(db: AsyncDatabase) -> object:
    async with db.session() as session:
        return await session.scalar(text("SELECT 1"))


@pytest.mark.parametrize("driver", [*ASYNC, "mariadb+aiomysql"])
@pytest.mark.parametrize("close", [True, False], ids=["first loop closed", "first loop only stopped"])
def test_a14_engine_works_on_a_second_event_loop(driver: str, place: str, *, close: bool) -> None:
    complaints: list[dict[str, object]] = []
    db = AsyncDatabase(place, pool_size=3)

    async def use() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        assert await asyncio.gather(*(ask(db) for _ in range(3))) == [1, 1, 1]

    loops = [asyncio.new_event_loop() for _ in range(3)]
    for loop in loops:
        loop.run_until_complete(use())
        if close:
            loop.close()
    last = asyncio.new_event_loop()
    last.run_until_complete(use())
    last.run_until_complete(db.dispose())
    for loop in [*loops, last]:
        if not loop.is_closed():
            # What was left to it.
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
    assert pool_snapshot(db.engine.sync_engine).checked_out == 0
    gc.collect()
    assert not complaints
