"""Say at the end of a run what was skipped, and why."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = Counter(map(_reason, terminalreporter.stats.get("skipped", ())))
    if not reasons:
        return
    terminalreporter.section(f"{reasons.total()} tests skipped")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:>5}  {reason}")


def _reason(report: Any) -> str:
    """Take the reason out of where it was skipped and why."""
    _path, _line, reason = report.longrepr
    return str(reason).removeprefix("Skipped: ")
