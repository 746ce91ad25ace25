"""Which drivers there are, and what each needs: found by a URL, by a dialect, or by an error."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from dataclasses import dataclass

from sqlalchemy import URL, Dialect, make_url
from sqlalchemy.exc import ArgumentError

from querywright.engine.drivers.driver import Driver
from querywright.engine.drivers.reading import NUMBER, SWITCH, WHOLE, WHOLE_OR_NONE, Reader
from querywright.errors import ConfigurationError, MissingExtra

__all__ = ["PACKAGES", "Registered", "driver_for", "driver_of_error", "parse_url", "registered", "unreadable"]


@dataclass(frozen=True)
class Registered:
    """One supported driver; the module of its name beside this one has what is known of it.

    Attributes:
        name: Drivername of the URL.
        package: The package that must be importable.
        extra: The extra of Querywright that installs it; empty for the standard library.
        sync: Whether `Database` can use it.
        asynchronous: Whether `AsyncDatabase` can use it.
    """

    name: str
    package: str
    extra: str
    sync: bool = False
    asynchronous: bool = False

    @property
    def database(self) -> str:
        """The database family: ``postgresql``, ``sqlite``, ``mysql`` or ``mariadb``."""
        return self.name.partition("+")[0]

    def load(self, *, asynchronous: bool | None = None) -> Driver:
        """Import what is known of the driver.

        Args:
            asynchronous: Of which kind; ``None`` means the one that there is, or the synchronous one.
        """
        module = importlib.import_module(f"querywright.engine.drivers.{self.name.partition('+')[2]}")
        driver: Driver = module.SYNC if (self.sync if asynchronous is None else not asynchronous) else module.ASYNC
        return driver

    def readers(self) -> dict[str, Reader]:
        """Find how the arguments for connecting are read that are no texts."""
        connect = importlib.import_module(self.package).connect
        try:
            parameters = [*inspect.signature(connect).parameters.values()]
        except ValueError:
            # That of sqlite3 is not known to Python 3.10; SQLAlchemy reads its arguments.
            parameters = []
        by_default = {each.name: found for each in parameters if (found := _reader_of(each))}
        return {**by_default, **self.load().readers}


def _reader_of(parameter: inspect.Parameter) -> Reader | None:
    kind = type(parameter.default)
    if kind is int and re.search("None|Optional", str(parameter.annotation)):
        return WHOLE_OR_NONE
    return {bool: SWITCH, int: WHOLE, float: NUMBER}.get(kind)


_DRIVERS = {
    driver.name: driver
    for driver in (
        Registered("postgresql+asyncpg", "asyncpg", "postgres", asynchronous=True),
        Registered("postgresql+psycopg", "psycopg", "psycopg", sync=True, asynchronous=True),
        Registered("postgresql+psycopg2", "psycopg2", "psycopg2", sync=True),
        Registered("sqlite+aiosqlite", "aiosqlite", "sqlite", asynchronous=True),
        Registered("sqlite+pysqlite", "sqlite3", "", sync=True),
        *(Registered(f"{name}+aiomysql", "aiomysql", "mysql", asynchronous=True) for name in ("mysql", "mariadb")),
        *(Registered(f"{name}+pymysql", "pymysql", "mysql", sync=True) for name in ("mysql", "mariadb")),
    )
}
PACKAGES = frozenset(driver.package for driver in _DRIVERS.values())
_BY_PACKAGE = {driver.package: driver for driver in _DRIVERS.values()}
# Where SQLAlchemy takes the user and the password to end.
_USER = re.compile(r"[^:]*://(?:[^:/]*(?::[^@]*)?@)?")


# One of which nothing is known: SQLAlchemy does what is to be done.
_UNKNOWN = Driver()
# By the database, the name that its dialect has for the driver, and whether that is asynchronous.
_loaded: dict[tuple[str, str, bool], Driver] = {}


def driver_for(dialect: Dialect) -> Driver:
    """Return what is known of the driver of a dialect."""
    # Asked several times for each statement.
    known = _loaded.get((dialect.name, dialect.driver, dialect.is_async))
    return _load(dialect) if known is None else known


def _load(dialect: Dialect) -> Driver:
    # SQLAlchemy's own name of an asynchronous psycopg, in a URL.
    name = f"{dialect.name}+{dialect.driver.removesuffix('_async')}"
    found = _DRIVERS.get(name)
    driver = _UNKNOWN if found is None else found.load(asynchronous=dialect.is_async)
    _loaded[dialect.name, dialect.driver, dialect.is_async] = driver
    return driver


def driver_of_error(error: BaseException) -> Driver | None:
    """Return the driver whose package an error is of; ``None`` if it is of none."""
    found = _BY_PACKAGE.get(type(error).__module__.partition(".")[0])
    return None if found is None else found.load()


def registered(url: URL) -> Registered:
    """Look up the driver of a URL that `parse_url` accepted."""
    return _DRIVERS[url.drivername]


def parse_url(url: str | URL, *, asynchronous: bool) -> URL:
    """Check that a URL names a driver that exists, is installed, and can do what is asked.

    Args:
        url: The database URL.
        asynchronous: Whether the driver has to work under asyncio.

    Raises:
        ConfigurationError: The URL cannot be read, or its driver is absent, unknown or of the other kind.
        MissingExtra: The driver's package is not installed, or lacks something.

    Example:
        >>> parse_url("sqlite+aiosqlite:///blog.db", asynchronous=True).database
        'blog.db'
    """
    parsed = _parsed(url)
    if parsed.drivername.startswith("sqlite") and (parsed.host or parsed.username or parsed.port):
        # A name behind two slashes is a host.
        hint = "Write three slashes before the name of a file, and four before a path from the root."
        raise ConfigurationError("SQLite has no server, and the database URL names one.", hint=hint)
    usable = [each.name for each in _DRIVERS.values() if (each.asynchronous if asynchronous else each.sync)]
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None or driver.name not in usable:
        raise _unusable(parsed.drivername, usable, asynchronous=asynchronous)
    if importlib.util.find_spec(driver.package) is None:
        raise MissingExtra(driver.package, driver.extra)
    try:
        importlib.import_module(driver.package)
    except ImportError as error:
        # Also one that is there without what it needs, such as psycopg without libpq.
        raise MissingExtra(driver.package, driver.extra) from error
    return parsed


def _parsed(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or _splits_password(url, parsed):
        raise unreadable()
    return parsed


def unreadable() -> ConfigurationError:
    """Return an error about a URL of which nothing may be shown: any of it may be a part of the password."""
    hint = "Write driver://user:password@host:port/name; percent-encode special characters in the password."
    return ConfigurationError("The database URL cannot be read.", hint=hint)


def _splits_password(url: str | URL, parsed: URL) -> bool:
    """Return whether what follows the user may be the end of a password that has an @, and would be shown."""
    if isinstance(url, URL) or parsed.username is None:
        return "@" in (parsed.host or "")
    path, _, query = _USER.sub("", url, 1).partition("?")
    return "@" in path or any("@" in each and "=" not in each for each in query.split("&"))


def _unusable(name: str, usable: list[str], *, asynchronous: bool) -> ConfigurationError:
    """Return an error that says why the driver cannot be used here and which ones can."""
    here, there = ("AsyncDatabase", "Database") if asynchronous else ("Database", "AsyncDatabase")
    same = [u for u in usable if u.startswith(f"{name.partition('+')[0]}+")]
    hint = f"Write {' or '.join(f'{u}://' for u in same or usable)}."
    if name in _DRIVERS:
        message = f"{here} cannot use the driver {name!r}"
        return ConfigurationError(f"{message}: it belongs to {there}.", hint=hint)
    if "+" not in name:
        return ConfigurationError(f"The database URL names no driver, only {name!r}.", hint=hint)
    return ConfigurationError(f"The driver {name!r} is not supported.", hint=hint)
