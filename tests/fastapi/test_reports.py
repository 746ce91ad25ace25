"""What an operator reads of an error, and what a client does not: a table of causes, on every driver."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, BeforeValidator, Field
from sqlalchemy import Engine, NullPool, create_engine, make_url, select, text
from sqlalchemy.orm import Session

from querywright import AsyncDatabase, Conflict, Database, TooManyStreams
from querywright.fastapi import install
from tests.conftest import ASYNC, POSTGRES, SYNC
from tests.faults.web import in_process
from tests.suite.models import Author, Book, Tag, TagOut
from tests.suite.support import AnyDatabase, resolve, run_sync, transaction

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

VALUE = "hunter2"
Work = Callable[[Session], object]


def sql(*statements: str) -> Work:
    def run(session: Session) -> None:
        for statement in statements:
            session.execute(text(statement).bindparams(value=VALUE) if ":value" in statement else text(statement))

    return run


def rows(*made: Callable[[], object]) -> Work:
    def add(session: Session) -> None:
        session.add_all([each() for each in made])
        session.flush()

    return add


def a_tag() -> Tag:
    return Tag(name=VALUE)


def a_book_of_no_pages() -> Book:
    return Book(author=Author(name=VALUE), title=VALUE, pages=0)


def a_book_of_nobody() -> Book:
    return Book(author_id=4711, title=VALUE, pages=1)


# What fails, the status, and a line of the log for each database that fails of it.
CAUSES: dict[str, tuple[Work, int, dict[str, str]]] = {
    "table": (sql("SELECT :value FROM nowhere"), 500, {
        "postgresql": 'relation "nowhere" does not exist (SQLSTATE 42P01)',
        "mariadb": "nowhere' doesn't exist (error 1146",
        "sqlite": "no such table: nowhere",
    }),
    "column": (sql("SELECT absent FROM tags WHERE name = :value"), 500, {
        "postgresql": 'column "absent" does not exist (SQLSTATE 42703)',
        "mariadb": "Unknown column 'absent' in",
        "sqlite": "no such column: absent",
    }),
    "syntax": (sql("SELEKT :value"), 500, {
        # What it cites of the statement may be a value.
        "postgresql": "syntax error (SQLSTATE 42601)",
        "mariadb": "You have an error in your SQL syntax",
        "sqlite": 'near "SELEKT": syntax error',
    }),
    "rights": (sql("SET LOCAL ROLE pg_monitor", "SELECT * FROM tags"), 500, {
        "postgresql": "permission denied for table tags (SQLSTATE 42501)",
    }),
    "unique": (rows(a_tag, a_tag), 409, {
        "postgresql": "already exists: table tags, constraint uq_tags_name (SQLSTATE 23505)",
        "mariadb": "already exists: constraint uq_tags_name (error 1062, SQLSTATE 23505)",
        "sqlite": "already exists: table tags, column name",
    }),
    "check": (rows(a_book_of_no_pages), 422, {
        "postgresql": "rule of the table: table books, constraint ck_books_pages (SQLSTATE 23514)",
        "mariadb": "rule of the table: table books, constraint ck_books_pages (error 4025, SQLSTATE 23514)",
        "sqlite": "rule of the table: constraint ck_books_pages",
    }),
    "null": (sql("INSERT INTO authors (name, email, deleted) VALUES (NULL, :value, false)"), 422, {
        "postgresql": "value is missing: table authors, column name (SQLSTATE 23502)",
        "mariadb": "value is missing: column name (error 1048, SQLSTATE 23502)",
        "sqlite": "value is missing: table authors, column name",
    }),
    "reference": (rows(a_book_of_nobody), 409, {
        "postgresql": "in the way: table books, constraint fk_books_author_id_authors (SQLSTATE 23503)",
        "mariadb": "in the way: table books, constraint fk_books_author_id_authors (error 1452, SQLSTATE 23503)",
        "sqlite": "in the way.",
    }),
    "long": (rows(lambda: Tag(name=VALUE * 10)), 422, {
        "postgresql": "A text is longer than its column. (SQLSTATE 22001)",
        "mariadb": "A text is longer than its column: column name (error 1406, SQLSTATE 22001)",
    }),
    "value": (sql("INSERT INTO tags (id, name) VALUES (CAST(:value AS integer), 'x')"), 422, {
        "postgresql": "A value does not fit its column.",
    }),
    "number": (sql("INSERT INTO tags (id, name) VALUES (:value, 'x')"), 422, {
        "mariadb": "A value does not fit its column: table tags, column id (error 1366, SQLSTATE 22000)",
    }),
}  # fmt: skip


def application(db: AnyDatabase) -> FastAPI:
    app = FastAPI()
    install(app, db)

    @app.post("/causes/{cause}")
    async def fail(cause: str) -> None:
        async with transaction(db) as tx:
            await run_sync(tx, CAUSES[cause][0])

    return app


@pytest.fixture
def system(url: str) -> str:
    return url.partition("+")[0]


def only_report(caplog: pytest.LogCaptureFixture, *, level: int) -> str:
    """The only line that an operator gets, with at most five lines of the application and their source."""
    (record,) = [each for each in caplog.records if each.name == "querywright"]
    message = record.getMessage()
    assert (record.levelno, record.exc_info) == (level, None)
    assert len(message.splitlines()) <= 1 + 2 * 5
    assert VALUE not in message
    assert "SQLSTATE None" not in message
    return message


async def test_an_operator_reads_the_cause_and_a_client_does_not(
    db: AnyDatabase, system: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with in_process(application(db)) as client:
        for cause, (_, status, told) in CAUSES.items():
            if system not in told:
                continue
            caplog.clear()
            response = await client.post(f"/causes/{cause}")
            assert response.status_code == status, cause
            message = only_report(caplog, level=logging.ERROR if status == 500 else logging.WARNING)
            assert message.startswith("POST /causes/{cause}: ")
            assert told[system] in message.splitlines()[0]
            assert (", in fail\n" in message) == (status == 500)
            for word in (VALUE, "nowhere", "absent", "tags", "books", "authors", "pages", "42P01", "23505"):
                assert word not in response.text


# What of the URL is wrong, and what the log says of it.
WRONG: dict[str, list[tuple[dict[str, Any], str]]] = {
    "postgresql": [
        ({"database": "nowhere"}, 'database "nowhere" does not exist'),
        ({"username": "nobody", "password": VALUE}, 'role "nobody" does not exist'),
        ({"host": "no.such.host.invalid"}, "no.such.host.invalid"),
        ({"port": 1}, "127.0.0.1"),
    ],
    "mariadb": [
        ({"database": "nowhere"}, "Unknown database 'nowhere' (error 1049"),
        ({"username": "nobody", "password": VALUE}, "Access denied for user 'nobody'@"),
        ({"host": "no.such.host.invalid"}, "no.such.host.invalid"),
        ({"port": 1}, "127.0.0.1"),
    ],
    "sqlite": [({"database": "/nowhere/test.db"}, "unable to open database file")],
}


async def test_an_operator_reads_why_there_is_no_connection(
    url: str, suite_tables: None, request: pytest.FixtureRequest, system: str, caplog: pytest.LogCaptureFixture
) -> None:
    kind = Database if request.node.callspec.params["url"] in SYNC else AsyncDatabase
    for changes, told in WRONG[system]:
        caplog.clear()
        db = kind(make_url(url).set(**changes), connect_timeout=5)
        async with in_process(application(db)) as client:
            response = await client.post("/causes/table")
        await resolve(db.dispose())
        assert (response.status_code, response.headers.get("retry-after"), changes) == (503, "1", changes)
        assert told in only_report(caplog, level=logging.ERROR).splitlines()[0]
        assert "nowhere" not in response.text


@pytest.mark.drivers(*POSTGRES)
async def test_an_operator_reads_that_a_role_may_not_connect(
    url: str, suite_tables: None, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    kind = Database if request.node.callspec.params["url"] in SYNC else AsyncDatabase
    database = str(make_url(url).database)
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    given = f'CREATE ROLE powerless LOGIN; REVOKE CONNECT ON DATABASE "{database}" FROM PUBLIC'
    taken = f'GRANT CONNECT ON DATABASE "{database}" TO PUBLIC; DROP ROLE powerless'
    with changed(engine, given, taken):
        db = kind(make_url(url).set(username="powerless"))
        async with in_process(application(db)) as client:
            response = await client.post("/causes/table")
        await resolve(db.dispose())
    assert (response.status_code, response.headers.get("retry-after")) == (503, "1")
    assert "permission denied for database" in only_report(caplog, level=logging.ERROR).splitlines()[0]


@pytest.fixture
def account(url: str) -> Iterator[str]:
    """The URL of an account of MariaDB without any rights in the database."""
    plain = make_url(url)
    sync = plain.set(drivername="mariadb+pymysql", query={"ssl_disabled": "true"})
    engine = create_engine(sync, poolclass=NullPool)
    with changed(engine, f"CREATE USER IF NOT EXISTS powerless IDENTIFIED BY '{VALUE}'", "DROP USER powerless"):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"GRANT SELECT ON `{plain.database}`.authors TO powerless")
        yield plain.set(username="powerless", password=VALUE).render_as_string(hide_password=False)


@contextmanager
def changed(engine: Engine, before: str, after: str) -> Iterator[None]:
    with engine.begin() as connection:
        connection.exec_driver_sql(before)
    yield
    with engine.begin() as connection:
        connection.exec_driver_sql(after)


@pytest.mark.drivers("mariadb+pymysql", "mariadb+aiomysql")
async def test_an_operator_reads_which_right_is_missing_on_mariadb(
    account: str, suite_tables: None, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    kind = Database if request.node.callspec.params["url"] in SYNC else AsyncDatabase
    db = kind(account)
    async with in_process(application(db)) as client:
        assert (await client.post("/causes/unique")).status_code == 500
    await resolve(db.dispose())
    message = only_report(caplog, level=logging.ERROR)
    assert "INSERT command denied to user 'powerless'@'127.0.0.1' for table" in message


@pytest.fixture
def app(db: AsyncDatabase) -> FastAPI:
    """An application whose errors no handler answers."""
    app = application(db)

    async def insert(tx: Any) -> None:
        await run_sync(tx, CAUSES["unique"][0])

    async def later() -> None:
        async with db.transaction() as tx:
            await insert(tx)

    @app.post("/background")
    async def background(tasks: BackgroundTasks) -> None:
        tasks.add_task(later)

    @app.post("/stream")
    async def stream() -> StreamingResponse:
        missing = select(Tag).where(text(f"'{VALUE}' = nowhere"))
        return StreamingResponse(db.fetch(TagOut, missing).stream_json())

    @app.post("/wrapped")
    async def wrapped() -> None:
        try:
            await later()
        except Exception:  # noqa: BLE001 - what an application does
            raise ValueError("wrapped")  # noqa: B904 - as above

    @app.post("/group")
    async def group() -> None:
        try:
            await later()
        except Exception as error:
            raise ExceptionGroup("several", [error, ValueError("wrapped")]) from error

    return app


async def left_with(app: FastAPI, path: str) -> str:
    """Call the application, and return what its server would log of the error that leaves it."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        with pytest.raises(Exception, match=r".") as caught:
            await client.post(path)
    written = traceback.format_exception(caught.value)
    # What a server writes begins with its own call of the application.
    return "".join(written)


@pytest.mark.drivers(*ASYNC)
@pytest.mark.parametrize("path", ["/background", "/stream", "/wrapped", "/group"])
async def test_what_leaves_an_application_has_no_rows_in_it(app: FastAPI, path: str) -> None:
    logged = await left_with(app, path)
    assert "Reported: " in logged
    assert ("nowhere" if path == "/stream" else "already exists: ") in logged
    for word in ("DETAIL", "INSERT", "SELECT", "asyncpg.exceptions", "psycopg.errors", "pymysql.err", "sqlite3."):
        assert word not in logged
    assert VALUE not in logged.replace(f"'{VALUE}' = nowhere", "")


class ShortOut(BaseModel):
    name: Annotated[str, Field(max_length=3)]
    by_name: Annotated[dict[str, int], Field(validation_alias="name"), BeforeValidator(lambda name: {name: name})]


@pytest.mark.drivers(*ASYNC)
@pytest.mark.parametrize("verb", ["all", "json"])
async def test_rows_that_a_model_refuses_leave_without_their_values(db: AsyncDatabase, app: FastAPI, verb: str) -> None:
    @app.post("/refused")
    async def refused() -> None:
        await getattr(db.fetch(ShortOut, select(Tag)), verb)()

    @app.post("/own")
    async def own() -> None:
        ShortOut.model_validate({"name": VALUE})

    async with db.transaction() as tx:
        tx.add(a_tag())
    logged = await left_with(app, "/refused")
    assert "Reported: ValidationError: list[ShortOut]: name (string_too_long); name (int_parsing)" in logged
    assert "in refused" in logged
    assert VALUE not in logged
    assert "Reported" not in await left_with(app, "/own")


@pytest.mark.drivers(*ASYNC)
async def test_errors_of_ours_leave_with_the_lines_of_the_application_alone(app: FastAPI) -> None:
    async def refused() -> None:
        await asyncio.sleep(0)
        raise TooManyStreams(most=7, seconds=10)

    @app.post("/refused")
    async def refuse(tasks: BackgroundTasks) -> None:
        tasks.add_task(refused)

    logged = await left_with(app, "/refused")
    assert "in refused" in logged
    assert "(max_streams=7)" in logged
    assert "starlette/background.py" not in logged


@pytest.mark.drivers(*ASYNC)
async def test_an_error_that_has_nothing_to_do_with_a_database_leaves_as_it_is(app: FastAPI) -> None:
    @app.post("/other")
    async def other() -> None:
        try:
            int("one")
        except ValueError as error:
            raise LookupError("other") from error

    logged = await left_with(app, "/other")
    assert "ValueError: invalid literal" in logged
    assert "Reported" not in logged


@pytest.mark.drivers(*ASYNC)
async def test_a_start_that_fails_says_why(db: AsyncDatabase) -> None:
    @asynccontextmanager
    async def start(_app: FastAPI) -> AsyncIterator[None]:
        async with db.transaction() as tx:
            await run_sync(tx, CAUSES["unique"][0])
        yield

    app = FastAPI(lifespan=start)
    install(app, db)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    with pytest.raises(Exception, match="already exists: "):
        await app({"type": "lifespan", "app": app, "state": {}}, receive, send)  # type: ignore[arg-type]
    (failed,) = sent
    assert failed["type"] == "lifespan.startup.failed"
    assert "IntegrityError: A row with the same unique value already exists: " in failed["message"]
    assert VALUE not in failed["message"]
    assert len(failed["message"].splitlines()) < 40


@pytest.mark.drivers("postgresql+asyncpg")
async def test_all_errors_of_a_group_are_told(db: AsyncDatabase, caplog: pytest.LogCaptureFixture) -> None:
    app = application(db)

    @app.post("/together")
    async def together() -> None:
        errors: list[Exception] = []
        for cause in ("table", "unique"):
            try:
                async with db.transaction() as tx:
                    await run_sync(tx, CAUSES[cause][0])
            except Exception as error:  # noqa: BLE001 - it is looked at below
                errors.append(error)
        raise ExceptionGroup("tasks", errors)

    async with in_process(app) as client:
        assert (await client.post("/together")).status_code == 500
    message = only_report(caplog, level=logging.ERROR)
    assert 'relation "nowhere" does not exist (SQLSTATE 42P01); IntegrityError: A row with the same' in message


@pytest.mark.drivers(*POSTGRES)
async def test_what_an_application_refuses_itself_is_not_logged(
    db: AnyDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    app = application(db)

    @app.post("/taken")
    async def taken() -> None:
        raise Conflict("Taken.")

    async with in_process(app) as client:
        assert (await client.post("/taken")).status_code == 409
    assert caplog.records == []
