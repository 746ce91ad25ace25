"""Refuse what a statement would leave to others, where a pooler lends its connections for one transaction at a time."""

from __future__ import annotations

from weakref import WeakSet

from sqlalchemy import Dialect, Engine

from querywright.errors import ConfigurationError

__all__ = ["install_pooler", "require_nothing_left"]

_behind: WeakSet[Dialect] = WeakSet()


def install_pooler(engine: Engine) -> None:
    """Have the connections of an engine be those of a pooler: nobody can take back what they are left with."""
    _behind.add(engine.dialect)


def require_nothing_left(dialect: Dialect) -> None:
    """Refuse a statement whose effect outlasts its transaction.

    Args:
        dialect: That of its connection.

    Raises:
        ConfigurationError: The next user of the pooler would have it.
    """
    if dialect in _behind:
        message = "A statement changes the session, which behind a pooler is the next client's as well."
        hint = "Write SET LOCAL, set_config(..., true) or pg_advisory_xact_lock(), which end with the transaction."
        raise ConfigurationError(message, hint=hint)
