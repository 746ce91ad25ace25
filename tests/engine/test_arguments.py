"""What a URL or ``connect_args`` say to a driver is read, or refused, when the database is made."""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asyncpg import PostgresError
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError

from querywright import AsyncDatabase, ConfigurationError, Database, DatabaseSettings
from querywright.engine.connecting import _failure
from querywright.engine.drivers.lookup import _DRIVERS, Registered
from tests.suite.support import AnyDatabase, resolve

Given = Callable[..., Awaitable[dict[str, Any]]]
SERVERS = {"postgresql": ("asyncpg", "psycopg", "psycopg2"), "mysql": ("pymysql", "aiomysql")}


def registered(driver: str) -> Registered:
    return _DRIVERS[f"{'mysql' if driver in SERVERS['mysql'] else 'postgresql'}+{driver}"]


def make(driver: str, rest: str, **options: Any) -> AnyDatabase:
    if importlib.util.find_spec(driver) is None:
        pytest.skip(f"{driver} is not installed")
    found = registered(driver)
    # The other one may be of psycopg2: see tests/drivers.py.
    kind: Any = AsyncDatabase if found.asynchronous else Database
    made: AnyDatabase = kind(f"{found.name}://{rest}", **options)
    return made


class Stopped(Exception):
    """No connection is to be opened."""


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Return with which arguments a driver would open a connection."""

    async def ask(driver: str, rest: str, **options: Any) -> dict[str, Any]:
        kept: dict[str, Any] = {}

        def open_connection(*_: Any, **arguments: Any) -> None:
            kept.update(arguments)
            raise Stopped

        make(driver, rest)
        found = registered(driver)
        monkeypatch.setattr(type(found.load(asynchronous=found.asynchronous)), "opening", lambda *_: open_connection)
        db = make(driver, rest, **options)
        with pytest.raises(Stopped):
            await resolve(db.ping())
        return kept

    return ask


@pytest.mark.parametrize(
    ("driver", "written", "read"),
    [
        ("asyncpg", "statement_cache_size=0", 0),
        ("asyncpg", "max_cached_statement_lifetime=0", 0),
        ("asyncpg", "max_cacheable_statement_size=1", 1),
        ("asyncpg", "timeout=2.5", 2.5),
        ("asyncpg", "command_timeout=5", 5.0),
        ("asyncpg", "direct_tls=false", False),
        ("psycopg", "prepare_threshold=0", 0),
        ("psycopg", "prepare_threshold=None", None),
        ("psycopg", "prepare_threshold=none", None),
        ("psycopg", "connect_timeout=3", 3),
        ("psycopg2", "connect_timeout=3", 3),
        ("pymysql", "connect_timeout=3", 3),
        ("pymysql", "port=1", 1),
        ("pymysql", "max_allowed_packet=1000", 1000),
        ("pymysql", "charset=latin1", "latin1"),
        ("aiomysql", "port=1", 1),
        ("aiomysql", "echo=false", False),
    ],
)
async def test_what_is_no_text_is_read(given: Given, driver: str, written: str, read: Any) -> None:
    found = (await given(driver, f"u@localhost/app?{written}"))[written.partition("=")[0]]
    assert (found, type(found)) == (read, type(read))


async def test_flags_that_sqlalchemy_adds_to_are_left_to_it(given: Given) -> None:
    # FOUND_ROWS, without which a row that is written as it was counts for none.
    assert (await given("pymysql", "u@localhost/app?client_flag=4"))["client_flag"] == 4 | 2


async def test_connect_args_win_over_the_url(given: Given) -> None:
    options = await given("asyncpg", "u@localhost/app?timeout=2", connect_args={"timeout": 3.0})
    assert options["timeout"] == 3.0


@pytest.mark.parametrize(
    ("driver", "written"),
    [
        ("asyncpg", "statement_cache_size=abc"),
        ("asyncpg", "statement_cache_size=-1"),
        ("asyncpg", "max_cacheable_statement_size=1.5"),
        ("asyncpg", "timeout=0"),
        ("asyncpg", "timeout=nan"),
        ("asyncpg", "timeout=inf"),
        ("asyncpg", "command_timeout=abc"),
        ("asyncpg", "prepared_statement_cache_size=abc"),
        ("asyncpg", "prepared_statement_cache_size=-1"),
        ("asyncpg", "prepared_statement_name_func=x"),
        ("asyncpg", "record_class=x"),
        ("asyncpg", "server_settings=a"),
        ("asyncpg", "direct_tls=maybe"),
        ("asyncpg", "target_session_attrs=bogus"),
        ("asyncpg", "timeout=1&timeout=2"),
        ("asyncpg", "passfile=a&passfile=b"),
        ("asyncpg", "password=abc&password=abd"),
        ("asyncpg", "port=0"),
        ("psycopg", "prepare_threshold=abc"),
        ("psycopg", "connect_timeout=abc"),
        ("psycopg", "application_name=a&application_name=b"),
        ("psycopg", "options=-ca=b&options=-cc=d"),
        ("psycopg", "application_name=a%00b"),
        ("psycopg", "port=99999"),
        ("psycopg", "port=abc"),
        ("psycopg2", "connect_timeout=abc"),
        ("psycopg2", "application_name=a&application_name=b"),
        ("psycopg2", "application_name=a%00b"),
        ("psycopg2", "port=99999"),
        ("pymysql", "charset=bogus"),
        ("pymysql", "connect_timeout=abc"),
        ("pymysql", "connect_timeout=0"),
        ("pymysql", "read_timeout=-1"),
        ("pymysql", "client_flag=x"),
        ("pymysql", "local_infile=x"),
        ("pymysql", "max_allowed_packet=x"),
        ("pymysql", "port=abc"),
        ("pymysql", "port=99999"),
        ("pymysql", "unix_socket=a&unix_socket=b"),
        ("pymysql", "host=a&host=b"),
        ("pymysql", "conv=x"),
        ("aiomysql", "charset=bogus"),
        ("aiomysql", "port=abc"),
        ("aiomysql", "connect_timeout=0"),
        ("aiomysql", "echo=x"),
    ],
)
def test_a_wrong_value_is_named(driver: str, written: str) -> None:
    name, _, value = written.partition("=")
    with pytest.raises(ConfigurationError, match=rf"The database URL has a wrong '{name}'\. .*has to be") as caught:
        make(driver, f"u@localhost/app?{written}")
    assert caught.value.__cause__ is None
    if len(value) > 2:
        assert value not in str(caught.value)


@pytest.mark.parametrize("driver", [each for family in SERVERS.values() for each in family])
def test_a_port_that_there_is_not(driver: str) -> None:
    with pytest.raises(ConfigurationError, match=r"wrong 'port'\. .*from 1 to 65535"):
        make(driver, "u@localhost:99999/app")
    with pytest.raises(ConfigurationError, match="connect_args has a wrong 'port'"):
        make(driver, "u@localhost/app", connect_args={"port": 0})


@pytest.mark.parametrize("driver", SERVERS["postgresql"])
def test_one_port_of_several_that_there_is_not(driver: str) -> None:
    for query in ("host=a:1&host=b:99999", "host=a,b&port=1,99999"):
        with pytest.raises(ConfigurationError, match="wrong 'port'"):
            make(driver, f"u@/app?{query}")
    make(driver, "u@/app?host=a:1&host=b:65535")
    make(driver, "u@/app?host=a,b&port=1,65535")


@pytest.mark.parametrize("driver", SERVERS["postgresql"])
@pytest.mark.parametrize(
    "query", ["host=a&host=a&port=p", "host=a&host=a&port=1", "host=a,b&port=1,2,3", "host=a:b:c&host=d"]
)
def test_hosts_and_ports_that_do_not_go_together(driver: str, query: str) -> None:
    with pytest.raises(ConfigurationError, match=r"wrong '(?:host|port)'|do not go together"):
        make(driver, f"u@/app?{query}")


@pytest.mark.parametrize(
    ("driver", "arguments"),
    [
        ("asyncpg", {"timeout": "2"}),
        ("asyncpg", {"statement_cache_size": -1}),
        ("asyncpg", {"command_timeout": [1]}),
        ("psycopg", {"application_name": "a\0b"}),
        ("pymysql", {"charset": "bogus"}),
        ("pymysql", {"connect_timeout": 0}),
    ],
)
def test_a_wrong_value_in_connect_args(driver: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"connect_args has a wrong '{next(iter(arguments))}'"):
        make(driver, "u@localhost/app", connect_args=arguments)


def test_a_default_may_be_written_out() -> None:
    make("asyncpg", "u@localhost/app", connect_args={"command_timeout": None, "timeout": 1})


def test_a_nul_in_the_name_of_the_application() -> None:
    with pytest.raises(ConfigurationError, match="QUERYWRIGHT_APPLICATION_NAME: has a NUL; for example"):
        DatabaseSettings(url="postgresql+psycopg://u@localhost/app", application_name="a\0b")
    with pytest.raises(ConfigurationError, match="The database URL has a wrong 'password'"):
        make("psycopg", "u:a%00b@localhost/app")


@pytest.mark.parametrize("written", ["timeout=abc", "check_same_thread=x", "cached_statements=1&cached_statements=2"])
@pytest.mark.parametrize("driver", ["pysqlite", "aiosqlite"])
def test_a_wrong_value_for_sqlite(driver: str, written: str) -> None:
    kind: Any = Database if driver == "pysqlite" else AsyncDatabase
    with pytest.raises(ConfigurationError, match=f"The database URL has a wrong '{written.partition('=')[0]}'"):
        kind(f"sqlite+{driver}:///app.db?{written}")
    with pytest.raises(ConfigurationError, match="wrong 'database'"):
        kind(f"sqlite+{driver}:///a\0b.db")


@pytest.mark.parametrize("driver", [each for family in SERVERS.values() for each in family])
@pytest.mark.parametrize(
    "rest",
    [
        "app:gehe@im42@127.0.0.1:5999/desk",
        "app:gehe@im42@127.0.0.1/desk",
        "app:gehe@im42/x@127.0.0.1/desk",
        "app:gehe@im42:x@127.0.0.1/desk",
        "app:gehe@im42?x@127.0.0.1/desk",
        "app:gehe@im42#x@127.0.0.1/desk",
        "app:gehe@im42/x?y@127.0.0.1/desk",
        "app:gehe@/im42@127.0.0.1/desk",
        "app:gehe@x?im42=y@127.0.0.1/desk",
        "app:gehe@x?im42=y&z=u@127.0.0.1/desk",
    ],
)
def test_a_password_with_an_at_sign_is_refused_and_not_shown(driver: str, rest: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read\. .*percent-encode") as caught:
        make(driver, rest)
    assert "im42" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("driver", [each for family in SERVERS.values() for each in family])
@pytest.mark.parametrize(
    ("written", "password"), [("a%40b", "a@b"), ("a/b", "a/b"), ("a:b", "a:b"), ("a?b", "a?b"), ("a#b", "a#b")]
)
def test_other_characters_of_a_password(driver: str, written: str, password: str) -> None:
    db = make(driver, f"app:{written}@localhost/desk")
    assert db.engine.url.password == password
    assert db.engine.url.host == "localhost"
    assert written not in repr(db)


@pytest.mark.parametrize(
    "rest",
    ["me@server:pw@localhost/app", "me@server@localhost/app", "localhost/app?user=a@b&password=c@d"],
)
def test_an_at_sign_that_is_none_of_a_password(rest: str) -> None:
    assert make("asyncpg", rest).engine.url.host == "localhost"


def test_a_file_may_have_an_at_sign() -> None:
    Database("sqlite+pysqlite:///a@b.db").dispose()


@pytest.mark.drivers("postgresql+asyncpg")
async def test_a_database_that_is_not_there(url: str) -> None:
    db = AsyncDatabase(make_url(url).set(database="nodb"))
    with pytest.raises(DBAPIError) as caught:
        await db.ping()
    assert str(caught.value.orig).endswith('database "nodb" does not exist (SQLSTATE 3D000) while connecting')
    await db.dispose()


@pytest.mark.parametrize("state", ["22023", "23514"])
def test_a_failure_to_connect_that_may_hold_a_value(state: str) -> None:
    dbapi: Any = AsyncAdapt_asyncpg_dbapi
    told: Any = PostgresError
    failure = _failure(dbapi, told.new({"C": state, "M": "no such thing as s3cret"}), "localhost")
    assert "s3cret" not in str(failure)
    assert str(failure).endswith(f"(SQLSTATE {state}) while connecting")
