from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
from decimal import InvalidOperation
from importlib.metadata import distributions

import pytest
from packaging.requirements import Requirement
from sqlalchemy.exc import DBAPIError, InvalidRequestError, OperationalError, StatementError

from querywright import ConfigurationError, DatabaseError, DatabaseUnavailable, InvalidValue, MissingExtra
from querywright.engine import classify, parse_url

PG = "user:secret@localhost/app"
REFUSED = {
    f"postgresql://{PG}": (True, "names no driver", "Write postgresql+asyncpg:// or postgresql+psycopg://"),
    "sqlite:///x.db": (False, "names no driver", "Write sqlite+pysqlite://."),
    f"postgresql+pg8000://{PG}": (False, "'postgresql+pg8000' is not supported", "postgresql+psycopg2://."),
    f"postgresql+psycopg2://{PG}": (True, "AsyncDatabase cannot use the driver", "Write postgresql+asyncpg:// or"),
    f"mysql+asyncmy://{PG}": (True, "is not supported", "Write mysql+aiomysql://."),
    f"postgresql+asyncpg://{PG} ": (False, "Database cannot use the driver", "belongs to AsyncDatabase"),
    "sqlite+pysqlite:///x.db": (True, "AsyncDatabase cannot use the driver", "Write sqlite+aiosqlite://."),
    "sqlite+aiosqlite://x.db": (True, "SQLite has no server", "three slashes"),
    "sqlite+pysqlite://secret/x.db": (False, "SQLite has no server", "four before a path"),
    "what is this": (True, "cannot be read", "percent-encode"),
    "": (True, "cannot be read", "driver://"),
    "postgresql+asyncpg://user:p@ss:secret@host/app": (True, "cannot be read", "percent-encode"),
}


@pytest.mark.parametrize("written", REFUSED, ids=[str(n) for n in range(len(REFUSED))])
def test_urls_that_cannot_work(written: str) -> None:
    asynchronous, problem, hint = REFUSED[written]
    with pytest.raises(ConfigurationError) as caught:
        parse_url(written, asynchronous=asynchronous)
    assert problem in str(caught.value)
    assert hint in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "asynchronous", "command"),
    [
        (f"postgresql+asyncpg://{PG}", True, "pip install 'asyncpg>=0.32'"),
        (f"postgresql+psycopg://{PG}", False, "pip install 'psycopg[binary]>=3.3'"),
        (f"postgresql+psycopg2://{PG}", False, "pip install 'psycopg2-binary>=2.9.10'"),
        ("sqlite+aiosqlite:///a.db", True, "pip install 'aiosqlite>=0.22.1'"),
        ("mysql+aiomysql://a/b", True, "pip install 'aiomysql>=0.3' 'pymysql>=1.1.1'"),
    ],
)
@pytest.mark.parametrize("broken", [False, True])
def test_a_missing_driver_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    asynchronous: bool,  # noqa: FBT001
    command: str,
    broken: bool,  # noqa: FBT001
) -> None:
    def fail(name: str) -> None:
        raise ImportError(name)

    if broken:
        monkeypatch.setattr(importlib, "import_module", fail)
    else:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match="is not installed, or cannot be imported") as caught:
        parse_url(source, asynchronous=asynchronous)
    assert str(caught.value).endswith(f"Run: {command}")
    words = shlex.split(command)[2:]
    assert {Requirement(word).name for word in words} <= {each.metadata["Name"].lower() for each in distributions()}


def test_a_missing_fastapi_says_what_to_install() -> None:
    program = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "fastapi" else found(name, *more)
try:
    import querywright.fastapi
except ImportError as error:
    print(error)
"""
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - as written above
    assert said.strip().endswith("Run: pip install 'fastapi>=0.121'")


class DriverError(Exception):
    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


def wrapped(
    sqlstate: str | None,
    *,
    statement: str | None = "SELECT secret",
    lost: bool = False,
    words: str = "driver's words",
) -> DBAPIError:
    return OperationalError(statement, {}, DriverError(words, sqlstate), connection_invalidated=lost)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (wrapped("57P01"), DatabaseUnavailable),
        (wrapped("08006"), DatabaseUnavailable),
        (wrapped("53300"), DatabaseUnavailable),
        (wrapped("42P01"), DatabaseError),
        (wrapped("22021"), InvalidValue),
        (OverflowError("too large"), InvalidValue),
        (StatementError("too large", "SELECT secret", {}, OverflowError()), InvalidValue),
        (StatementError("naive", "SELECT secret", {}, ValueError()), InvalidValue),
        (StatementError("snan", "SELECT secret", {}, InvalidOperation([InvalidOperation])), InvalidValue),
        (StatementError("no such name", "SELECT secret", {}, LookupError()), InvalidValue),
        (StatementError("deep", "SELECT secret", {}, RecursionError()), InvalidValue),
        (StatementError("not serializable", "SELECT secret", {}, TypeError()), DatabaseError),
        (StatementError("no parameter", "SELECT secret", {}, InvalidRequestError()), DatabaseError),
        (wrapped("54000"), InvalidValue),
        (wrapped(None, words="too many SQL variables"), InvalidValue),
        (wrapped(None, words="LIKE or GLOB pattern too complex"), InvalidValue),
        (wrapped(None, words="the number of query arguments cannot exceed 32767"), InvalidValue),
        (wrapped(None), DatabaseError),
        (wrapped(None, lost=True), DatabaseUnavailable),
        (wrapped(None, statement=None), DatabaseUnavailable),
    ],
)
def test_classify(error: Exception, expected: type[DatabaseError]) -> None:
    known = classify(error)
    assert type(known) is expected
    assert "words" not in str(known)
    assert "SELECT" not in str(known)
