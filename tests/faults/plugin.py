"""Collect what the tests of the fault suite measure, wherever they stand, and print the table."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict

import pytest

from tests.faults.report import FIGURES, SUBJECT, Figures, subject, table

__all__ = ["pytest_itemcollected", "pytest_runtest_makereport", "pytest_terminal_summary"]


def pytest_itemcollected(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and (found := subject(item)):
        item.user_properties.append((SUBJECT, list(found)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    figures = getattr(item, "funcargs", {}).get("figures")
    if report.when == "call" and isinstance(figures, Figures):
        report.user_properties.append((FIGURES, asdict(figures)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.config.getoption("--faults") is None:
        return
    outcomes = ("passed", "failed", "error", "skipped")
    reports = [(outcome, report) for outcome in outcomes for report in terminalreporter.stats.get(outcome, ())]
    terminalreporter.section("faults")
    for line in table(reports):
        terminalreporter.write_line(line)
