"""Send a COMMIT, and say truly what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from querywright.engine.databases.lookup import backend_of
from querywright.engine.pool.health import is_closed
from querywright.engine.statements.transactions import require_sound
from querywright.errors import CommitOutcomeUnknown
from querywright.session.transactions.hooks import Hooks
from querywright.session.transactions.outcome import Outcome, find_outcome, is_answer, take_receipt

__all__ = ["commit_on"]


def commit_on(begun: Sequence[Connection], commit: Callable[[], None], hooks: Hooks, *, find_out: bool) -> None:
    """Commit what has begun on some connections.

    Args:
        begun: The connections.
        commit: Sends the COMMIT, and nothing else.
        hooks: What is to be called; if nobody knows what became of the COMMIT, nothing is.
        find_out: Whether to be able to find that out, for one more round trip.

    Raises:
        TransactionLost: There is nothing to commit.
        CommitOutcomeUnknown: The COMMIT got no answer, and nobody knows what became of it.
        BaseException: It was interrupted, and nobody knows either.
    """
    for each in begun:
        require_sound(each)
    receipt = take_receipt(begun[0]) if find_out and len(begun) == 1 else None
    sent = bool(begun) and not any(is_closed(each) for each in begun)
    try:
        commit()
    except BaseException as error:
        if sent and not isinstance(error, Exception):
            # Ctrl-C, a signal or a cancellation: whoever has to leave is not kept waiting for an answer.
            hooks.commit_unseen(took_effect=False)
            raise
        backend = backend_of(begun[0].dialect) if sent else None
        # What became of the COMMIT of a transaction that cannot have written does not matter.
        if backend is None or backend.only_reads(begun[0]) or is_answer(error, backend.name):
            raise
        outcome = find_outcome(begun[0].engine, receipt)
        if outcome is Outcome.ABORTED:
            raise
        hooks.commit_unseen(took_effect=outcome is Outcome.COMMITTED)
        if outcome is Outcome.UNKNOWN:
            raise CommitOutcomeUnknown from error
