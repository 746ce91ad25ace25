"""Run a fetch in one statement for each level, and say when one statement for everything would be too large.

One statement is one round trip, but the database holds all of its JSON at once: PostgreSQL refuses a text of one
gigabyte and needs several times its size in memory. Level by level no statement returns more than the rows of some
thousand parents.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Select

from querywright.engine.databases.lookup import backend_of
from querywright.events import FetchSplit, emit
from querywright.fetching.compile.binding import Binder, Statement
from querywright.fetching.compile.slots import KEYS
from querywright.fetching.execute.cache import LRU
from querywright.fetching.execute.compiled import CompiledFetch
from querywright.fetching.execute.filling import Filling, fill, keys_in
from querywright.fetching.execute.run import Rows, run, stream
from querywright.fetching.plan.nodes import Plan

__all__ = ["LARGEST_JSON", "learn", "most_rows", "run_levels", "stream_levels"]

# The execution option that says how many bytes of JSON one statement may make, and what it is without one.
LARGEST_JSON = "querywright_largest_json"
_LARGEST_JSON = 64 * 2**20
# Keys in one statement: PostgreSQL takes 65,535 parameters, SQLite 32,766.
_KEYS = 5000
# Fills in the values of a statement.
Below = Callable[[Binder, Mapping[str, Any]], Statement]

# The most bytes that a row of a plan had on average in a result, and what it is taken for until one has been seen.
_seen: LRU[int] = LRU(1000)
_UNKNOWN_ROW = 4096


def most_rows(target: Engine | Connection, statement: Select[Any], plan: Plan) -> int:
    """Return how many rows one statement may have, by the size of those seen before."""
    options = {**target.get_execution_options(), **statement.get_execution_options()}
    largest: int = options.get(LARGEST_JSON, _LARGEST_JSON)
    return largest // (_seen.get((plan.model, plan.mapper)) or _UNKNOWN_ROW)


def learn(plan: Plan, rows: int, size: int) -> None:
    """Remember how large the rows of a result were."""
    if rows:
        known = _seen.get((plan.model, plan.mapper)) or 1
        _seen.put((plan.model, plan.mapper), max(known, size // rows))


def run_levels(target: Engine | Connection, compiled: CompiledFetch, statement: Statement, below: Below) -> Rows:
    """Run the statement of the root, then one for each level below.

    Args:
        target: Where to run them, in one snapshot.
        compiled: The compiled fetch.
        statement: The statement of the root.
        below: Fills in the values of the other statements: the user's as well, whose filters hold for every level.

    Returns:
        The rows of the root, the first column of each with all JSON in it.
    """
    with _snapshot(target, statement) as connection:
        return _completed(connection, compiled, run(connection, statement), below)


def stream_levels(
    target: Engine | Connection, compiled: CompiledFetch, statement: Statement, below: Below, size: int
) -> Generator[Rows, None, None]:
    """Read the rows of the root as they are needed, so many at once, and for each batch what is below."""
    with _snapshot(target, statement) as connection, closing(_batches(connection, statement, size)) as batches:
        for rows in batches:
            yield _completed(connection, compiled, rows, below)


def _batches(connection: Connection, statement: Statement, size: int) -> Generator[Rows, None, None]:
    if not backend_of(connection.dialect).reads_one_result:
        yield from stream(connection, statement, size)
        return
    rows = run(connection, statement)
    yield from (rows[start : start + size] for start in range(0, len(rows), size))


def _completed(connection: Connection, compiled: CompiledFetch, rows: Rows, below: Below) -> Rows:
    texts = [row[0] or "" for row in rows]
    emit(FetchSplit(compiled.plan.root.path, len(texts)))
    filling = Filling(frozenset(number for number, slot in enumerate(compiled.slots) if not slot.is_list))
    waiting = keys_in(texts)
    while waiting:
        number, keys = waiting.popitem()
        waiting |= keys_in(filling.add(number, _rows_of(connection, compiled, number, keys, below)))
    return [(text, *row[1:]) if row[0] else row for text, row in zip(fill(texts, filling), rows, strict=True)]


def _rows_of(connection: Connection, compiled: CompiledFetch, number: int, keys: list[str], below: Below) -> list[Any]:
    slot = compiled.slots[number]
    rows: list[Any] = []
    for start in range(0, len(keys), size := max(_KEYS // len(slot.key), 1)):
        values: Mapping[str, Any] = {KEYS: slot.values(keys[start : start + size], connection.dialect)}
        rows += run(connection, below(slot.binder, values))
    return rows


@contextmanager
def _snapshot(target: Engine | Connection, statement: Statement) -> Iterator[Connection]:
    """Let all statements see the same rows: those of a transaction that only reads, unless it locks them."""
    if isinstance(target, Connection):
        yield target
        return
    with target.connect() as connection:
        backend = backend_of(target.dialect)
        options, skipped = backend.snapshot, backend.read_only if statement.locks else {}
        connection.execution_options(**{key: value for key, value in options.items() if key not in skipped})
        yield connection
