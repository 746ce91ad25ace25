"""Run the application in uvicorn, in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import process_cpu

_START_SECONDS = 30


@dataclass(frozen=True)
class Server:
    """A running application."""

    pid: int
    port: int

    def cpu(self) -> float:
        """Return the seconds that the process has run (Linux only)."""
        return process_cpu(self.pid)[0]

    def queued(self) -> float:
        """Return the seconds that the process has waited for a core (Linux only)."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return bytes(answer.read())


@contextmanager
def serve(database_url: str) -> Iterator[Server]:
    """Start uvicorn with one worker on a free port, and stop it at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "uvicorn", "benchmarks.web.app:app", "--port", str(port)]
    command += ["--log-level", "warning", "--no-access-log"]
    process = subprocess.Popen(command, env={**os.environ, "BENCH_URL": database_url})  # noqa: S603 - our own command
    try:
        server = Server(process.pid, port)
        _wait(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(10)


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    for _ in range(_START_SECONDS * 20):
        if process.poll() is not None:
            raise RuntimeError("uvicorn did not start")
        try:
            server.get("/health/live")
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("uvicorn does not answer")
