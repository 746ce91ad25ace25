"""One SQL statement from a response model: plan, compile, execute, decode."""

from querywright.fetching.aio import AsyncFetch
from querywright.fetching.api import fetch
from querywright.fetching.checks import Finding, check_shapes
from querywright.fetching.compile.page import Page
from querywright.fetching.decode.written import JsonBytes
from querywright.fetching.model.markers import (
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
from querywright.fetching.pages.cursors import use_cursor_secret
from querywright.fetching.plan.report import FieldReport, PlanReport
from querywright.fetching.prepared import PreparedQuery, prepare
from querywright.fetching.verbs import Fetch

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
