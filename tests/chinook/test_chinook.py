"""Shapes four levels deep over a public data set that nobody here wrote."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import TypeAdapter
from sqlalchemy import select

from querywright import AsyncDatabase, Database
from querywright.testing import EmbeddedPostgres
from tests.chinook.models import Album, Artist, Base, Customer, Employee, Genre, Playlist, Track
from tests.suite.models import Out
from tests.suite.support import AnyDatabase, by_orm, resolve, statements

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = [
    pytest.mark.skipif(not DATA.exists(), reason="the Chinook data set is not beside the project"),
    # SQLAlchemy's own Numeric passes through floats on SQLite, and says so.
    pytest.mark.filterwarnings("ignore:Dialect sqlite.* does \\*not\\* support Decimal:sqlalchemy.exc.SAWarning"),
]


class NameOut(Out):
    name: str | None


class PlaylistOut(Out):
    playlist_id: int
    name: str | None


class CustomerOut(Out):
    first_name: str
    email: str


class InvoiceOut(Out):
    invoice_date: dt.datetime
    total: Decimal
    customer: CustomerOut


class LineOut(Out):
    quantity: int
    unit_price: Decimal
    invoice: InvoiceOut


class TrackOut(Out):
    track_id: int
    name: str
    composer: str | None
    milliseconds: int
    bytes: int | None
    unit_price: Decimal
    media_type: NameOut
    genre: NameOut | None
    playlists: list[PlaylistOut]
    lines: list[LineOut]


class AlbumOut(Out):
    title: str
    tracks: list[TrackOut]


class ArtistOut(Out):
    """Artist, albums, tracks, invoice lines, invoices, customers: six levels."""

    artist_id: int
    name: str | None
    albums: list[AlbumOut]


class ReportOut(Out):
    last_name: str
    reports: list[BottomOut]


class BottomOut(Out):
    last_name: str
    customers: list[CustomerOut]


class EmployeeOut(Out):
    last_name: str
    title: str | None
    birth_date: dt.datetime | None
    boss: TitleOut | None
    reports: list[ReportOut]


class TitleOut(Out):
    title: str | None


class ShortTrackOut(Out):
    name: str
    album: TitledOut | None


class TitledOut(Out):
    title: str
    artist: NameOut


class ListOut(Out):
    name: str | None
    tracks: list[ShortTrackOut]


SHAPES: dict[str, tuple[type[Out], Any]] = {
    "artists": (ArtistOut, select(Artist).where(Artist.artist_id <= 25).order_by(Artist.artist_id)),
    "employees": (EmployeeOut, select(Employee).order_by(Employee.last_name.desc())),
    "playlists": (ListOut, select(Playlist).order_by(Playlist.playlist_id).limit(5)),
    "tracks of a genre": (
        ShortTrackOut,
        select(Track).join(Genre).join(Album).where(Genre.name == "Jazz").order_by(Album.title, Track.name),
    ),
    "customers": (CustomerOut, select(Customer).where(Customer.company.is_(None)).order_by(Customer.customer_id)),
}


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the file and rename its tables and columns as in the PostgreSQL script."""
    copy = tmp_path_factory.mktemp("chinook") / "chinook.sqlite"
    shutil.copyfile(DATA / "chinook.sqlite", copy)
    connection = sqlite3.connect(copy)
    for table in Base.metadata.sorted_tables:
        connection.execute(f'ALTER TABLE "{_camel(table.name)}" RENAME TO "_{table.name}"')
        for column in table.columns:
            connection.execute(f'ALTER TABLE "_{table.name}" RENAME COLUMN "{_camel(column.name)}" TO "{column.name}"')
        connection.execute(f'ALTER TABLE "_{table.name}" RENAME TO "{table.name}"')
    connection.close()
    return copy


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


@pytest.fixture(scope="session")
def postgres_name(postgres: EmbeddedPostgres, new_postgres_database: Callable[[], str]) -> str:
    """Load the script into a database of its own."""
    name = new_postgres_database()
    script = (DATA / "chinook_postgres.sql").read_text(encoding="utf-8").partition("\\c chinook;")[2]
    with psycopg.connect(f"postgresql://postgres@127.0.0.1:{postgres.port}/{name}") as connection:
        connection.execute(script)  # type: ignore[call-overload]
    return name


@pytest.fixture(params=["pysqlite", "aiosqlite", "psycopg", "asyncpg"])
async def store(request: pytest.FixtureRequest) -> AnyDatabase:
    driver: str = request.param
    if driver.endswith("sqlite"):
        url = f"sqlite+{driver}:///{request.getfixturevalue('sqlite_file')}"
    else:
        server: EmbeddedPostgres = request.getfixturevalue("postgres")
        url = server.url(driver, request.getfixturevalue("postgres_name"))
    return Database(url) if driver in {"pysqlite", "psycopg"} else AsyncDatabase(url)


@pytest.mark.parametrize("name", SHAPES)
async def test_equals_orm_and_pydantic(store: AnyDatabase, name: str) -> None:
    model, statement = SHAPES[name]
    expected = await by_orm(store, model, statement)
    assert expected
    with statements() as seen:
        text = await resolve(store.fetch(model, statement).json())
    # The artists are at the edge of what SQLite's parser can take: the rows that lie deepest have a second statement.
    too_deep = name == "artists" and store.engine.dialect.name == "sqlite"
    reads = [one for one in seen if not one.startswith(("PRAGMA", "BEGIN"))]
    assert len(reads) == 1 + too_deep
    assert await resolve(store.fetch(model, statement).all()) == expected
    written = json.loads(TypeAdapter(list[model]).dump_json(expected))  # type: ignore[valid-type]
    assert _plain(json.loads(text)) == _plain(written)
    await resolve(store.dispose())


def _plain(value: Any) -> Any:
    """Forget the fraction that SQLite stores with every timestamp."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.removesuffix(".000000") if isinstance(value, str) else value


def test_models_cover_all_tables() -> None:
    assert len(Base.metadata.tables) == 11
