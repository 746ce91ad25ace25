"""Invent rows with many equal and missing values, some of them written by plain SQL or by the server."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import Connection, text

from tests.paging.tables import FANS, FRIENDS, Memo, Paper, Part, Person, Sample, Size, Team, Thing, Tool, Word, Worker

Row = dict[str, Any]
Rows = list[tuple[Any, Row]]

_texts = st.sampled_from(["", "a", "A", "b", "B ", "ab", "é", "E", "Z", "10", "9", "a%b", "a'b", "\\", "\u00df"])
_numbers = st.sampled_from([0, 1, 1, 2, -1, 7, 2**31 - 1, -(2**31)])
_bigs = st.sampled_from([0, 1, 2**31, 2**53 + 1, 2**53, 2**63 - 1, -(2**63)])
_ratios = st.sampled_from([0.0, -0.0, 0.1, 0.1 + 0.2, 0.3, 1 / 3, 1e300, -1e300, 5e-324, 1e-7, 2.0**53])
_infinite = st.sampled_from([math.inf, -math.inf])
_prices = st.sampled_from(
    [Decimal(written) for written in ("0.00", "0.10", "1.10", "1.20", "2.35", "-3.30", "99999.99")]
)
_written = st.sampled_from(["2020-01-01", "2020-01-01T12:00:00", "2020-01-01T12:00:01", "1999-12-31T23:59:59"])
_moments = _written.map(dt.datetime.fromisoformat)
_clocks = st.sampled_from([dt.time(), dt.time(12), dt.time(12, 30, 1), dt.time(23, 59, 59)])
_days = st.sampled_from([dt.date(2020, 1, 1), dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2020, 2, 29)])
_keys = st.sampled_from([uuid.UUID(int=n << 96 | 4 << 76 | 8 << 60 | n) for n in (0, 1, 2, 2**31)])
_binaries = st.sampled_from([b"", b"a", b"\x00", b"a\x00b", b"\xff", b"A"])


def _optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


@st.composite
def _samples(draw: st.DrawFn, number: int, teams: list[int], database: str) -> Row:
    ratios = _ratios if database == "mariadb" else _ratios | _infinite
    if database == "postgresql":
        ratios = ratios | st.just(math.nan)
    values: dict[str, st.SearchStrategy[Any]] = {
        "team_id": _optional(st.sampled_from(teams)) if teams else st.none(),
        "next_id": _optional(st.integers(1, 8)),
        "text": _texts, "text_or_none": _optional(_texts), "short": _texts,
        "number": _numbers, "number_or_none": _optional(_numbers), "small": st.sampled_from([0, 1, -1, 32767]),
        "big": _bigs, "flag": st.booleans(), "ratio": ratios, "ratio_or_none": _optional(ratios),
        "single": st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 3e37]), "loose": st.sampled_from([0.5, 0.1, 1 / 3, -2.0]),
        "price": _prices, "price_or_none": _optional(_prices), "exact": _prices,
        "day": _days, "clock": _clocks, "local": _moments,
        "moment_or_none": _optional(_moments.map(lambda moment: moment.replace(tzinfo=dt.timezone.utc))),
        "size": st.sampled_from(Size), "size_name": st.sampled_from(Size), "key": _keys, "binary": _binaries,
    }  # fmt: skip
    row = {"id": number, **{name: draw(strategy) for name, strategy in values.items()}}
    # The others are filled by the server.
    if draw(st.booleans()):
        moment = draw(_moments)
        row |= {"filled": moment, "created_at": moment.replace(tzinfo=dt.timezone.utc)}
    return row


@st.composite
def worlds(draw: st.DrawFn, database: str) -> Rows:
    """Draw rows of all tables, in an order in which they can be inserted."""
    teams = list(range(1, draw(st.integers(0, 3)) + 1))
    team = _optional(st.sampled_from(teams)) if teams else st.none()
    rows: Rows = [
        (Team, {"id": n, "name": draw(_texts), "region": draw(_optional(_texts)), "rank": draw(_numbers)})
        for n in teams
    ]
    samples = list(range(1, draw(st.integers(2, 7)) + 1))
    rows += [(Sample, draw(_samples(n, teams, database))) for n in samples]
    parts = list(range(1, draw(st.integers(0, 7)) + 1))
    rows += [
        (
            Part,
            {
                "id": n,
                "sample_id": draw(_optional(st.sampled_from(samples[:3]))),
                "name": draw(_texts),
                "amount": draw(st.sampled_from([1, 2, 2_000_000_000])),
                "cost": draw(_prices),
            },
        )
        for n in parts
    ]
    pairs = [{"sample_id": sample, "team_id": team} for sample in samples for team in teams]
    if pairs:
        rows += [(FRIENDS, pair) for pair in draw(st.lists(st.sampled_from(pairs), max_size=4, unique_by=str))]
        rows += [(FANS, pair) for pair in draw(st.lists(st.sampled_from(pairs), max_size=3))]
    words = st.sets(st.sampled_from(["one", "two", "three"]), max_size=2)
    rows += [(Word, {"part_id": n, "word": word}) for n in parts for word in sorted(draw(words))]
    for n in range(1, draw(st.integers(0, 5)) + 1):
        kind = draw(st.sampled_from(["person", "worker", "guest"]))
        note = draw(_optional(_texts)) if kind == "guest" else None
        rows.append((Person, {"id": n, "kind": kind, "name": draw(_texts), "team_id": draw(team), "note": note}))
        if kind == "worker":
            rows.append((Worker, {"id": n, "grade": draw(_optional(_numbers))}))
    for n in range(1, draw(st.integers(0, 5)) + 1):
        kind = draw(st.sampled_from(["thing", "tool", "tool"]))
        rows.append((Thing, {"id": n, "kind": kind, "name": draw(_texts), "team_id": draw(team)}))
        if kind == "tool":
            rows.append((Tool, {"id": n, "weight": draw(_numbers)}))
    papers = draw(st.integers(0, 3))
    rows += [(Paper, {"id": n, "name": draw(_texts)}) for n in range(1, papers + 1)]
    rows += [
        (Memo, {"id": n, "name": draw(_texts), "lines": draw(_numbers)})
        # Rows of two concrete classes may have the same key.
        for n in range(1, draw(st.integers(0, 3)) + 1)
    ]
    return rows


def insert(connection: Connection, rows: Rows, *, raised: bool) -> None:
    """Write rows, each with the columns that it has; prices may be raised by plain SQL afterwards."""
    for cls, row in rows:
        table: Any = getattr(cls, "__table__", cls)
        connection.execute(table.insert().values({table.c[name]: value for name, value in row.items()}))
    if raised:
        connection.execute(text("UPDATE pg_sample SET price = price * 1.1, price_or_none = price_or_none * 1.1"))
