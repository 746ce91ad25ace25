"""A relay in a process of its own: one that hangs while it publishes, that a message kills, or that shares the work."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import sys

from sqlalchemy import MetaData

from querywright import AsyncDatabase, Database
from querywright.outbox import Message, Outbox, Relay, RelayOptions


async def main(kind: str, url: str, log: str) -> None:
    """Relay what is in the outbox at ``url``, and append a line to ``log`` for each message."""
    # Lines this short are appended whole, whichever process writes them (write(2)).
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def publish(message: Message) -> None:
        if message.payload == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(file, f"{message.id} {message.key} {message.payload}\n".encode())
        if kind == "hang":
            sys.stdout.write("publishing\n")
            sys.stdout.flush()
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    options = RelayOptions(concurrency=1 if kind == "hang" else 4, max_attempts=5)
    ahead = dt.timedelta(seconds=float(sys.argv[5]))
    db = Database(url) if sys.argv[4] == "sync" else AsyncDatabase(url)
    clock = (lambda _: dt.datetime.now(dt.timezone.utc) + ahead) if ahead else None
    relay = Relay(Outbox(MetaData()), db, publish, options, clock=clock)
    if kind == "share":
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
    await relay.drain()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
