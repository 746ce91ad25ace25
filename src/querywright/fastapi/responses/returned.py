"""Refuse what is no response: a coroutine that nobody awaited, a fetch without a verb, JSON that is written already."""

from __future__ import annotations

from inspect import iscoroutine
from types import CoroutineType
from typing import Any, NoReturn

from fastapi.encoders import ENCODERS_BY_TYPE

from querywright.errors import ConfigurationError
from querywright.fetching import AsyncFetch, Fetch, JsonBytes

__all__ = ["refuse_unfinished", "require_finished"]


def refuse_unfinished() -> None:
    """Have FastAPI refuse them where no response model does: it sends bytes as a string, also inside a dict."""
    ENCODERS_BY_TYPE[JsonBytes] = _refuse_written
    for kind in (CoroutineType, AsyncFetch, Fetch):
        ENCODERS_BY_TYPE[kind] = require_finished


def require_finished(value: object) -> None:
    """Check that there is a result.

    Args:
        value: What should be one.

    Raises:
        ConfigurationError: It is a coroutine, which is not awaited, or a fetch.
    """
    if iscoroutine(value):
        # What Python would say of it is said here.
        value.close()
        message = f"{value.__qualname__}() was not awaited: there is a coroutine where its result belongs."
        raise ConfigurationError(message, hint=f"Await it: await {value.__name__}(...).")
    if isinstance(value, (AsyncFetch, Fetch)):
        message = f"Without one of its verbs, {type(value).__name__} fetches nothing."
        verb = "await fetch(...).json()" if isinstance(value, AsyncFetch) else "fetch(...).json()"
        raise ConfigurationError(message, hint=f"Call one, such as {verb}.")


def _refuse_written(_value: Any) -> NoReturn:
    message = "A path operation has returned JsonBytes, JSON that is written already, which would be sent as a string."
    raise ConfigurationError(message, hint="Return Json(...) of it, and nothing around it.")
