"""Arguments for the driver, of the URL or of ``connect_args``: merged with ours, and refused before a connection is."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import URL, Dialect
from sqlalchemy.exc import ArgumentError

from querywright.engine.drivers.driver import Driver
from querywright.engine.drivers.lookup import Registered, driver_for, unreadable
from querywright.engine.drivers.reading import Reader
from querywright.engine.tls import without_tls
from querywright.errors import ConfigurationError
from querywright.settings import DatabaseSettings

__all__ = ["merged", "require_known"]

_URL, _GIVEN = "The database URL", "connect_args"
_ONCE = "given once"
_LAST_PORT = 65535
_PORT = f"a number from 1 to {_LAST_PORT}"
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
        ConfigurationError: One of them is not to be given, or has a value that the driver would refuse.
    """
    knowledge = driver.load()
    for source, names in (("The URL's query", url.query), ("connect_args", given)):
        if refused := sorted(knowledge.decided.intersection(names)):
            message = f"{source} may not have {' or '.join(map(repr, refused))}: Querywright decides it for"
            raise ConfigurationError(f"{message} {driver.package}.", hint=_OWN_ENGINE)
    read = _read(driver, without_tls(url))
    _require_values(knowledge, _GIVEN, given)
    found = dict(ours)
    for name in url.query.keys() & ours.keys():
        join = knowledge.joined.get(name) if isinstance(ours[name], str) else None
        if join is None:
            del found[name]
        else:
            found[name] = join(ours[name], url.query[name])
    both = found.keys() & given.keys() & knowledge.joined.keys()
    joined = {name: knowledge.joined[name](found[name], given[name]) for name in both}
    return {**read, **found, **given, **joined}


def _read(driver: Registered, url: URL) -> dict[str, Any]:
    """Read what SQLAlchemy leaves a text, and the driver takes as something else.

    Raises:
        ConfigurationError: It is none, or any argument has a value that the driver would refuse.
    """
    knowledge, readers = driver.load(), driver.readers()
    arguments = _arguments(url, readers)
    read: dict[str, Any] = {}
    for name in url.query.keys() & readers.keys() & knowledge.known_arguments():
        if not isinstance(arguments.get(name), str):
            continue
        try:
            read[name] = readers[name].read(arguments[name])
        except ValueError:
            raise _wrong(_URL, name, readers[name].wanted) from None
    _require_values(knowledge, _URL, {**arguments, **read})
    return read


def _arguments(url: URL, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """Return what SQLAlchemy makes of a URL, or refuse it: its own errors name no argument, or repeat a value."""
    dialect = url.get_dialect()()
    try:
        positional, arguments = dialect.create_connect_args(url)
    except (ArgumentError, TypeError, ValueError):
        wrong = next((name for name in url.query if not _is_readable(dialect, url, name)), "host")
        if wrong == "host":
            message = "The hosts and ports of the database URL do not go together."
            raise ConfigurationError(message, hint="Write host=h1:p1&host=h2:p2 behind its question mark.") from None
        wanted = _ONCE if isinstance(url.query[wrong], tuple) else _wanted(wrong, readers)
        raise _wrong(_URL, wrong, wanted) from None
    if repeated := [name for name, value in arguments.items() if isinstance(value, tuple)]:
        raise _wrong(_URL, repeated[0], _ONCE)
    return {**dict(zip(("database",), positional, strict=False)), **arguments}


def _wanted(name: str, readers: Mapping[str, Reader]) -> str:
    # What SQLAlchemy reads is nothing else.
    return _PORT if name == "port" else readers[name].wanted if name in readers else "a number, or true or false"


def _is_readable(dialect: Dialect, url: URL, name: str) -> bool:
    try:
        dialect.create_connect_args(url.set(query={name: url.query[name]}))
    except (ArgumentError, TypeError, ValueError):
        return False
    return True


def _require_values(driver: Driver, source: str, arguments: Mapping[str, Any]) -> None:
    for name, value in arguments.items():
        if isinstance(value, str) and "\0" in value:
            raise _wrong(source, name, "without a NUL")
        if value is not None and (wanted := driver.wanted(name, value)):
            raise _wrong(source, name, wanted)
    if not all(map(_is_port, _listed(arguments.get("port")))):
        raise _wrong(source, "port", _PORT)


def _listed(ports: Any) -> Collection[Any]:
    return ports if isinstance(ports, (list, tuple)) else str("" if ports is None else ports).split(",")


def _is_port(written: Any) -> bool:
    # An empty one is the default.
    text = str(written).strip()
    return not text or (text.isdecimal() and 0 < int(text) <= _LAST_PORT)


def _wrong(source: str, name: str, wanted: str) -> ConfigurationError:
    return ConfigurationError(f"{source} has a wrong {name!r}.", hint=f"It has to be {wanted}.")


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
        if any("@" in str(url.query.get(name)) for name in unknown):
            # The end of a password that has a question mark as well.
            raise unreadable()
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
