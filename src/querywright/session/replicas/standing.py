"""Where in the history of a PostgreSQL cluster a server stands: its timeline, and how far it has come on it.

A promoted standby begins a new timeline. Positions of two timelines cannot be compared: a replica that was left on the
old one may be further in bytes, and has nothing of what was written on the new one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import Engine, text
from typing_extensions import Self

from querywright.engine.databases.lookup import backend_of
from querywright.errors import InvalidRequest

__all__ = ["Position", "foreign", "position_of", "replayed_by"]

# Of the WAL that is written, flushed or not: a COMMIT with synchronous_commit=off is answered before it is flushed. The
# name of its file begins with the timeline, which the control file has only after the next checkpoint.
_POSITION = text(
    "SELECT left(pg_walfile_name(written), 8), CAST(written AS text),"
    " CAST(current_setting('wal_block_size') AS integer) FROM pg_current_wal_insert_lsn() written"
)
# The headers of a page, and of the first one of a file: where one ends, a record would begin that is not written yet.
_HEADERS = (24, 40)
# Who streams is told the timeline of what comes, if its role may see it; otherwise the control file learns of it later.
# A server never streams from a timeline that forked off before what it has replayed.
_REPLAYED = text("""
SELECT pg_is_in_recovery(), CAST(pg_last_wal_replay_lsn() AS text), to_hex(greatest(
  (SELECT timeline_id FROM pg_control_checkpoint()), (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
  (SELECT received_tli FROM pg_stat_wal_receiver)
))""")
# There is no timeline 0.
_WRITTEN = re.compile(r"(?!0{8})[0-9A-F]{24}")


@dataclass(frozen=True)
class Position:
    """A place in the history of a cluster.

    Attributes:
        timeline: The number of its timeline.
        offset: The bytes of WAL up to there.
    """

    timeline: int
    offset: int

    @classmethod
    def read(cls, written: str) -> Self:
        """Read what a client brings along.

        Raises:
            InvalidRequest: It is no position.
        """
        if not _WRITTEN.fullmatch(written):
            raise foreign()
        return cls(int(written[:8], 16), int(written[8:], 16))

    @classmethod
    def of(cls, timeline: str, offset: str) -> Self:
        """Read what PostgreSQL writes: hexadecimal numbers, the offset in two parts."""
        high, low = offset.split("/")
        return cls(int(timeline, 16), int(high, 16) << 32 | int(low, 16))

    def __str__(self) -> str:
        """Write it for a client, in letters that a cookie or a header takes."""
        return f"{self.timeline:08X}{self.offset:016X}"

    def includes(self, other: Position) -> bool:
        """Return whether who stands here is known to have all up to another position."""
        return self.timeline == other.timeline and self.offset >= other.offset

    def knows(self, other: Position) -> bool:
        """Return whether a primary that stands here may have given out another position, perhaps before it was one."""
        return self.timeline > other.timeline or self.includes(other)


def foreign() -> InvalidRequest:
    """Make the error of a position that no primary has given out."""
    return InvalidRequest("This is not a valid position.")


def position_of(primary: Engine) -> Position:
    """Ask how far a primary has come."""
    with primary.connect() as connection:
        connection.execution_options(**backend_of(primary.dialect).autocommit)
        timeline, written, block = connection.execute(_POSITION).one()
        position = Position.of(timeline, written)
        header = position.offset % block
        return Position(position.timeline, position.offset - header) if header in _HEADERS else position


def replayed_by(replica: Engine) -> Position | None:
    """Ask how far a replica has come; ``None`` if it is none."""
    with replica.connect() as connection:
        connection.execution_options(**backend_of(replica.dialect).autocommit)
        is_replica, offset, timeline = connection.execute(_REPLAYED).one()
        return Position.of(timeline, offset or "0/0") if is_replica else None
