"""The relay: publish what is in an outbox, from as many processes as one likes."""

from __future__ import annotations

import asyncio
import datetime as dt
import random as standard_random
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from sqlalchemy.orm import Session

from querywright.engine.completion import until_done
from querywright.outbox.delivery import RelayOptions
from querywright.outbox.messages import Message
from querywright.outbox.ordering import clock_of
from querywright.outbox.outbox import Outbox
from querywright.outbox.worker import Bench, Worker
from querywright.session import AsyncDatabase, Database

__all__ = ["Relay"]

Result = TypeVar("Result")


class Relay:
    """Publishes the messages of an outbox: each at least once, those of a key in order.

    Several relays, in one or many processes, share the work. A relay runs under asyncio whatever the database; the
    statements of a `Database`, and a ``publish`` that is no coroutine function, run in threads.

    Args:
        outbox: Where the messages are.
        db: Its database; a relay takes one connection at a time, and none while it publishes.
        publish: Called with each `Message`; what it raises makes the attempt fail. It may be called again for a
            message that it has published, if its process or the database ended before that was written down. A
            timeout ends a coroutine, but not a thread: give the client of a broker a timeout of its own.
        options: Timeouts, attempts and the rest.
        clock: Tells the time in a session; by default the database server's.
        random: Gives a number from 0 to 1 for each wait.

    Example:
        >>> import asyncio
        >>> from sqlalchemy import MetaData
        >>> metadata = MetaData()
        >>> outbox = Outbox(metadata)
        >>> async def main():
        ...     async with AsyncDatabase("sqlite+aiosqlite:///:memory:") as db:
        ...         async with db.transaction() as tx:
        ...             await tx.run_sync(lambda session: metadata.create_all(session.connection()))
        ...             await outbox.add(tx, "orders.created", {"id": 1})
        ...         return await Relay(outbox, db, lambda message: print(message.topic, message.payload)).drain()
        >>> asyncio.run(main())
        orders.created {'id': 1}
        1
    """

    def __init__(
        self,
        outbox: Outbox,
        db: Database | AsyncDatabase,
        publish: Callable[[Message], Awaitable[object]] | Callable[[Message], object],
        options: RelayOptions | None = None,
        *,
        clock: Callable[[Session], dt.datetime] | None = None,
        random: Callable[[], float] = standard_random.random,
    ) -> None:
        self._bench = Bench(
            table=outbox.table,
            db=db,
            publish=publish,
            options=options or RelayOptions(),
            clock=clock or clock_of,
            random=random,
        )
        self._workers: set[Worker] = set()

    async def run(self, stop: asyncio.Event | None = None) -> None:
        """Publish until told to stop, whatever happens to the database.

        While the database cannot be reached, it is tried again after growing waits of at most 30 seconds.

        Args:
            stop: Once it is set, messages in flight are finished, each within its timeout, and no more are taken.
                A cancellation ends them and gives them back.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database refused for another reason, such as a missing table.
        """
        await self._supervise(lambda worker: worker.run(stop or asyncio.Event()))

    async def drain(self) -> int:
        """Publish until nothing is due; messages that wait for a retry, or for another relay, stay.

        Returns:
            How many messages were published.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database could not be reached, or refused.
        """
        return await self._supervise(Worker.drain)

    def wake(self) -> None:
        """Look for messages now rather than at the next poll; may be called from any thread."""
        for worker in tuple(self._workers):
            worker.wake()

    async def _supervise(self, work: Callable[[Worker], Coroutine[None, None, Result]]) -> Result:
        """Run a worker in a task of its own, so that a cancellation meets it between two transactions."""
        worker = Worker(self._bench)
        self._workers.add(worker)
        task = asyncio.create_task(work(worker))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            worker.abandon()
            # It needs no more than a transaction.
            await until_done(task)
            raise
        finally:
            self._workers.discard(worker)
