from __future__ import annotations

import pytest
from sqlalchemy import make_url

from querywright.engine.hosts import is_local, leads_outside

LOCAL = (
    "",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1",
    "127.8.9.10",
    "127.1",
    "2130706433",
    "::1",
    "[::1]",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "/var/run/postgresql",
    "@abstract",
    "db",
    "Db.",
    "db:5432",
    "127.0.0.1:5432",
)
OUTSIDE = (
    "db.example.com",
    "db.example.com.",
    "DB.EXAMPLE.COM",
    "db.example.com:5432",
    "localhost.example.com",
    "127.0.0.1.example.com",
    "10.0.0.7",
    "0.0.0.0",  # noqa: S104 - nothing listens here
    "8.8.8.8:5432",
    "134744072",
    "0x08080808",
    "010.0.0.1",
    "2001:db8::1",
    "[2001:db8::1]",
    "fe80::1%eth0",
    "::ffff:8.8.8.8",
    "::",
    "a:b:c",
)


@pytest.mark.parametrize("host", LOCAL)
def test_local(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", OUTSIDE)
def test_not_local(host: str) -> None:
    assert not is_local(host)


Case = tuple[str, dict[str, str]]
LEADS_OUTSIDE: tuple[Case, ...] = (
    ("postgresql+asyncpg://u@[2001:db8::1]:5432/app", {}),
    ("postgresql+psycopg://u@/app", {"PGHOST": "db.example.com"}),
    ("postgresql+psycopg://u@/app", {"PGSERVICE": "main"}),
    ("postgresql+psycopg://u@/app?service=main", {}),
    ("postgresql+psycopg://u@db/app?hostaddr=203.0.113.7", {}),
    ("postgresql+psycopg://u@db/app", {"PGHOSTADDR": "203.0.113.7"}),
    ("postgresql+psycopg://u@db.example.com/app?hostaddr=127.0.0.1", {}),
    ("postgresql+psycopg://u@a,b.example.com/app", {}),
    ("postgresql+asyncpg://u@/app?host=a:5432&host=b.example.com:5433", {}),
    ("postgresql+asyncpg://u@/app?host=a,b.example.com&port=1,2", {}),
    ("postgresql+asyncpg://u@localhost/app?host=db.example.com", {}),
    ("mysql+pymysql://u@localhost/app?host=db.example.com", {}),
    ("mysql+pymysql://u@localhost/app?read_default_file=/etc/my.cnf", {}),
)
STAYS: tuple[Case, ...] = (
    ("postgresql+asyncpg://u@localhost/app", {}),
    ("postgresql+asyncpg://u@[::1]:5432/app", {}),
    ("postgresql+psycopg://u@/app", {}),
    ("postgresql+psycopg://u@/app?host=/tmp", {}),
    ("postgresql+psycopg://u@/app", {"PGHOST": "db,/tmp"}),
    ("postgresql+psycopg://u@db/app", {"PGHOST": "db.example.com"}),
    ("postgresql+asyncpg://u@/app?host=a:5432&host=b:5433", {}),
    ("postgresql+asyncpg://u@db.example.com/app?host=localhost", {}),
    ("mysql+pymysql://u@db/app", {"PGHOSTADDR": "203.0.113.7"}),
)


@pytest.mark.parametrize(("written", "environment"), LEADS_OUTSIDE)
def test_a_url_that_leads_outside(written: str, environment: dict[str, str]) -> None:
    assert leads_outside(make_url(written), environment)


@pytest.mark.parametrize(("written", "environment"), STAYS)
def test_a_url_that_stays(written: str, environment: dict[str, str]) -> None:
    assert not leads_outside(make_url(written), environment)
