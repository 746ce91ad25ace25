"""Compare what fetch returns with what the ORM and Pydantic make of the same rows."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import Connection, Select
from sqlalchemy.orm import Session

from querywright import Fetch, MultipleFound, NotFound, fetch
from querywright.fetch.form import Strategy

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)?")
# Only these are written differently: 1E-7 may be 0.0000001.
_SMALL_DECIMAL = re.compile(r"-?\d+\.\d{7,}|-?\d(\.\d+)?E-\d+")
_TIME = re.compile(r"\d\d:\d\d:\d\d(\.\d{1,6})?")
_PARSE_TIME = TypeAdapter(dt.time)
_MOMENT = TypeAdapter(dt.datetime)
REFUSED = "refused by the model"


def _written(adapter: TypeAdapter[Any], value: Any) -> Any:
    return parsed(adapter.dump_json(value, by_alias=True))


def _only(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else f"{min(len(values), 2)} rows"


@dataclass(frozen=True)
class Verb:
    """A verb of a fetch, and what it has to give for the instances that the ORM and Pydantic make."""

    ask: Callable[[Fetch[Any]], Any]
    expect: Callable[[TypeAdapter[Any], list[Any]], Any]


VERBS: dict[str, Verb] = {
    "json": Verb(lambda asked: parsed(asked.json()), _written),
    "all": Verb(lambda asked: seen(asked.all()), lambda _adapter, values: seen(values)),
    "first": Verb(lambda asked: seen(asked.first()), lambda _adapter, values: seen(values[0] if values else None)),
    "one": Verb(lambda asked: seen(asked.one()), lambda _adapter, values: _only(seen(values))),
    "json_one": Verb(lambda asked: parsed(asked.json_one()), lambda adapter, values: _only(_written(adapter, values))),
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


def parsed(text: bytes) -> Any:
    """Parse what a client reads, by the letter of RFC 8259."""
    return comparable(json.loads(text.decode(), parse_constant=_no_json))


def _no_json(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


def comparable(value: Any) -> Any:
    """Keep the order of keys and the type of each value; forget notation that is free."""
    if isinstance(value, dict):
        return [(key, comparable(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    if isinstance(value, str) and _TIMESTAMP.fullmatch(value):
        return _MOMENT.validate_python(value)
    if isinstance(value, str) and _TIME.fullmatch(value):
        return _PARSE_TIME.validate_python(value)
    if isinstance(value, str) and _SMALL_DECIMAL.fullmatch(value):
        return Decimal(value).as_tuple()
    return (isinstance(value, bool), value)
