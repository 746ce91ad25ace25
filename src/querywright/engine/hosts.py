"""Where a URL leads: to this machine and the names of its own network, or out to others."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Sequence

from sqlalchemy import URL

__all__ = ["is_local", "leads_outside"]

# Parameters that name hosts in a place that is not looked into.
_ELSEWHERE = frozenset({"conninfo", "dsn", "read_default_file", "read_default_group", "service"})


def leads_outside(url: URL, environment: Mapping[str, str]) -> bool:
    """Return whether a URL leads to a host that is not local, or to one that cannot be told.

    Args:
        url: The database URL, of a server.
        environment: Where libpq and asyncpg look for what the URL does not say.

    Example:
        >>> from sqlalchemy import make_url
        >>> [leads_outside(make_url(f"postgresql+asyncpg://{host}/app"), {}) for host in ("db", "db.example.com")]
        [False, True]
    """
    if url.query.keys() & _ELSEWHERE:
        return True
    hosts = _listed(url.query.get("host")) or _listed(url.host)
    if url.drivername.startswith("postgresql"):
        if not hosts and "PGSERVICE" in environment:
            return True
        hosts = hosts or _listed(environment.get("PGHOST"))
        hosts += _listed(url.query.get("hostaddr") or environment.get("PGHOSTADDR"))
    return not all(map(is_local, hosts))


def is_local(host: str) -> bool:
    """Return whether a host is loopback, a Unix socket, or a name without a dot, as Compose and Kubernetes give them.

    Example:
        >>> is_local("127.0.0.1"), is_local("10.0.0.7")
        (True, False)
    """
    name = host.strip().strip("[]").lower().removesuffix(".")
    if not name or name.startswith(("/", "@")):
        return True
    address = _address(name)
    if address is None and name.count(":") == 1:
        name = name.partition(":")[0]
        address = _address(name)
    if address is not None:
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback
    return not any(character in name for character in ".:")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an address, also in the forms that resolvers take: 134744072 has no dot, and is 8.8.8.8 (inet(3))."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        pass
    try:
        return ipaddress.ip_address(socket.inet_aton(name))
    except OSError:
        return None


def _listed(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """List the hosts of a parameter, which may be given several times, and name several with commas."""
    given = [value] if isinstance(value, str) else value or []
    return tuple(host for each in given if each for host in each.split(","))
