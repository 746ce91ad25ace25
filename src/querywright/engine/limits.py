"""How long a call of a driver may take when nothing comes back, not even an error."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import Self

from querywright.settings import DatabaseSettings

__all__ = ["Limits"]

# For COMMIT and its like where statements have no limit: it may have to wait for a standby or deferred constraints.
_COMMAND = 30.0


@dataclass(frozen=True)
class Limits:
    """The bounds of a connection's calls, in seconds.

    A server that is there ends a statement by itself, at its ``statement_timeout``. These limits are behind that one,
    for the network that swallows packets: TCP keeps silent about it for minutes, and its keepalives are answered
    by the proxy in between.

    Attributes:
        connect: To open a connection, to test one, to cancel a statement and to close.
        statement: For a statement; ``None`` means no limit.
    """

    connect: float
    statement: float | None

    @classmethod
    def of(cls, settings: DatabaseSettings) -> Self:
        """Derive the limits from settings.

        Example:
            >>> Limits.of(DatabaseSettings(url="sqlite://", statement_timeout=30, connect_timeout=5)).statement
            35.0
        """
        connect, statement = settings.connect_timeout, settings.statement_timeout
        return cls(connect, statement + connect if statement else None)

    @property
    def command(self) -> float:
        """For BEGIN, COMMIT and ROLLBACK, which never go without a limit."""
        return self.statement or _COMMAND + self.connect
