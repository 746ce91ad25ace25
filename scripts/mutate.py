"""Break one CASE in a copy of the source, and see after how many invented examples the tests notice.

Run it from the project's folder: python scripts/mutate.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
WRITERS = "src/querywright/fetch/writers"
# What is broken: file, text, what replaces it, and the databases that notice.
MUTATIONS = {
    "booleans on SQLite": (
        f"{WRITERS}/sqlite.py",
        '(number == literal_column("0"), literal("false")), ',
        "",
        "sqlite",
    ),
    "NaN on PostgreSQL": (
        f"{WRITERS}/postgresql.py",
        '(case((value.in_(infinite), literal("null")), else_=cast(func.to_json(value), Text)),)',
        "(cast(func.to_json(value), Text),)",
        "postgresql",
    ),
}
TEST = "tests/fuzz/test_invented.py"
# Each example leaves a mark, and none is tried again to make it smaller.
COUNTING = {
    "def compare(world: World) -> None:\n": 'def compare(world: World) -> None:\n            print("example")\n',
    "suppress_health_check=list(HealthCheck)": "suppress_health_check=list(HealthCheck), phases=[Phase.generate]",
    "import HealthCheck, ": "import HealthCheck, Phase, ",
}
EXAMPLES = 500


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if old not in text:
        sys.exit(f"{path.name} has no {old!r}")
    path.write_text(text.replace(old, new, 1))


def examples_until_noticed(copy: Path, databases: str) -> int | None:
    """Run the tests; ``None`` if they pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-s", "-q", "-p", "no:randomly", TEST, "-k", databases]
    environment = os.environ | {"PYTHONPATH": f"{copy / 'src'}{os.pathsep}{copy}"}
    command.append(f"--fuzz-examples={EXAMPLES}")
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
    return len(re.findall(r"^\.*example$", done.stdout, re.MULTILINE)) if done.returncode == 1 else None


def main() -> None:
    for name, (file, old, new, databases) in MUTATIONS.items():
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy"
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "docs"))
            replace(copy / file, old, new)
            for before, after in COUNTING.items():
                replace(copy / TEST, before, after)
            noticed = examples_until_noticed(copy, databases)
        print(f"{name}: {'NOT NOTICED' if noticed is None else f'noticed after {noticed} examples'}")


if __name__ == "__main__":
    main()
