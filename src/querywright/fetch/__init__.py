"""One SQL statement from a response model: plan, compile, execute, decode."""

from querywright.fetch.execute import JsonBytes
from querywright.fetch.markers import (
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
from querywright.fetch.verbs import AsyncFetch, Fetch, fetch

__all__ = [
    "AsyncFetch",
    "Avg",
    "Count",
    "Exists",
    "Expr",
    "Fetch",
    "First",
    "Grouped",
    "JsonBytes",
    "Keys",
    "Latest",
    "Many",
    "Max",
    "Min",
    "Path",
    "Sum",
    "fetch",
]
