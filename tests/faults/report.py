"""The table of the fault suite: what was promised, whether it held, on which driver, with which figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import pytest

# The properties of a test's report, which reach the process that prints the table.
SUBJECT = "fault subject"
FIGURES = "fault figures"

PROMISES = {
    1: "crash and restart under load",
    2: "fast stop, terminated backends",
    3: "network swallows everything",
    4: "more clients than connections",
    5: "cancelled at any await",
    6: "acknowledgement of COMMIT lost",
    7: "serializable bank transfer",
    8: "each attempt a new session",
    9: "hooks after COMMIT, outbox",
    10: "nothing leaks to the next user",
    11: "DDL under load",
    12: "PgBouncer, transaction mode",
    13: "fork",
    14: "another event loop",
    15: "no secret in any message",
    16: "SQLite: writers, full, read-only",
    17: "read your writes on replicas",
    18: "rolling recycle, failover",
    19: "a 2xx is durable",
    20: "streams hold no connection",
    21: "a changed connection is replaced",
    22: "joined transactions are one",
    23: "a session ends with its block",
    24: "hooks end, each is called",
    25: "keys: callers, repeats, hooks once",
    26: "what is returned decides",
    27: "what a statement leaves behind",
    28: "cursors forged and read",
    29: "hostile input is a 4xx",
    30: "TLS, refused and forged",
    31: "slow readers, readiness",
    32: "the log names the cause",
    33: "OpenAPI against the answers",
    34: "engines, memory, a test's database",
}

# The files of tests that keep a promise without a fault of a server or a network.
ELSEWHERE = {
    "tests/suite/test_nesting.py": 22,
    "tests/suite/test_session_ends.py": 23,
    "tests/suite/test_hooks.py": 24,
    "tests/fastapi/test_slow_keys.py": 25,
    "tests/suite/test_run_keys.py": 25,
    "tests/fastapi/test_answers.py": 26,
    "tests/engine/test_changes.py": 27,
    "tests/suite/test_cursors.py": 28,
    "tests/fastapi/hostile/test_hostile.py": 29,
    "tests/tls/test_servers.py": 30,
    "tests/fastapi/test_streams.py": 31,
    "tests/fastapi/test_reports.py": 32,
    "tests/conformance/test_schemathesis.py": 33,
    "tests/conformance/test_generated_client.py": 33,
    "tests/session/test_sources.py": 34,
}


@dataclass
class Figures:
    """What one test measured; ``None`` is what it did not measure.

    Attributes:
        sent: Requests that clients sent.
        acknowledged: Requests that were answered with success.
        lost: Acknowledged writes that were not there afterwards.
        doubled: Writes that were there twice.
        slowest: Seconds of the slowest wait that has a bound.
        leaked: Connections still checked out, or open on the server and in no pool.
        notes: What else is worth knowing.
    """

    sent: int | None = None
    acknowledged: int | None = None
    lost: int | None = None
    doubled: int | None = None
    slowest: float | None = None
    leaked: int | None = None
    notes: list[str] = field(default_factory=list)


_COLUMNS = tuple(item.name for item in fields(Figures) if item.name != "notes")


@dataclass
class Row:
    """All tests of one promise on one driver."""

    number: int
    group: str
    passed: int = 0
    failed: int = 0
    skipped: list[str] = field(default_factory=list)
    figures: Figures = field(default_factory=Figures)

    @property
    def state(self) -> str:
        if self.failed:
            return "NOT HELD"
        if self.passed:
            return f"held, {len(self.skipped)} skipped" if self.skipped else "held"
        return "skipped" if self.skipped else "no test"

    def add(self, outcome: str, report: Any) -> None:
        """Count one test's report and take over its figures."""
        if outcome == "passed":
            self.passed += report.when == "call"
        elif outcome == "skipped":
            self.skipped.append(_reason(report))
        else:
            self.failed += 1
        for name, values in report.user_properties:
            if name == FIGURES and report.when == "call":
                self._merge(Figures(**values))

    def _merge(self, other: Figures) -> None:
        for name in _COLUMNS:
            values = [value for value in (getattr(self.figures, name), getattr(other, name)) if value is not None]
            if values:
                setattr(self.figures, name, max(values) if name == "slowest" else sum(values))
        self.figures.notes += other.notes

    def cells(self) -> list[str]:
        numbers = [_number(getattr(self.figures, name)) for name in _COLUMNS]
        notes = "; ".join(dict.fromkeys(self.figures.notes + self.skipped))
        return [f"A{self.number}", PROMISES[self.number], self.group, self.state, *numbers, notes]


def table(reports: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Print one line for each promise and driver.

    Args:
        reports: Outcomes, as pytest's terminal reporter names them, and reports of tests.
    """
    rows: dict[tuple[int, str], Row] = {}
    for outcome, report in reports:
        for name, value in getattr(report, "user_properties", ()):
            if name == SUBJECT:
                number, group = value
                rows.setdefault((number, group), Row(number, group)).add(outcome, report)
    for number in PROMISES.keys() - {number for number, _ in rows}:
        rows[number, ""] = Row(number, "")
    lines = [["", "promise", "driver", "", *_COLUMNS, ""], *(rows[key].cells() for key in sorted(rows))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def subject(item: pytest.Function) -> tuple[int, str] | None:
    """Read a test's number from its name, ``test_a7_...``, or its file, and its driver from its parameters."""
    prefix, _, _ = item.originalname.removeprefix("test_a").partition("_")
    number = int(prefix) if prefix.isdigit() else ELSEWHERE.get(item.nodeid.partition("::")[0])
    if number is None:
        return None
    callspec: Any = getattr(item, "callspec", None)
    parameters = callspec.params if callspec else {}
    driver = str(parameters.get("driver") or parameters.get("url") or "")
    return number, driver.partition("+")[2] or driver


def percentile(values: Iterable[float], rank: int) -> float:
    """Return the value that so many percent do not exceed; 0 if there are none."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) * rank // 100] if ordered else 0


def _reason(report: Any) -> str:
    reason: object = report.longrepr
    return str(reason[2]).removeprefix("Skipped: ") if isinstance(reason, tuple) else "skipped"


def _number(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f} s" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    print(*ELSEWHERE)  # noqa: T201 - for the Makefile
