"""Measure side by side: wall time, and the CPU of this process and of the database server's."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from querywright.testing import EmbeddedPostgres

_TICKS = os.sysconf("SC_CLK_TCK")
Work = Callable[[], Awaitable[object]]


@dataclass
class Sample:
    """What one contender needed for one job, per call, in seconds."""

    wall: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)

    def medians(self) -> dict[str, float]:
        """Sum up: wall time, CPU of this process, of the server, and of both."""
        both = [client + server for client, server in zip(self.client, self.server, strict=True)]
        parts = {"wall": self.wall, "client": self.client, "server": self.server, "cpu": both}
        return {name: statistics.median(values) for name, values in parts.items()}


async def take_turns(
    works: Sequence[Work], server: EmbeddedPostgres | None, *, rounds: int, repeats: int
) -> list[Sample]:
    """Let the contenders take turns, so that a slow moment of the machine hits them all."""
    samples = [Sample() for _ in works]
    for _ in range(rounds):
        for work, sample in zip(works, samples, strict=True):
            gc.collect()
            # Not counted: the contender before has left the processor's caches to its own data.
            await work()
            busy, cpu = server_cpu(server), time.process_time()
            for _ in range(repeats):
                started = time.perf_counter()
                await work()
                sample.wall.append(time.perf_counter() - started)
            sample.client.append((time.process_time() - cpu) / repeats)
            sample.server.append((server_cpu(server) - busy) / repeats)
    return samples


def server_cpu(server: EmbeddedPostgres | None) -> float:
    """Add up the seconds that the server's processes have run, with those that have ended (Linux only)."""
    if server is None:
        return 0.0
    total = 0
    for children in Path(f"/proc/{server.pid}/task").glob("*/children"):
        for pid in children.read_text().split():
            with suppress(OSError):  # the process may have just ended
                total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    _, ended = process_cpu(server.pid)
    return total / 1e9 + ended


def process_cpu(pid: int) -> tuple[float, float]:
    """Return the seconds that a process has run, and those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, children_user, children_system = (int(field) / _TICKS for field in fields[11:15])  # proc_pid_stat(5)
    return user + system, children_user + children_system


def ms(seconds: float) -> str:
    """Write a time, with three digits that matter."""
    return f"{seconds * 1000:.3f} ms" if seconds < 0.01 else f"{seconds * 1000:.1f} ms"  # noqa: PLR2004
