"""Create and fill the blog's database if need be, and serve it on http://127.0.0.1."""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import uvicorn

from examples.blog.app import create_app
from examples.blog.seed import seed
from querywright import AsyncDatabase, QuerywrightError
from querywright.events import StatementExecuted, subscribe
from querywright.testing import EmbeddedPostgres

DATA = Path(".data")
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
            url = _postgres(stack) if arguments.postgres else f"sqlite+aiosqlite:///{DATA}/blog.db"
            asyncio.run(_serve(url, arguments.port))
        except QuerywrightError as error:
            parser.exit(1, f"{error}\n")


def _postgres(stack: ExitStack) -> str:
    return stack.enter_context(EmbeddedPostgres(DATA / "postgres")).url("asyncpg")


async def _serve(url: str, port: int) -> None:
    db = AsyncDatabase(url)
    started = time.perf_counter()
    if await seed(db):
        _log.info("Filled %s in %.1f s.", db.engine.url.render_as_string(), time.perf_counter() - started)
    subscribe(StatementExecuted, _log_statement)
    server = uvicorn.Server(uvicorn.Config(create_app(db), port=port, log_level="info"))
    _log.info(
        "Open http://127.0.0.1:%d/docs or try: curl -s 'http://127.0.0.1:%d/users?limit=2'\n"
        "Each line that begins with 'statement' is one statement sent to the database.",
        port,
        port,
    )
    await server.serve()


def _log_statement(event: StatementExecuted) -> None:
    sql = " ".join(event.sql.split())
    _log.info("statement %.1f ms: %.150s%s", event.seconds * 1000, sql, "…" if len(sql) > 150 else "")  # noqa: PLR2004


if __name__ == "__main__":
    main()
