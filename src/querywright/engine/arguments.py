"""Arguments for the driver, of the URL or of ``connect_args``: merged with ours, and refused before a connection is."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import URL, Dialect

from querywright.engine.drivers.lookup import Registered, driver_for
from querywright.errors import ConfigurationError
from querywright.settings import DatabaseSettings

__all__ = ["merged", "require_known"]

_OWN_ENGINE = (
    "To connect in another way, make an engine with SQLAlchemy's create_engine() and pass it instead of a URL."
)


def merged(driver: Registered, ours: Mapping[str, Any], url: URL, given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the arguments that settings stand for with those of the URL's query and of ``connect_args``, which win.

    Args:
        driver: The driver.
        ours: What settings stand for.
        url: The URL; SQLAlchemy reads its query, so that only what goes with ours is added here.
        given: The ``connect_args``.

    Raises:
        ConfigurationError: One of them is not to be given.
    """
    knowledge = driver.load()
    for source, names in (("The URL's query", url.query), ("connect_args", given)):
        if refused := sorted(knowledge.decided.intersection(names)):
            message = f"{source} may not have {' or '.join(map(repr, refused))}: Querywright decides it for"
            raise ConfigurationError(f"{message} {driver.package}.", hint=_OWN_ENGINE)
    found = dict(ours)
    for name in url.query.keys() & ours.keys():
        join = knowledge.joined.get(name) if isinstance(ours[name], str) else None
        if join is None:
            del found[name]
        else:
            found[name] = join(ours[name], url.query[name])
    both = found.keys() & given.keys() & knowledge.joined.keys()
    joined = {name: knowledge.joined[name](found[name], given[name]) for name in both}
    return {**found, **given, **joined}


def require_known(dialect: Dialect, url: URL, given: Mapping[str, Any]) -> None:
    """Refuse what the driver would refuse with its first connection.

    Raises:
        ConfigurationError: It does not take an argument of that name.
    """
    _, arguments = dialect.create_connect_args(url)
    known = driver_for(dialect).known_arguments()
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
