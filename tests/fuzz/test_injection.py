"""Whatever a name or a value says, it stays a name or a value: nothing it says is run."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, create_model
from sqlalchemy import Connection, Engine, ForeignKey, MetaData, Table, create_engine, select
from sqlalchemy.orm import DeclarativeBase, column_property, relationship

from querywright import InvalidRow, fetch
from querywright.testing import EmbeddedPostgres
from tests.fuzz.compare import by_fetch, by_orm

ATTACKS = (
    "'; DROP TABLE canary; --",
    '"; DROP TABLE canary; --',
    "'); DELETE FROM canary; --",
    "\\'; DROP TABLE canary; --",
    "' || (SELECT word FROM canary) || '",
    '" || (SELECT word FROM canary) || "',
    "''' || (SELECT word FROM canary) || '''",
    "$$; DROP TABLE canary; $$",
    "/* */; DROP TABLE canary; --",
    "\n; DROP TABLE canary; --",
    "%s %(x)s %% :x ::text ? $1 {} {x}",
    '","word":"stolen',
    "\\",
    "\\u0022",
    "\x01x\x01",
)
DATABASES = ("sqlite", "postgresql")
Made = tuple[type[BaseModel], Any]


class Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


@pytest.fixture(scope="module", params=DATABASES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    url = "sqlite+pysqlite://"
    if request.param == "postgresql":
        server: EmbeddedPostgres = request.getfixturevalue("postgres")
        url = server.url("psycopg", request.getfixturevalue("shared_postgres_database"))
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A transaction with a canary in it, which is rolled back."""
    with engine.connect() as connection:
        # Without a BEGIN, sqlite3 would commit tables at once.
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        Table("canary", MetaData(), sa.Column("word", sa.Text)).create(connection)
        connection.exec_driver_sql("INSERT INTO canary VALUES ('alive')")
        yield connection
        assert connection.exec_driver_sql("SELECT word FROM canary").scalars().all() == ["alive"]
        connection.rollback()


@dataclass(frozen=True)
class Hostile:
    """The text of an attack, at each place where a plan has a string."""

    text: str

    @property
    def identifier(self) -> str:
        return self.text[:40]


def mapped(hostile: Hostile, schema: str | None = None) -> tuple[Any, Any, type[enum.Enum]]:
    """Map a parent and a child whose every name is hostile."""
    name = hostile.identifier
    kind = enum.Enum("Kind", {name: hostile.text, f"{name}2": f"{hostile.text}2"})
    base: Any = type("Base", (DeclarativeBase,), {"metadata": MetaData(schema=schema)})
    key = sa.Column(name, sa.Integer, primary_key=True, autoincrement=False)
    columns = [
        sa.Column(f"{name}t", sa.Text, nullable=False),
        sa.Column(f"{name}n", sa.Text),
        sa.Column(f"{name}e", sa.Enum(kind, name=f"{name}k"), nullable=False),
    ]
    parent_table = Table(f"{name}p", base.metadata, key, *columns)
    child_key = sa.Column(name, sa.Integer, primary_key=True, autoincrement=False)
    child_table = Table(f"{name}c", base.metadata, child_key, sa.Column(f"{name}f", ForeignKey(key)))
    parent: Any = type("Parent", (base,), {"__table__": parent_table, name: key, **_named(columns)})
    child: Any = type("Child", (base,), {"__table__": child_table, name: child_key, f"{name}f": child_table.c[1]})
    setattr(parent, f"{name}cs", relationship(child, order_by=child_key, back_populates=f"{name}p"))
    setattr(child, f"{name}p", relationship(parent, back_populates=f"{name}cs"))
    base.registry.configure()
    return parent, child, kind


def _named(columns: list[sa.Column[Any]]) -> dict[str, sa.Column[Any]]:
    return {column.name: column for column in columns}


def fill(connection: Connection, hostile: Hostile, parent: Any, child: Any, kind: Any) -> None:
    name = hostile.identifier
    parent.metadata.create_all(connection, checkfirst=False)
    rows = [
        {name: 1, f"{name}t": hostile.text, f"{name}n": None, f"{name}e": kind[name]},
        {name: 2, f"{name}t": "", f"{name}n": hostile.text, f"{name}e": kind[f"{name}2"]},
    ]
    parent_table, child_table = parent.__table__, child.__table__
    for row in rows:
        connection.execute(parent_table.insert().values({parent_table.c[key]: value for key, value in row.items()}))
    for key, owner in ((1, 1), (2, 1), (3, None)):
        connection.execute(child_table.insert().values({child_table.c[0]: key, child_table.c[1]: owner}))


def aliased(name: str, text: str) -> Any:
    """Give a field keys of its own for input and output; the ORM's side finds it by its name."""
    return Field(serialization_alias=text, validation_alias=AliasChoices(f"{text} in", name))


def hostile_models(hostile: Hostile, kind: Any) -> tuple[type[BaseModel], type[BaseModel]]:
    """Write a model of the parent and one of the child; their names and keys are hostile as well."""
    name, text = hostile.identifier, hostile.text
    leaf = create_model(text, __base__=Out, **{name: (int, Field(serialization_alias=text))})
    parent = create_model(
        text,
        __base__=Out,
        **{
            name: (int, aliased(name, text)),
            f"{name}t": (str, aliased(f"{name}t", f"{text}1")),
            f"{name}n": (str | None, ...),
            f"{name}e": (kind, ...),
            f"{name}cs": (list[leaf], aliased(f"{name}cs", f"{text}2")),
        },
    )
    owner = create_model(text, __base__=Out, **{name: (int, ...), f"{name}t": (str, ...)})
    child = create_model(
        text, __base__=Out, **{name: (int, ...), f"{name}p": (owner | None, aliased(f"{name}p", text))}
    )
    return parent, child


@pytest.mark.parametrize("attack", ATTACKS)
def test_names_and_values_are_never_run(connection: Connection, attack: str) -> None:
    hostile = Hostile(attack)
    parent, child, kind = mapped(hostile)
    fill(connection, hostile, parent, child, kind)
    parent_out, child_out = hostile_models(hostile, kind)
    text = getattr(parent, f"{hostile.identifier}t")
    key, child_key = getattr(parent, hostile.identifier), getattr(child, hostile.identifier)
    asked = [
        (parent_out, select(parent).order_by(key)),
        (parent_out, select(parent).where(text == attack).order_by(key)),
        (parent_out, select(parent).where(text.like(f"%{attack}%")).order_by(key.desc()).limit(1)),
        (child_out, select(child).order_by(child_key)),
    ]
    for model, statement in asked:
        for verb in ("json", "all", "first"):
            assert by_fetch(connection, model, statement, verb) == by_orm(connection, model, statement, verb)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_path_of_a_broken_row_is_never_run(connection: Connection, attack: str) -> None:
    base: Any = type("Base", (DeclarativeBase,), {})
    table = Table(
        "broken", base.metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column(attack[:40], sa.Text)
    )
    cls: Any = type("Broken", (base,), {"__table__": table, "id": table.c.id, "value": table.c[1]})
    # An expression may be NULL without anyone knowing beforehand.
    cls.__mapper__.add_property(attack, column_property(sa.func.lower(table.c[1], type_=sa.Text)))
    base.metadata.create_all(connection)
    connection.execute(table.insert().values({table.c[0]: 1}))
    model = create_model(attack, __base__=Out, **{attack: (str, Field(alias=attack))})
    with pytest.raises(InvalidRow):
        fetch(connection, model, select(cls)).json()


@pytest.mark.parametrize("attack", ATTACKS)
def test_names_of_schemas_are_never_run(connection: Connection, attack: str) -> None:
    if connection.dialect.name == "sqlite":
        pytest.skip("SQLite attaches no database in a transaction")
    hostile = Hostile(attack)
    quoted = connection.dialect.identifier_preparer.quote(hostile.identifier)
    connection.exec_driver_sql(f"CREATE SCHEMA {quoted}")
    parent, child, kind = mapped(hostile, schema="tenant")
    translated = connection.execution_options(schema_translate_map={"tenant": hostile.identifier})
    fill(translated, hostile, parent, child, kind)
    model, _ = hostile_models(hostile, kind)
    statement = select(parent).order_by(getattr(parent, hostile.identifier))
    assert by_fetch(translated, model, statement, "json") == by_orm(translated, model, statement, "json")
