"""TLS: what applies to a URL, the same for every driver, and the context that a driver of Python is given.

The modes are those of libpq (https://www.postgresql.org/docs/current/libpq-ssl.html). Where none is named, a server
outside has to prove its name, and one that is local may do without TLS.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from sqlalchemy import URL
from typing_extensions import Self

from querywright.engine.hosts import leads_outside
from querywright.errors import ConfigurationError

__all__ = ["Tls", "system_authorities", "without_tls"]

# From the weakest to the strongest.
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# libpq's word for the authorities that the system trusts.
_SYSTEM = "system"

_HINT = (
    "Write sslmode=verify-full, and sslrootcert=/path/to/ca.pem where the system does not trust the server's authority;"
    f" the modes are {', '.join(_MODES)}."
)
_MODE_NAMES = ("sslmode", "ssl_mode", "ssl")
# Names of MySQL's clients, and what is written for yes and no.
_SYNONYMS = {
    "disabled": "disable",
    "preferred": "prefer",
    "required": "require",
    "verify-identity": "verify-full",
    **dict.fromkeys(("true", "1", "yes", "on"), "verify-full"),
    **dict.fromkeys(("false", "0", "no", "off"), "disable"),
}
# What SQLAlchemy and PyMySQL call it: what each of two words means.
_SWITCHES = {
    "ssl_disabled": {"verify-full": "disable"},
    "ssl_check_hostname": {"verify-full": "verify-full", "disable": "verify-ca"},
}
# By field: its names in URLs, and where libpq and asyncpg look without one.
_FILES = {
    "root": (("sslrootcert", "ssl_ca"), "PGSSLROOTCERT", "root.crt"),
    "certificate": (("sslcert", "ssl_cert"), "PGSSLCERT", "postgresql.crt"),
    "key": (("sslkey", "ssl_key"), "PGSSLKEY", "postgresql.key"),
    "password": (("sslpassword", "ssl_key_password"), "", ""),
}
_NAMES = frozenset({*_MODE_NAMES, *_SWITCHES, *(name for names, _, _ in _FILES.values() for name in names)})


@dataclass(frozen=True)
class Tls:
    """What applies to the connections of an engine.

    Attributes:
        mode: One of libpq's modes.
        root: The file of the authorities that may vouch for the server; ``None`` means those that the system trusts.
        certificate: The file of our own certificate, for servers that ask for one.
        key: The file of its key.
        password: What the key is encrypted with.
    """

    mode: str
    root: str | None = None
    certificate: str | None = None
    key: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, url: URL, environment: Mapping[str, str], home: Path | None = None, *, knows_more: bool = False
    ) -> Self:
        """Decide what applies to a URL.

        Args:
            url: The database URL, of a server.
            environment: PostgreSQL's variables, which libpq and asyncpg read as well.
            home: The folder of PostgreSQL's files, by default ``~/.postgresql``.
            knows_more: Whether the driver understands other parameters as well.

        Raises:
            ConfigurationError: A parameter is unknown, contradicts another, or names a file that is not there.

        Example:
            >>> from sqlalchemy import make_url
            >>> Tls.of(make_url("postgresql+asyncpg://user@db.example.com/app"), {}).mode
            'verify-full'
        """
        if "unix_socket" in url.query:
            return cls("disable")
        if not knows_more:
            _require_known(url)
        named = {name: _parameter(url, names) for name, (names, _, _) in _FILES.items()}
        found = _found_files(environment, home) if _is_postgresql(url) else {}
        files = {name: path or found.get(name) for name, path in named.items()}
        mode = _named_mode(url, environment)
        if mode is None:
            # Who names an authority wants the server to be looked at.
            looked_at = named["root"] or files["root"] == _SYSTEM or leads_outside(url, environment)
            mode = "verify-full" if looked_at else "prefer"
        mode, root = _settled(mode, files.pop("root"))
        for path in (root, files["certificate"]):
            if path and not Path(path).is_file():
                raise ConfigurationError(f"There is no file {path!r}, which TLS needs.", hint=_HINT)
        return cls(mode, root, **files)

    @property
    def is_required(self) -> bool:
        """Whether there is to be no connection without TLS."""
        return _at_least("require", self.mode)

    @property
    def verifies(self) -> bool:
        """Whether the server has to show a certificate of a trusted authority."""
        return _at_least("verify-ca", self.mode)

    def context(self) -> ssl.SSLContext:
        """Make a context, or give the last one again while its files are the same.

        To read the authorities of a system takes longer than to open a connection, and certificates are renewed while
        a process runs.
        """
        files = filter(None, (self.root, self.certificate, self.key))
        return _context(self, tuple(Path(name).stat().st_mtime_ns for name in files))


@lru_cache(maxsize=16)
def _context(tls: Tls, _changed: tuple[int, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.mode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if tls.verifies else ssl.CERT_NONE
    if tls.root:
        context.load_verify_locations(tls.root)
    elif tls.verifies:
        context.load_default_certs()
    if tls.certificate:
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(tls.certificate, tls.key, password=tls.password or "")
    return context


def system_authorities() -> str:
    """Find the file of the authorities that the system trusts; "system" leaves it to libpq.

    The libpq of psycopg's wheels has an OpenSSL of its own, which looks where nothing is.
    """
    paths = ssl.get_default_verify_paths()
    candidates = [paths.cafile, f"{paths.capath}/ca-certificates.crt"]
    return next((path for path in candidates if path and Path(path).is_file()), _SYSTEM)


def without_tls(url: URL) -> URL:
    """Take out of a URL what `Tls` has read."""
    return url.difference_update_query(_NAMES)


def _at_least(least: str, mode: str) -> bool:
    return _MODES.index(mode) >= _MODES.index(least)


def _is_postgresql(url: URL) -> bool:
    return url.drivername.startswith("postgresql")


def _parameter(url: URL, names: tuple[str, ...]) -> str | None:
    """Find a parameter under any of its names; of one that is repeated the last counts."""
    values = (url.query.get(name) for name in names)
    return _one(names, [value if isinstance(value, str) else value[-1] for value in values if value])


def _one(names: tuple[str, ...], values: list[str]) -> str | None:
    if len(set(values)) > 1:
        named = " and ".join(names)
        raise ConfigurationError(f"The database URL contradicts itself about TLS ({named}).", hint=_HINT)
    return values[0] if values else None


def _require_known(url: URL) -> None:
    """Refuse what would otherwise be ignored."""
    unknown = sorted(name for name in url.query if name.startswith("ssl") and name not in _NAMES)
    if unknown:
        message = f"{', '.join(unknown)} in the database URL is not understood with {url.drivername}."
        raise ConfigurationError(message, hint=_HINT)


def _named_mode(url: URL, environment: Mapping[str, str]) -> str | None:
    """Read the mode that is asked for; ``None`` if none is."""
    named = _parameter(url, _MODE_NAMES)
    modes = [_mode_of(named)] if named else []
    for switch, means in _SWITCHES.items():
        value = _parameter(url, (switch,))
        mode = means.get(_mode_of(value)) if value else None
        modes += [mode] if mode else []
    if not modes and _is_postgresql(url) and (value := environment.get("PGSSLMODE")):
        return _mode_of(value)
    return _one((*_MODE_NAMES, *_SWITCHES), modes)


def _mode_of(value: str) -> str:
    written = value.lower().replace("_", "-")
    mode = _SYNONYMS.get(written, written)
    if mode not in _MODES:
        raise ConfigurationError(f"There is no TLS mode {value!r}.", hint=_HINT)
    return mode


def _found_files(environment: Mapping[str, str], home: Path | None) -> dict[str, str]:
    """Find the files where libpq looks for those that no URL names."""
    home = Path("~/.postgresql").expanduser() if home is None else home
    found = {}
    for name, (_, variable, file) in _FILES.items():
        if path := environment.get(variable):
            found[name] = path
        elif file and (home / file).is_file():
            found[name] = str(home / file)
    return found


def _settled(mode: str, root: str | None) -> tuple[str, str | None]:
    """Make of a mode and an authority what libpq makes of them."""
    if root == _SYSTEM and mode != "verify-full":
        message = f"sslmode={mode} does not go with sslrootcert=system: everyone has some certificate."
        raise ConfigurationError(message, hint=_HINT)
    if root and mode == "require":
        mode = "verify-ca"
    if mode == "verify-ca" and not root:
        raise ConfigurationError("sslmode=verify-ca needs the file of an authority.", hint=_HINT)
    return mode, root if root != _SYSTEM and _at_least("verify-ca", mode) else None
