"""A16: many processes write into one SQLite file; the disk fills up; the file may not be written."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, event, func, select, text
from sqlalchemy.exc import OperationalError

from querywright import AsyncDatabase, Database, DatabaseError
from querywright.engine import classify, pool_snapshot
from querywright.engine.databases.errors import sqlstate_of
from tests.faults.clients import AnyDatabase, Base, Receipt, Sized
from tests.faults.report import Figures
from tests.faults.writers import write_receipts, write_without_permission
from tests.suite.support import resolve, transaction

_WRITERS = 16


@pytest.fixture
def processes() -> Iterator[ProcessPoolExecutor]:
    """Processes that import the tests once, and are then forked from one another's common parent."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.writers"])
    with ProcessPoolExecutor(_WRITERS, mp_context=context) as executor:
        yield executor


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another account may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="qw-faults-"))
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o777)
    shutil.rmtree(folder)


@pytest.fixture
def path(folder: Path) -> Path:
    """A database file with an empty table of receipts."""
    with Database(f"sqlite+pysqlite:///{folder}/receipts.db") as db:
        Base.metadata.create_all(db.engine)
    return folder / "receipts.db"


def test_a16_sixteen_processes_write_into_one_file(
    path: Path, processes: ProcessPoolExecutor, figures: Figures, sized: Sized
) -> None:
    each = sized(20, 250)
    running = [processes.submit(write_receipts, str(path), process, each) for process in range(_WRITERS)]
    results = [task.result() for task in running]
    failures = [failure for found, _ in results for failure in found]
    with Database(f"sqlite+pysqlite:///{path}") as db, db.session(read_only=True) as session:
        present = session.scalar(select(func.count(Receipt.key.distinct()))) or 0
        figures.doubled = (session.scalar(select(func.count()).select_from(Receipt)) or 0) - present
    figures.sent = _WRITERS * each
    figures.acknowledged = figures.sent - len(failures)
    figures.lost = figures.acknowledged - present
    figures.slowest = max(slowest for _, slowest in results)
    figures.notes.append(f"{_WRITERS} processes")
    assert failures == []
    assert (figures.lost, figures.doubled) == (0, 0)


SAVE = text("INSERT INTO receipts (key) VALUES (:key)")
DRIVERS = pytest.mark.parametrize("driver", ["sqlite+pysqlite", "sqlite+aiosqlite"])


@asynccontextmanager
async def open_file(driver: str, path: Path, **options: Any) -> AsyncIterator[AnyDatabase]:
    """Open a database of either kind."""
    if driver == "sqlite+aiosqlite":
        async with AsyncDatabase(f"{driver}:///{path}", **options) as db:
            yield db
    else:
        with Database(f"{driver}:///{path}", **options) as sync_db:
            yield sync_db


def keys(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM receipts ORDER BY id")]


@DRIVERS
async def test_a16_savepoints_and_tables_roll_back(driver: str, path: Path) -> None:
    async with open_file(driver, path) as db:
        async with transaction(db) as tx:
            await resolve(tx.execute(SAVE, {"key": "kept"}))
            part = await resolve(tx.begin_nested())
            await resolve(tx.execute(SAVE, {"key": "given up"}))
            await resolve(tx.execute(text("CREATE TABLE half (id int)")))
            await resolve(part.rollback())
            await resolve(tx.execute(SAVE, {"key": "kept as well"}))
        with pytest.raises(ZeroDivisionError):
            async with transaction(db) as tx:
                await resolve(tx.execute(text("CREATE TABLE other (id int)")))
                await resolve(tx.execute(text("ALTER TABLE receipts ADD COLUMN extra int")))
                raise ZeroDivisionError
    assert keys(path) == ["kept", "kept as well"]
    with closing(sqlite3.connect(path)) as connection:
        schema = dict(connection.execute("SELECT name, sql FROM sqlite_master").fetchall())
    assert schema.keys() == set(Base.metadata.tables)
    assert "extra" not in schema["receipts"]


@contextmanager
def little_room(folder: Path, limit: str) -> Iterator[Path]:
    """Make room for a small database, and for more after the block."""
    if limit == "max_page_count":
        yield folder / "full.db"
        return
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:  # noqa: S603
        pytest.skip("no disk of one's own: mount is not allowed here")
    try:
        (disk / "filler").write_bytes(bytes(300_000))
        yield disk / "full.db"
    finally:
        subprocess.run(["umount", str(disk)], check=True)  # noqa: S603, S607


@pytest.mark.parametrize("limit", ["max_page_count", "disk"])
@DRIVERS
async def test_a16_a_full_disk_is_said_and_survived(driver: str, limit: str, folder: Path, figures: Figures) -> None:
    with little_room(folder, limit) as path:
        Base.metadata.create_all(create_engine(f"sqlite+pysqlite:///{path}", poolclass=NullPool))
        async with open_file(driver, path) as db:
            engine = db.engine.sync_engine if isinstance(db, AsyncDatabase) else db.engine
            if limit == "max_page_count":
                event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count=100"))
            written, error = await fill(db)
            assert (error.sqlstate, error.message) == ("53100", "The database has no room left.")
            assert keys(path) == [f"{number}" for number in range(written)]
            await make_room(db, path)
            async with transaction(db) as tx:
                await resolve(tx.execute(SAVE, {"key": "after"}))
            assert keys(path)[-1] == "after"
            figures.leaked = pool_snapshot(engine).checked_out
    figures.notes.append(f"full after {written} writes ({limit})")
    assert figures.leaked == 0


async def fill(db: AnyDatabase) -> tuple[int, DatabaseError]:
    """Write until it fails; returns how often that went well, and the error that a client would be told."""
    for number in range(10_000):
        try:
            async with transaction(db) as tx:
                await resolve(tx.execute(SAVE, {"key": f"{number}"}))
                await resolve(tx.execute(text("CREATE TABLE IF NOT EXISTS ballast (b blob)")))
                await resolve(tx.execute(text("INSERT INTO ballast VALUES (zeroblob(5000))")))
        except OperationalError as error:
            known = classify(error)
            assert known is not None
            return number, known
    raise AssertionError("there is no end of room")


async def make_room(db: AnyDatabase, path: Path) -> None:
    """Remove what fills the disk, or else the table that fills the file."""
    filler = path.with_name("filler")
    if filler.exists():
        filler.unlink()
        return
    async with transaction(db) as tx:
        await resolve(tx.execute(text("DROP TABLE ballast")))


@pytest.mark.parametrize("mode", ["file", "folder"])
def test_a16_what_may_not_be_written_says_so(path: Path, processes: ProcessPoolExecutor, mode: str) -> None:
    path.chmod(0o666)
    if mode == "file":
        path.chmod(0o444)
    else:
        path.parent.chmod(0o555)
    told = processes.submit(write_without_permission, str(path)).result()
    assert told == ("25006", "The database takes no writes.")
    path.chmod(0o666)
    path.parent.chmod(0o777)
    assert keys(path) == []
    assert processes.submit(write_receipts, str(path), 1, 1).result()[0] == []


@DRIVERS
@pytest.mark.parametrize("timeout", [60, 0.1])
async def test_a16_a_new_file_is_waited_for(driver: str, path: Path, timeout: float) -> None:
    """SQLite itself does not wait where a file changes its mode, as the first connections of all workers do at once."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN IMMEDIATE")
        async with open_file(driver, path, busy_timeout=timeout) as db:
            work: Any = db.ping() if isinstance(db, AsyncDatabase) else asyncio.to_thread(db.ping)
            opening = asyncio.ensure_future(work)
            if timeout < 1:
                with pytest.raises(OperationalError) as failed:
                    await opening
                assert sqlstate_of(failed.value.orig) == "55P03"
            else:
                await asyncio.wait({opening}, timeout=0.2)
                other.execute("ROLLBACK")
                await opening
                with closing(sqlite3.connect(path)) as third:
                    assert third.execute("PRAGMA journal_mode").fetchone() == ("wal",)
