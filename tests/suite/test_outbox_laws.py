"""The laws of an outbox under any history: adding, claiming, failing, dying, standing still, reviving."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import MetaData, delete, select
from sqlalchemy.orm import Session

from querywright import Database
from querywright.backoff import backoff
from querywright.outbox import Outbox, RelayOptions
from querywright.outbox.claiming import claim, settle
from querywright.outbox.delivery import Claim, Outcome, settlement

Result = TypeVar("Result")
outbox = Outbox(MetaData())
OPTIONS = RelayOptions(max_attempts=3, timeout=5, lease=10, backoff_cap=20)


class History(RuleBasedStateMachine):
    """Any number of relays, of which each may fail, die or stand still while it publishes."""

    def __init__(self, db: Database) -> None:
        super().__init__()
        self.db = db
        self.now = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
        self.added: dict[str | None, list[uuid.UUID]] = {}
        self.published: set[uuid.UUID] = set()
        self.died: set[uuid.UUID] = set()
        self.held: list[tuple[dt.datetime, Claim]] = []
        self.transact(lambda tx: tx.execute(delete(outbox.table)))

    def transact(self, work: Callable[[Session], Result]) -> Result:
        with self.db.transaction() as tx:
            return work(tx)

    @rule(key=st.sampled_from([None, "a", "b"]), count=st.integers(1, 3))
    def add(self, key: str | None, count: int) -> None:
        ids = self.transact(lambda tx: [outbox.add(tx, "topic", None, key=key) for _ in range(count)])
        self.added.setdefault(key, []).extend(ids)

    @rule(limit=st.integers(1, 4))
    def claims(self, limit: int) -> None:
        claimed = self.transact(lambda tx: claim(tx, outbox.table, limit, now=self.now, options=OPTIONS))
        self.died |= {event.id for event in claimed.events}
        ends = self.now + dt.timedelta(seconds=OPTIONS.lease)
        self.held += [(ends, each) for each in claimed.claims]

    @precondition(lambda self: self.held)
    @rule(data=st.data(), result=st.sampled_from(["published", "failed", "released"]))
    def ends(self, data: st.DataObject, result: str) -> None:
        """Perhaps long after the lease has ended."""
        _, ended = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        if result == "published":
            self.publish(ended)
        outcome = Outcome(ended, result, "SomeError")
        decided = settlement(outcome, now=self.now, options=OPTIONS, random=lambda: 0.5)
        self.transact(lambda tx: settle(tx, outbox.table, [decided]))
        self.died |= set(self.transact(lambda tx: [letter.message.id for letter in outbox.dead(tx)]))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), published=st.booleans())
    def dies(self, data: st.DataObject, published: bool) -> None:  # noqa: FBT001 - drawn
        _, lost = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        if published:
            self.publish(lost)

    @rule(seconds=st.integers(1, 15))
    def time_passes(self, seconds: int) -> None:
        self.now += dt.timedelta(seconds=seconds)

    @rule()
    def revive(self) -> None:
        self.transact(lambda tx: outbox.revive(tx, *(letter.message.id for letter in outbox.dead(tx))))

    def publish(self, published: Claim) -> None:
        """No later message of a key before an earlier one was published or became a dead letter."""
        message = published.message
        if message.key is not None:
            earlier = self.added[message.key][: self.added[message.key].index(message.id)]
            assert set(earlier) <= self.published | self.died
        self.published.add(message.id)

    @invariant()
    def nobody_holds_what_another_does(self) -> None:
        standing = [each.message.id for ends, each in self.held if ends > self.now]
        assert len(standing) == len(set(standing))

    @invariant()
    def nothing_is_lost(self) -> None:
        kept = set(self.transact(lambda tx: tx.scalars(select(outbox.table.c.id)).all()))
        assert {each for ids in self.added.values() for each in ids} == kept | self.published

    def teardown(self) -> None:
        """From any state, one relay that works brings everything to its end."""
        for _ in range(sum(map(len, self.added.values())) + 1):
            self.now += dt.timedelta(seconds=30)
            self.held = []
            self.claims(100)
            for _, each in self.held:
                self.publish(each)
                done = settlement(Outcome(each, "published"), now=self.now, options=OPTIONS, random=lambda: 0)
                self.transact(lambda tx, done=done: settle(tx, outbox.table, [done]))
        left = set(self.transact(lambda tx: tx.scalars(select(outbox.table.c.id)).all()))
        assert left <= self.died
        assert {each for ids in self.added.values() for each in ids} <= self.published | self.died


@pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg")
async def test_the_laws_hold_under_any_history(db: Database) -> None:
    with db.transaction() as tx:
        outbox.table.metadata.create_all(tx.connection())
    try:
        run_state_machine_as_test(
            lambda: History(db),
            settings=settings(
                deadline=None, max_examples=40, stateful_step_count=30, suppress_health_check=list(HealthCheck)
            ),
        )
    finally:
        with db.transaction() as tx:
            outbox.table.metadata.drop_all(tx.connection())


def test_backoff_stays_finite_and_below_its_cap() -> None:
    for attempts in (1, 2, 50, 10_000):
        assert 0 <= backoff(attempts, base=1, cap=600, random=lambda: 1) <= 600
