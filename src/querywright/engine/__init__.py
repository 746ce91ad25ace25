"""Opening connections: dialect facts, engines with safe defaults, the pool, statement timing, reports of errors."""

from querywright.engine.create import create_async_engine, create_sync_engine
from querywright.engine.databases.errors import classify
from querywright.engine.drivers.lookup import parse_url
from querywright.engine.pool.health import PoolSnapshot, pool_snapshot
from querywright.engine.reports import report_of

__all__ = [
    "PoolSnapshot",
    "classify",
    "create_async_engine",
    "create_sync_engine",
    "parse_url",
    "pool_snapshot",
    "report_of",
]
