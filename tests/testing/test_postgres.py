from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from querywright import ConfigurationError, Database
from querywright.testing import EmbeddedPostgres


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
