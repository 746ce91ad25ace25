"""How a transaction runs: its isolation level, whether it writes, how long it may take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from querywright.engine.databases.backend import Backend
from querywright.errors import ConfigurationError

__all__ = ["Isolation", "TransactionOptions"]

Isolation = Literal["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]


@dataclass(frozen=True)
class TransactionOptions:
    """How a transaction runs.

    Attributes:
        isolation: The isolation level; ``None`` leaves it to the database. SQLite's transactions are always
            serializable, so every level is kept there.
        read_only: Let the database refuse every write.
        deferrable: Wait for a moment from which on this transaction cannot be part of a serialization failure; only
            for ``SERIALIZABLE`` and read-only, the only ones that it has an effect on.
        timeout: Seconds after which the database ends the transaction, or each statement of it (PostgreSQL before 17).

    Raises:
        ConfigurationError: A value is unknown, or two contradict each other.
    """

    isolation: Isolation | None = None
    read_only: bool = False
    deferrable: bool = False
    timeout: float | None = None

    def __post_init__(self) -> None:
        if self.isolation is not None and self.isolation not in get_args(Isolation):
            hint = f"Write {', '.join(get_args(Isolation))}."
            raise ConfigurationError(f"{self.isolation!r} is not a valid isolation level.", hint=hint)
        if self.deferrable and not (self.isolation == "SERIALIZABLE" and self.read_only):
            message = "deferrable=True has no effect on this transaction."
            raise ConfigurationError(message, hint="Add isolation='SERIALIZABLE' and read_only=True.")
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            raise ConfigurationError(f"A transaction cannot take {self.timeout} seconds.", hint="Give more than 0.")

    def execution_options(self, backend: Backend) -> Mapping[str, Any]:
        """Write them as execution options of SQLAlchemy."""
        options = dict(backend.read_only) if self.read_only else {}
        if self.isolation is not None and backend.isolation is not None:
            options[backend.isolation] = self.isolation
        return options | dict(backend.deferrable) if self.deferrable else options
