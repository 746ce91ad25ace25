"""Compare what fetch returns with what the ORM and Pydantic make of the same rows."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import Connection, Select
from sqlalchemy.orm import Session

from querywright import Fetch, MultipleFound, NotFound, fetch
from querywright.fetching.compile.form import Strategy

REFUSED = "refused by the model"


def _written(adapter: TypeAdapter[Any], value: Any) -> bytes:
    return adapter.dump_json(value, by_alias=True)


def _one_written(adapter: TypeAdapter[Any], values: list[Any]) -> Any:
    # An adapter of the list writes its brackets around the one.
    return _only(values) if len(values) != 1 else _written(adapter, values)[1:-1]


def _only(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else f"{min(len(values), 2)} rows"


@dataclass(frozen=True)
class Verb:
    """A verb of a fetch, and what it has to give for the instances that the ORM and Pydantic make."""

    ask: Callable[[Fetch[Any]], Any]
    expect: Callable[[TypeAdapter[Any], list[Any]], Any]


VERBS: dict[str, Verb] = {
    "json": Verb(lambda asked: asked.json(), _written),
    "all": Verb(lambda asked: seen(asked.all()), lambda _adapter, values: seen(values)),
    "first": Verb(lambda asked: seen(asked.first()), lambda _adapter, values: seen(values[0] if values else None)),
    "one": Verb(lambda asked: seen(asked.one()), lambda _adapter, values: _only(seen(values))),
    "json_one": Verb(lambda asked: asked.json_one(), _one_written),
}


def by_orm(connection: Connection, model: type[BaseModel], statement: Select[Any], verb: str) -> Any:
    """Load objects with the ORM, validate and write them with Pydantic."""
    adapter = TypeAdapter(list[model])  # type: ignore[valid-type]
    with Session(connection) as session:
        rows = session.scalars(statement).all()
        if verb == "first":
            rows = rows[:1]
        elif "one" in verb and len(rows) != 1:
            return _only(list(rows))
        try:
            return VERBS[verb].expect(adapter, adapter.validate_python(rows, from_attributes=True))
        except ValidationError:
            return REFUSED


def by_fetch(
    connection: Connection, model: type[BaseModel], statement: Select[Any], verb: str, strategy: Strategy = "auto"
) -> Any:
    """Fetch the same."""
    try:
        return VERBS[verb].ask(fetch(connection, model, statement, strategy=strategy))
    except ValidationError:
        return REFUSED
    except (NotFound, MultipleFound) as error:
        return "0 rows" if isinstance(error, NotFound) else "2 rows"


def seen(value: Any) -> Any:
    """Write instances with the type of each value."""
    if isinstance(value, BaseModel):
        return [(name, seen(getattr(value, name))) for name in type(value).model_fields]
    if isinstance(value, dict):
        return [(key, seen(inner)) for key, inner in value.items()]
    if isinstance(value, (list, tuple)):
        return [seen(inner) for inner in value]
    # asyncpg has a class of its own for UUIDs.
    return (uuid.UUID if isinstance(value, uuid.UUID) else type(value), *_told_apart(value))


def _told_apart(value: Any) -> tuple[Any, ...]:
    """Tell apart what compares equal, and NaN from nothing."""
    if isinstance(value, Decimal):
        return value.as_tuple()
    if isinstance(value, dt.datetime):
        return (value, value.utcoffset())
    return (repr(value) if isinstance(value, float) and value else value,)
