"""Create and fill the blog's database if need be, and serve it on http://127.0.0.1."""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import uvicorn

from examples.blog.app import create_app
from examples.blog.seed import Size, is_empty, seed
from querywright import AsyncDatabase, QuerywrightError
from querywright.events import StatementExecuted, subscribe
from querywright.testing import EmbeddedPostgres

DATA = Path(".data")
HOST = "127.0.0.1"
_log = logging.getLogger("blog")


def main() -> None:
    """Serve the blog until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="examples.blog", description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--postgres", action="store_true", help="use an embedded PostgreSQL instead of SQLite")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    DATA.mkdir(exist_ok=True)
    # uvicorn has shut down in good order by the time it passes Ctrl-C on.
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        try:
            # First of all: a port that is taken should not show after half a minute of work.
            bound = stack.enter_context(closing(_bind(arguments.port)))
            url = _postgres(stack) if arguments.postgres else f"sqlite+aiosqlite:///{DATA}/blog.db"
            asyncio.run(_serve(url, bound))
        except (_PortTaken, QuerywrightError) as error:
            parser.exit(1, f"{error}\n")


class _PortTaken(Exception):
    """Something else listens on the port."""


def _bind(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        message = f"Port {port} cannot be used: {error.strerror}. Choose another: make run PORT={port + 1}"
        raise _PortTaken(message) from error
    return bound


def _postgres(stack: ExitStack) -> str:
    server = EmbeddedPostgres(DATA / "postgres")
    _log.info("Starting PostgreSQL in %s.", DATA / "postgres")
    return stack.enter_context(server).url("asyncpg")


class _Server(uvicorn.Server):
    """Says that it is open once it is."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            address = "http://{}:{}".format(*sockets[0].getsockname())
            _log.info(
                "Open %s/docs or try: curl -s '%s/users?limit=2'\n"
                "Each line that begins with 'statement' is one statement sent to the database.",
                address,
                address,
            )


async def _serve(url: str, bound: socket.socket) -> None:
    db = AsyncDatabase(url)
    await _fill(db)
    subscribe(StatementExecuted, _log_statement)
    await _Server(uvicorn.Config(create_app(db), log_level="info")).serve([bound])


async def _fill(db: AsyncDatabase) -> None:
    """Say what is done before it is done: on a slow machine it takes a minute."""
    where = db.engine.url.render_as_string()
    if await is_empty(db):
        _log.info("Filling %s with %d comments; this is done once and takes some seconds.", where, Size().comments)
        started = time.perf_counter()
        await seed(db)
        _log.info("Filled it in %.1f s.", time.perf_counter() - started)
    else:
        _log.info("Using %s as it is; delete %s to begin anew.", where, DATA)


def _log_statement(event: StatementExecuted) -> None:
    sql = " ".join(event.sql.split())
    _log.info("statement %.1f ms: %.150s%s", event.seconds * 1000, sql, "…" if len(sql) > 150 else "")  # noqa: PLR2004


if __name__ == "__main__":
    main()
