"""What every contender is: one library's way to do the three jobs, on a database that is already filled."""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import make_url, select
from sqlalchemy.orm import selectinload

from benchmarks.data import WRITERS
from benchmarks.models import FlatOut, Text, Writer, WriterOut
from querywright import AsyncDatabase

Work = Callable[[], Awaitable[bytes]]
NESTED = select(Writer).order_by(Writer.id).limit(50)
FLAT = select(Writer).order_by(Writer.id)
EAGER = selectinload(Writer.texts).selectinload(Text.remarks)
many_nested, many_flat = TypeAdapter(list[WriterOut]), TypeAdapter(list[FlatOut])


@dataclass(frozen=True)
class Contender:
    """One way to do the three jobs; each returns JSON bytes."""

    name: str
    nested: Work
    flat: Work
    by_key: Work


@dataclass(frozen=True)
class Place:
    """The filled database, under the names by which the libraries know it."""

    db: AsyncDatabase
    url: str

    @property
    def dsn(self) -> str:
        return make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)

    @property
    def path(self) -> str:
        return str(make_url(self.url).database)


Entry = Callable[[Place], AbstractAsyncContextManager[Contender]]


def keys() -> Iterator[int]:
    """Ask for another row each time."""
    return itertools.cycle(range(1, WRITERS + 1))


def same(one: bytes, other: bytes) -> bool:
    """Say whether two results mean the same; the notation of a timestamp may differ."""
    return bool(_moments_parsed(one) == _moments_parsed(other))


def _moments_parsed(text: bytes) -> Any:
    rows = json.loads(text)
    adapter = many_nested if isinstance(rows, list) and "texts" in rows[0] else many_flat
    return adapter.validate_python(rows if isinstance(rows, list) else [rows])
