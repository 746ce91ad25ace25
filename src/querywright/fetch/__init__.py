"""One SQL statement from a response model: plan, compile, execute, decode."""

from querywright.fetch.execute import JsonBytes
from querywright.fetch.verbs import AsyncFetch, Fetch, fetch

__all__ = ["AsyncFetch", "Fetch", "JsonBytes", "fetch"]
