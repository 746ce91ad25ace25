"""Arguments for the driver, of the URL or of ``connect_args``: merged with ours, and refused before a connection is."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import URL, Dialect

from querywright.errors import ConfigurationError
from querywright.settings import DatabaseSettings

__all__ = ["merged", "require_free", "require_known"]

# What they decide, Querywright does.
_OURS = {
    "aiomysql": {"autocommit", "cursorclass", "init_command"},
    "aiosqlite": {"autocommit", "factory", "isolation_level"},
    "asyncpg": {"connection_class", "loop"},
    "psycopg": {"autocommit", "cursor_factory", "row_factory"},
    "pymysql": {"autocommit", "cursorclass", "init_command"},
    "sqlite3": {"autocommit", "factory", "isolation_level"},
}
_OWN_ENGINE = (
    "To connect in another way, make an engine with SQLAlchemy's create_engine() and pass it instead of a URL."
)
# Both of them are read.
_JOINED: dict[tuple[str, str], Callable[[Any, Any], Any]] = {
    ("asyncpg", "server_settings"): lambda ours, given: {**ours, **given},
    ("psycopg", "options"): lambda ours, given: f"{ours} {given}",
}


def merged(driver: str, ours: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the arguments that settings stand for with those that are given for the driver, which win.

    Raises:
        ConfigurationError: One of them is not to be given.
    """
    require_free(driver, "connect_args", given)
    both = {
        name: join(ours[name], given[name])
        for (of, name), join in _JOINED.items()
        if of == driver and name in ours and name in given
    }
    return {**ours, **given, **both}


def require_free(driver: str, source: str, names: Iterable[str]) -> None:
    """Refuse what Querywright decides.

    Args:
        driver: The module of the driver.
        source: Where the names stand.
        names: The names of arguments.

    Raises:
        ConfigurationError: One of them is not to be given.
    """
    if refused := sorted(_OURS[driver].intersection(names)):
        message = f"{source} may not have {' or '.join(map(repr, refused))}: Querywright decides it for {driver}."
        raise ConfigurationError(message, hint=_OWN_ENGINE)


def require_known(dialect: Dialect, url: URL, given: Mapping[str, Any]) -> None:
    """Refuse what the driver would refuse with its first connection.

    Raises:
        ConfigurationError: It does not take an argument of that name.
    """
    _, arguments = dialect.create_connect_args(url)
    known = _KNOWN[dialect.driver]()
    for source, names in (("The URL's query", set(arguments) & set(url.query)), ("connect_args", set(given))):
        # What begins so is about TLS, and read elsewhere.
        unknown = sorted(name for name in names - known if not name.startswith("ssl"))
        if unknown:
            raise _unknown(source, unknown[0], dialect.driver, known)


def _unknown(source: str, name: str, driver: str, known: Collection[str]) -> ConfigurationError:
    message = f"{source} has {name!r}, which {driver} does not take."
    if name in DatabaseSettings.model_fields:
        return ConfigurationError(message, hint=f"It is a setting: give it to the database as {name}=.")
    close = difflib.get_close_matches(name, known, 1)
    return ConfigurationError(
        message, hint=f"Did you mean {close[0]!r}?" if close else f"It takes {', '.join(sorted(known))}."
    )


def _parameters(module: str, name: str) -> set[str]:
    return set(inspect.signature(getattr(importlib.import_module(module), name)).parameters)


def _asyncpg() -> set[str]:
    # Those of SQLAlchemy's adapter.
    adapters = {"prepared_statement_cache_size", "prepared_statement_name_func", "async_fallback"}
    return _parameters("asyncpg", "connect") | adapters


def _psycopg() -> set[str]:
    psycopg = importlib.import_module("psycopg")
    return {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()} | _parameters(
        "psycopg", "connect"
    )


def _sqlite() -> set[str]:
    """Take what `sqlite3.connect` takes; the rest of a URL's query goes into the name of the file."""
    names = {"timeout", "detect_types", "isolation_level", "check_same_thread", "factory", "cached_statements", "uri"}
    return names | ({"autocommit"} if hasattr(sqlite3, "LEGACY_TRANSACTION_CONTROL") else set())


def _pymysql() -> set[str]:
    return _parameters("pymysql", "Connection")


def _aiomysql() -> set[str]:
    return _parameters("aiomysql", "connect")


_KNOWN: dict[str, Callable[[], set[str]]] = {
    "asyncpg": _asyncpg,
    "psycopg": _psycopg,
    "psycopg_async": _psycopg,
    "pysqlite": _sqlite,
    "aiosqlite": _sqlite,
    "pymysql": _pymysql,
    "aiomysql": _aiomysql,
}
