from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from querywright import ConfigurationError, Database
from querywright.testing import EmbeddedPostgres
from querywright.testing.postgres import ShutdownMode


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that another account may reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "data"


def test_data_stay_between_runs(home: Path) -> None:
    with EmbeddedPostgres(home) as server, Database(server.url("psycopg")) as db, db.transaction() as tx:
        tx.execute(text("CREATE TABLE kept AS SELECT 42 AS answer"))
    with EmbeddedPostgres(home) as server, Database(server.url("psycopg")) as db, db.session() as session:
        assert session.scalar(text("SELECT answer FROM kept")) == 42
        assert session.scalar(text("SHOW fsync")) == "on"
    assert not (home / "cluster" / "postmaster.pid").exists()


def test_temporary_data_are_removed(postgres: EmbeddedPostgres) -> None:
    server = EmbeddedPostgres()
    with server:
        home = server._home
        assert home.exists()
        assert server.port != postgres.port
    assert not home.exists()


def test_a_server_that_cannot_start_says_why(postgres: EmbeddedPostgres) -> None:
    server = EmbeddedPostgres(port=postgres.port)
    with pytest.raises(ConfigurationError, match=r"pg_ctl failed: .*could not create any TCP/IP sockets"), server:
        pass
    assert not server._home.exists()


def test_a_second_server_leaves_the_first_alone(home: Path) -> None:
    with EmbeddedPostgres(home) as first:
        with pytest.raises(ConfigurationError, match=r"postmaster\.pid"), EmbeddedPostgres(home):
            pass
        with Database(first.url("psycopg")) as db:
            db.ping()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_keeps_the_data_and_the_port(mode: ShutdownMode) -> None:
    with EmbeddedPostgres(synchronous_commit="on") as server:
        with Database(server.url("psycopg")) as db, db.transaction() as tx:
            tx.execute(text("CREATE TABLE kept AS SELECT 42 AS answer"))
        pid = server.pid
        server.restart(mode)
        assert server.pid != pid
        with Database(server.url("psycopg")) as db, db.session() as session:
            assert session.scalar(text("SELECT answer FROM kept")) == 42


def test_a_restart_keeps_its_programs_when_others_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedPostgres() as server, Database(server.url("psycopg")) as db:
        programs = server._programs
        # A newer version, installed while the server runs: it refuses the cluster of the older one.
        monkeypatch.setattr("querywright.testing.postgres._find_programs", lambda: Path("/newer/bin"))
        server.restart()
        db.ping()
        assert server._programs == server.standby()._programs == programs


def test_a_standby_follows_and_takes_over() -> None:
    server = EmbeddedPostgres(synchronous_commit="remote_apply", synchronous_standby_names="standby")
    with server as primary, primary.standby() as standby:
        with Database(primary.url("psycopg")) as db, db.transaction() as tx:
            tx.execute(text("CREATE TABLE kept AS SELECT 42 AS answer"))
        with Database(standby.url("psycopg")) as copy:
            with copy.session() as session:
                assert session.scalar(text("SELECT answer FROM kept")) == 42
            with pytest.raises(DBAPIError, match="read-only"), copy.transaction() as tx:
                tx.execute(text("DROP TABLE kept"))
            primary.shut_down("immediate")
            standby.promote()
            with copy.transaction() as tx:
                tx.execute(text("DROP TABLE kept"))
