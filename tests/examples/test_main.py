"""`make run` says what it does, and 'open' only when it is."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from contextlib import closing

import httpx
import pytest
import uvicorn

from examples.blog.__main__ import _bind, _fill, _Server
from examples.blog.app import create_app
from examples.blog.seed import Size, seed
from querywright import AsyncDatabase


def test_a_port_that_is_taken_is_named_with_the_remedy() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "examples.blog", "--port", str(port)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - as written above
    assert done.returncode == 1
    assert done.stderr.startswith(f"Port {port} cannot be used: Address already in use.")
    assert f"make run PORT={port + 1}" in done.stderr
    assert "Traceback" not in done.stderr


class Opened(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("Open "):
            self.event.set()


@pytest.mark.drivers("sqlite+aiosqlite")
async def test_it_is_open_when_it_says_so(url: str, caplog: pytest.LogCaptureFixture) -> None:
    opened = Opened()
    log = logging.getLogger("blog")
    log.addHandler(opened)
    async with AsyncDatabase(url) as db:
        await seed(db, Size(users=2, posts=2, comments=2))
        with caplog.at_level(logging.INFO, "blog"), closing(_bind(0)) as bound:
            await _fill(db)
            assert "as it is" in caplog.text
            server = _Server(uvicorn.Config(create_app(db), log_level="error"))
            serving = asyncio.ensure_future(server.serve([bound]))
            await opened.event.wait()
            port = bound.getsockname()[1]
            async with httpx.AsyncClient() as client:
                answer = await client.get(f"http://127.0.0.1:{port}/users")
            server.should_exit = True
            await serving
    log.removeHandler(opened)
    assert (answer.status_code, f"Open http://127.0.0.1:{port}/docs" in caplog.text) == (200, True)
