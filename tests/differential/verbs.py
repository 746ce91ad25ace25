"""Ask each verb of a fetch for what the ORM has found, and say where they differ."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Select

from querywright import Fetch, InvalidRow, ShapeError, fetch, use_cursor_secret
from querywright.fetching.compile.related import criteria_of
from querywright.fetching.compile.statement import root_mapper
from tests.conftest import CURSOR_SECRET
from tests.differential.models import EXACT, LOOSE, Shape, shape_of
from tests.differential.oracle import Oracle, savepoint
from tests.differential.trees import from_instances, from_json, same

__all__ = ["Outcome", "compare"]

_MOST_PAGES = 6
# How many relationships are followed on each level: of the lists, and of pages and streams.
_WIDE, _NARROW = (2, 1), (1,)
_REPORTED = 1500


@dataclass
class Outcome:
    """What became of each verb: ``same``, ``refused``, ``different`` or ``failed``, and why."""

    rows: int = 0
    demands: int = 0
    verbs: dict[str, tuple[str, str]] = field(default_factory=dict)


class _Different(Exception):
    pass


@dataclass
class _Case:
    shape: Shape
    asked: Callable[..., Fetch[Any]]
    oracle: Oracle
    instances: list[Any]
    text: bytes | None

    def __post_init__(self) -> None:
        self.expected = from_instances(self.shape, self.instances)
        self.written = None if self.text is None else from_json(self.shape, self.text)

    def rows(self, found: list[Any]) -> None:
        trees = from_instances(self.shape, found)
        if not same(self.expected, trees, self.oracle.keys):
            raise _Different(_told(self.expected, trees))

    def json(self, text: bytes) -> None:
        if self.text == text:
            return
        if self.written is None:
            raise _Different(f"Pydantic cannot write it, fetch wrote {text[:_REPORTED]!r}")
        trees = from_json(self.shape, text)
        if not same(self.written, trees, self.oracle.keys):
            raise _Different(_told(self.written, trees))


def compare(oracle: Oracle, statement: Select[Any], known: set[Any], turn: int) -> Outcome:
    """Compare all verbs of one statement."""
    outcome = Outcome()
    use_cursor_secret(oracle.connection.engine, CURSOR_SECRET)
    mapper = root_mapper(statement)
    with savepoint(oracle.connection):
        objects = oracle.objects()
    outcome.rows = len(objects)
    for demands in range(EXACT, LOOSE + 1):
        outcome.demands = demands
        wide = _case(oracle, statement, objects, shape_of(mapper, demands, _WIDE, turn))
        narrow = _case(oracle, statement, objects, shape_of(mapper, demands, _NARROW, turn))
        if isinstance(wide, _Case) and isinstance(narrow, _Case):
            mark = _mark(wide, statement)
            if mark in known:
                outcome.verbs["all"] = ("repeated", "")
                return outcome
            known.add(mark)
            for name, check in (*_rows_checks(wide, turn), *_page_checks(narrow)):
                outcome.verbs[name] = _verdict(oracle, check)
                if outcome.verbs["all"][0] == "refused":
                    break
            return outcome
        outcome.verbs[f"invalid {demands}"] = next(case for case in (wide, narrow) if isinstance(case, tuple))
    return outcome


def _mark(case: _Case, statement: Select[Any]) -> Any:
    """Tell statements apart that a fetch could tell apart, in what they say or in what they find.

    Tests of loaders run one statement with many options that only say how to load; those that fetch looks at are kept.
    """
    try:
        criteria: Any = criteria_of(statement)
    except ShapeError:
        criteria = object()
    key = case.oracle.statement._generate_cache_key()
    values = [bind.effective_value for bind in key.bindparams] if key else object()
    # A number: what is in a key would keep the classes of a test alive.
    said = hash(key.key) if key else None
    return said, repr(criteria), repr(values), repr(case.oracle.parameters), case.text or repr(case.expected)


def _case(oracle: Oracle, statement: Select[Any], objects: list[Any], shape: Shape | None) -> _Case | tuple[str, str]:
    """Let Pydantic validate the ORM's objects; if it refuses, fetch has to as well."""
    if shape is None:
        return "nothing to show", "the class has no attributes"

    def asked(strategy: Any = "auto") -> Fetch[Any]:
        return fetch(oracle.connection, shape.model, statement, oracle.parameters or None, strategy=strategy)

    adapter: TypeAdapter[list[Any]] = TypeAdapter(list[shape.model])  # type: ignore[name-defined]
    try:
        with savepoint(oracle.connection):
            instances = adapter.validate_python(objects, from_attributes=True)
    except ValidationError as error:
        return _invalid(oracle, asked, error)
    return _Case(shape, asked, oracle, instances, _dumped(adapter, instances))


def _dumped(adapter: TypeAdapter[Any], instances: list[Any]) -> bytes | None:
    try:
        return adapter.dump_json(instances, by_alias=True)
    except Exception:  # noqa: BLE001 - Any holds whatever a test stores
        return None


def _invalid(oracle: Oracle, asked: Any, error: ValidationError) -> tuple[str, str]:
    def check() -> None:
        try:
            found = asked().all()
        except (ValidationError, InvalidRow):
            return
        raise _Different(f"Pydantic refuses the ORM's rows: {error}\nfetch returned {found!r}"[:_REPORTED])

    return _verdict(oracle, check)


def _rows_checks(case: _Case, turn: int) -> Iterator[tuple[str, Callable[[], None]]]:
    yield "all", lambda: case.rows(case.asked().all())
    yield "json", lambda: _json(case, lambda: case.asked().json())
    # Compiling takes the time of this command: both would tell the same.
    if turn % 2:
        yield "levels", lambda: case.rows(case.asked("levels").all())
    else:
        yield "levels", lambda: _json(case, lambda: case.asked("levels").json())


def _page_checks(case: _Case) -> Iterator[tuple[str, Callable[[], None]]]:
    yield "stream", lambda: case.rows(list(case.asked().stream(batch=2)))
    yield "count", lambda: _number(case, case.asked().count())
    yield "page forward", lambda: _pages(case, _forward)
    yield "page backward", lambda: _pages(case, _backward)
    yield "page number", lambda: _pages(case, _by_number)


def _json(case: _Case, write: Callable[[], bytes]) -> None:
    if case.text is None:
        try:
            text = write()
        except (ShapeError, _Different):
            raise
        except Exception:  # noqa: BLE001 - neither can Pydantic
            return
        case.json(text)
    case.json(write())


def _number(case: _Case, found: int) -> None:
    if found != len(case.expected):
        raise _Different(f"count {found}, rows {len(case.expected)}")


def _pages(case: _Case, walk: Callable[[Fetch[Any], int, int], list[Any]]) -> None:
    size = max(1, min(1000, math.ceil(len(case.expected) / (_MOST_PAGES - 1))))
    case.rows(walk(case.asked(), size, len(case.expected)))


def _forward(asked: Fetch[Any], size: int, total: int) -> list[Any]:
    return [row for page in _walk(asked, size, total) for row in page.items]


def _walk(asked: Fetch[Any], size: int, total: int) -> Iterator[Any]:
    cursor: str | None = None
    for _ in range(_MOST_PAGES + 2):
        page = asked.page(size=size, after=cursor)
        _totals(page, total)
        yield page
        cursor = page.next
        if cursor is None:
            return
    raise _Different("the walk does not end")


def _totals(page: Any, total: int) -> None:
    if page.total != total:
        raise _Different(f"total {page.total}, rows {total}")


def _backward(asked: Fetch[Any], size: int, total: int) -> list[Any]:
    *_, page = _walk(asked, size, total)
    rows = list(page.items)
    for _ in range(_MOST_PAGES + 2):
        if page.previous is None:
            return rows
        page = asked.page(size=size, before=page.previous)
        _totals(page, total)
        rows = [*page.items, *rows]
    raise _Different("the walk back does not end")


def _by_number(asked: Fetch[Any], size: int, total: int) -> list[Any]:
    rows: list[Any] = []
    for number in range(1, _MOST_PAGES + 3):
        page = asked.page(size=size, number=number)
        _totals(page, total)
        rows += page.items
        if len(page.items) < size:
            return rows
    raise _Different("the numbers do not end")


def _verdict(oracle: Oracle, check: Callable[[], None]) -> tuple[str, str]:
    try:
        with savepoint(oracle.connection):
            check()
    except _Different as difference:
        return "different", str(difference)
    except ShapeError as error:
        return "refused", re.sub(r"\s+", " ", str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the ORM did without
        return "failed", f"{type(error).__name__}: {error}"[:_REPORTED]
    return "same", ""


def _told(expected: list[Any], found: list[Any]) -> str:
    left, right = repr(expected), repr(found)
    start = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    start = max(0, start - 200)
    return (
        f"{len(expected)} rows of the ORM, {len(found)} fetched; from character {start}:\n"
        f"  ORM   {left[start : start + 600]}\n  fetch {right[start : start + 600]}"
    )
