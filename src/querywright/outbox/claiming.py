"""Claim messages and settle what became of them, in a transaction that the caller has begun.

A claim is a lease, not a row lock: ``due_at`` says until when, ``claim`` by whom. A row lock would end with its relay,
which is simple, but it needs a transaction that stays open for as long as a broker takes to answer: one connection for
each message in flight, a horizon that keeps VACUUM from cleaning, and on SQLite nobody else could write. With a lease
the transactions are short. Its price is that the messages of a killed relay wait for the end of the lease, and that a
relay which stood still for longer than a lease may publish a message again; it cannot settle it, as the token has
changed.

What may be claimed is found by state. To read on from the last position seen would lose messages: positions are drawn
before the commit, so a lower one can appear after a higher one. Of each key only the first pending message may be
claimed, so a later one waits until the earlier one was published or became a dead letter.

Of a message whose lease has ended nobody knows whether it was the one that its relay died of. So it is suspected, and
published alone: nothing else is in flight in that relay meanwhile. An attempt among others is counted when its end is
written down, one alone before it is made. If its relay dies again, that was its own fault, and so was the first time.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sqlalchemy import ColumnElement, Executable, Row, Table, delete, or_, select, tuple_, update
from sqlalchemy.orm import Session

from querywright.outbox.delivery import Change, Claim, Event, RelayOptions, Settlement, burial
from querywright.outbox.messages import PENDING, PUBLISHED, message_from

__all__ = ["Claimed", "claim", "purge", "settle"]

# The error of a message whose relay ended without a word each time, while it published nothing but this message; and,
# as long as a claim stands, what is to be said of it if nobody says anything else.
LEASE_EXPIRED = "LeaseExpired"
# The same for the first attempt alone: the one before, among others, is not yet counted.
_SUSPECTED = "Suspected"

# Suspected messages and others take turns, so that neither waits for the end of the other.
Turn = Literal["busy", "others", "suspected"]

# So many pending messages are looked at by one claim.
LOOKED_AT = 500
_PURGED_AT_ONCE = 1000


@dataclass(frozen=True)
class Claimed:
    """What a relay got.

    Attributes:
        claims: The messages to publish.
        events: What to tell once the transaction is committed.
        more: Whether there may be more to claim, behind many messages of the same keys or one that was given up.
        suspected: Whether nothing else may be published until the end of this one.
    """

    claims: list[Claim] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    more: bool = False
    suspected: bool = False


@dataclass(frozen=True)
class Due:
    """A message that may be claimed.

    Attributes:
        position: Where it stands.
        attempts: How many have been counted.
        suspected: Whether its last relay has died.
    """

    position: int
    attempts: int = 0
    suspected: bool = False


def claim(
    session: Session, table: Table, limit: int, *, now: dt.datetime, options: RelayOptions, turn: Turn = "others"
) -> Claimed:
    """Claim messages that are due, oldest first, and none that another relay holds.

    Args:
        session: In a transaction.
        table: The outbox.
        limit: How many at most.
        now: The time.
        options: The lease, and how many attempts there are.
        turn: Whose turn it is in this relay; ``busy`` if something is in flight.
    """
    looked_at = session.execute(_oldest(table, now, max(limit, LOOKED_AT))).all()
    firsts = set(first_of_each_key((row.position, row.key) for row in looked_at))
    due = [Due(row.position, row.attempts, suspected=row.claim is not None) for row in looked_at]
    chosen = choose([each for each in due if each.position in firsts], turn)[:limit]
    rows = session.execute(_lock(table, now, chosen)).all() if chosen else []
    if not rows:
        return Claimed()
    token, suspected = uuid.uuid4(), rows[0].claim is not None
    alone = suspected or options.concurrency == 1
    kept = {"attempts": _attempt(rows[0]), "error": _if_it_dies(rows[0])} if alone else {"error": None}
    session.execute(
        update(table)
        .where(table.c.position.in_([row.position for row in rows]))
        .values(claim=token, due_at=now + dt.timedelta(seconds=options.lease), **kept)
    )
    claims = [Claim(row.position, token, message_from(row, _attempt(row))) for row in rows]
    if suspected and claims[0].message.attempts > options.max_attempts:
        return Claimed(events=settle(session, table, [burial(claims[0], LEASE_EXPIRED, now)]), more=True)
    return Claimed(claims, more=len(chosen) < limit and len(looked_at) >= LOOKED_AT, suspected=suspected)


def choose(due: Sequence[Due], turn: Turn) -> list[int]:
    """Choose messages to publish at once, or one that is suspected: of these the one with the fewest attempts.

    Example:
        >>> due = [Due(1, attempts=2, suspected=True), Due(2, attempts=0, suspected=True), Due(3), Due(4)]
        >>> choose(due, "others"), choose(due, "suspected"), choose(due, "busy"), choose(due[2:], "busy")
        ([3, 4], [2], [], [3, 4])
    """
    others = [each.position for each in due if not each.suspected]
    suspected = [each for each in due if each.suspected]
    if not suspected or (others and turn == "others"):
        return others
    return [] if turn == "busy" else [min(suspected, key=lambda each: each.attempts).position]


def _attempt(row: Row[Any]) -> int:
    """Number the attempt that begins now; of the ones before, those among others have not been counted."""
    convicted = row.claim is not None and row.error == _SUSPECTED
    return int(row.attempts) + (2 if convicted else 1)


def _if_it_dies(row: Row[Any]) -> str:
    """Return what an attempt alone has ended with if its relay does not live to tell."""
    among_others = row.claim is not None and row.error not in {_SUSPECTED, LEASE_EXPIRED}
    return _SUSPECTED if among_others else LEASE_EXPIRED


def first_of_each_key(rows: Iterable[tuple[int, str | None]]) -> list[int]:
    """Pick the positions that nothing stands before; a message without a key stands alone.

    Example:
        >>> first_of_each_key([(1, "a"), (2, None), (3, "a"), (4, "b"), (5, None)])
        [1, 2, 4, 5]
    """
    seen: set[str] = set()
    firsts = []
    for position, key in rows:
        if key is None or key not in seen:
            firsts.append(position)
        if key is not None:
            seen.add(key)
    return firsts


def _oldest(table: Table, now: dt.datetime, limit: int) -> Executable:
    """Select the oldest messages that are due, without the keys that wait for a lease or a retry.

    What is left of a key begins with its first message, for only first messages are ever claimed.

    To ask of each message whether an earlier one has its key would be shorter. But an outbox was empty whenever
    PostgreSQL last looked, so it expects to find one row, and joins the messages behind a stuck key in all their
    pairs. The subquery here is read once into a hash table, whatever is expected of it.
    """
    held = table.alias("held")
    keys = select(held.c.key).where(held.c.state == PENDING, held.c.due_at > now, held.c.key.is_not(None))
    return (
        select(table.c.position, table.c.key, table.c.claim, table.c.attempts)
        .where(*_is_due(table, now), or_(table.c.key.is_(None), table.c.key.not_in(keys)))
        .order_by(table.c.position)
        .limit(limit)
    )


def _lock(table: Table, now: dt.datetime, positions: Sequence[int]) -> Executable:
    """Lock messages that are still due; rows that another relay is claiming are left out.

    On SQLite nothing is locked: its transaction is the only one that writes.
    """
    still_due = select(table).where(table.c.position.in_(positions), *_is_due(table, now))
    return still_due.order_by(table.c.position).with_for_update(skip_locked=True)


def _is_due(table: Table, now: dt.datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return table.c.state == PENDING, or_(table.c.due_at.is_(None), table.c.due_at <= now)


def settle(session: Session, table: Table, settlements: Iterable[Settlement]) -> list[Event]:
    """Write down what became of messages, except those that another relay has taken over.

    Returns:
        What to tell of it, once the transaction is committed.
    """
    alike: defaultdict[Change | None, list[Settlement]] = defaultdict(list)
    for settlement in settlements:
        alike[settlement.change].append(settlement)
    told: list[Event] = []
    for change, group in alike.items():
        settled = _apply(session, table, change, [settlement.claim for settlement in group])
        told += [s.event for s in group if s.event is not None and s.claim.position in settled]
    return told


def _apply(session: Session, table: Table, change: Change | None, claims: Sequence[Claim]) -> set[int]:
    """Change or delete the messages whose claims still stand; return their positions."""
    held = tuple_(table.c.position, table.c.claim).in_([(claim.position, claim.token) for claim in claims])
    statement = delete(table).where(held) if change is None else update(table).where(held).values(**asdict(change))
    return set(session.scalars(statement.returning(table.c.position)))


def purge(session: Session, table: Table, before: dt.datetime) -> None:
    """Delete some of what was published before a time; the oldest first, so that each call is short."""
    oldest = select(table.c.position, table.c.settled_at).where(table.c.state == PUBLISHED)
    oldest = oldest.order_by(table.c.position).limit(_PURGED_AT_ONCE).with_for_update(skip_locked=True)
    positions = [row.position for row in session.execute(oldest) if row.settled_at <= before]
    if positions:
        session.execute(delete(table).where(table.c.position.in_(positions)))
