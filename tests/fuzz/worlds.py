"""A whole example: a schema, its rows, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from sqlalchemy import Connection

from tests.fuzz.compare import VERBS, by_fetch, by_orm
from tests.fuzz.mapping import map_classes
from tests.fuzz.responses import Response, make_model, responses
from tests.fuzz.rows import Rows, rows_of
from tests.fuzz.schemas import Schema, schemas
from tests.fuzz.statements import Statement, statements


@dataclass(frozen=True)
class World:
    """An invented schema with its rows, and what is asked of it."""

    schema: Schema
    rows: Rows
    asked: tuple[Question, ...]


@dataclass(frozen=True)
class Question:
    """What is asked of a schema."""

    response: Response
    statement: Statement
    verb: str


_VERBS = ("json", "all", "json", "all", "json", "all", *VERBS)


@st.composite
def worlds(draw: st.DrawFn, database: str) -> World:
    """Draw a world that this database can hold."""
    schema = draw(schemas(database))
    rows = draw(rows_of(schema))
    asked = [draw(_question(schema, rows)) for _ in range(draw(st.sampled_from((1, 1, 1, 1, 2))))]
    return World(schema, rows, tuple(asked))


@st.composite
def _question(draw: st.DrawFn, schema: Schema, rows: Rows) -> Question:
    related = [index for index in range(len(schema.entities)) if any(schema.edges(index))]
    index = draw(st.sampled_from(related or range(len(schema.entities))))
    return Question(
        draw(responses(schema, index)), draw(statements(schema, rows, index)), draw(st.sampled_from(_VERBS))
    )


def check(connection: Connection, world: World) -> None:
    """Write the rows into an empty database; whatever is asked, fetch equals the ORM and Pydantic."""
    mapped = map_classes(world.schema)
    try:
        mapped.metadata.create_all(connection, checkfirst=False)
        world.rows.insert(connection, mapped)
        for question in world.asked:
            model, statement = make_model(question.response), question.statement.make(mapped)
            expected = by_orm(connection, model, statement, question.verb)
            for strategy in ("auto", "levels") if question.verb in {"json", "all"} else ("auto",):
                assert by_fetch(connection, model, statement, question.verb, strategy) == expected
    finally:
        mapped.dispose()
