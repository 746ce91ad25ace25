"""One SQL statement from a response model: plan, compile, execute, decode."""

from querywright.fetch.aio import AsyncFetch
from querywright.fetch.api import fetch
from querywright.fetch.checks import Finding, check_shapes
from querywright.fetch.compile.page import Page
from querywright.fetch.decode.written import JsonBytes
from querywright.fetch.model.markers import (
    Avg,
    Count,
    Exists,
    Expr,
    First,
    Grouped,
    Keys,
    Latest,
    Many,
    Max,
    Min,
    Path,
    Sum,
)
from querywright.fetch.pages.cursors import use_cursor_secret
from querywright.fetch.plan.report import FieldReport, PlanReport
from querywright.fetch.prepared import PreparedQuery, prepare
from querywright.fetch.verbs import Fetch

__all__ = [
    "AsyncFetch",
    "Avg",
    "Count",
    "Exists",
    "Expr",
    "Fetch",
    "FieldReport",
    "Finding",
    "First",
    "Grouped",
    "JsonBytes",
    "Keys",
    "Latest",
    "Many",
    "Max",
    "Min",
    "Page",
    "Path",
    "PlanReport",
    "PreparedQuery",
    "Sum",
    "check_shapes",
    "fetch",
    "prepare",
    "use_cursor_secret",
]
