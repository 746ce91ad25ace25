"""Break one thing in a copy of the source, and see after how many invented examples the tests notice.

Run it from the project's folder: python scripts/mutate.py, or with the beginning of a name for some of them
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
WRITERS = "src/querywright/fetching/writers"
FETCH = "src/querywright/fetching"


@dataclass(frozen=True)
class Suite:
    """Tests that invent examples, how many they may, and how those show that were tried."""

    test: str
    examples: str
    shown: str
    # Each example leaves a mark, and none is tried again to make it smaller.
    counting: dict[str, str] = field(default_factory=dict)


INVENTED = Suite(
    "tests/fuzz/test_invented.py",
    "--fuzz-examples=500",
    r"^\.*example$",
    {
        "def compare(world: World) -> None:\n": 'def compare(world: World) -> None:\n            print("example")\n',
        "suppress_health_check=list(HealthCheck)": "suppress_health_check=list(HealthCheck), phases=[Phase.generate]",
        "import HealthCheck, ": "import HealthCheck, Phase, ",
    },
)
PAGES = Suite("tests/paging/test_law.py", "--page-examples=3000", r"^asked$", {"note(f": 'print("asked"); note(f'})

# For what the invented ones meet once in twenty thousand.
NAMED = Suite("tests/suite/test_fetch_page_kinds.py", "--page-examples=1", r"^FAILED")


@dataclass(frozen=True)
class Mutation:
    """What is broken: a file, its text, what replaces it, and the databases and tests that notice."""

    file: str
    old: str
    new: str
    databases: str
    suite: Suite = INVENTED


MUTATIONS = {
    "booleans on SQLite": Mutation(
        f"{WRITERS}/sqlite.py",
        '(number == literal_column("0"), false), ',
        "",
        "sqlite",
    ),
    "NaN on PostgreSQL": Mutation(
        f"{WRITERS}/postgresql_numbers.py",
        "        (value.in_(_INFINITE), infinite(value)),\n",
        "",
        "postgresql",
    ),
    "validation aliases": Mutation(
        f"{FETCH}/plan/aliases.py", "            return first\n", "            return name\n", "sqlite"
    ),
    "pages: NULL behind all values": Mutation(
        f"{FETCH}/compile/keyset.py",
        "return or_(after, column.is_(None)) if sort.nullable and not sort.nulls_first else after",
        "return after",
        "sqlite+pysqlite",
        PAGES,
    ),
    "pages: columns that an outer join makes NULL": Mutation(
        f"{FETCH}/mapping/rowkeys.py",
        "if owner is None or self.elements[owner]:",
        "if owner is None:",
        "sqlite+pysqlite",
        PAGES,
    ),
    "pages: rows that a join repeats": Mutation(
        f"{FETCH}/compile/sorting.py",
        "else self.rows.key(known)\n",
        "else self._clauses[1]\n",
        "sqlite+pysqlite",
        PAGES,
    ),
    "pages: a value as its type reads it": Mutation(
        f"{FETCH}/pages/positions.py",
        'float: ("@float", repr)',
        'float: ("@float", "{:.10f}".format)',
        "sqlite+pysqlite",
        PAGES,
    ),
    "pages: the ORDER BY of DISTINCT ON": Mutation(
        f"{FETCH}/compile/sorting.py",
        "if not self._on:",
        "if self.statement is not None:",
        "postgresql+psycopg",
        PAGES,
    ),
    "pages: sort columns taken for the class's own": Mutation(
        f"{FETCH}/mapping/froms.py",
        "type_coerce(value, NULLTYPE).label(name)",
        "value.label(name)",
        "sqlite+pysqlite",
        PAGES,
    ),
    "pages: a join that SQLite reads backwards by halves": Mutation(
        f"{FETCH}/compile/keyset.py",
        "writer.order_joined(sort.expression) if sort.joined else sort.expression",
        "sort.expression",
        "test_joins_that_are_compared_by_more_and_less and pysqlite",
        NAMED,
    ),
}


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if old not in text:
        sys.exit(f"{path.name} has no {old!r}")
    path.write_text(text.replace(old, new, 1))


def examples_until_noticed(copy: Path, mutation: Mutation) -> int | None:
    """Run the tests; ``None`` if they pass."""
    suite = mutation.suite
    command = [sys.executable, "-m", "pytest", "-x", "-s", "-q", "-p", "no:randomly", suite.test, suite.examples]
    environment = os.environ | {"PYTHONPATH": f"{copy / 'src'}{os.pathsep}{copy}"}
    command += ["-k", mutation.databases]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
    if done.returncode not in {0, 1}:
        sys.exit(f"The tests did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return len(re.findall(suite.shown, done.stdout, re.MULTILINE)) if done.returncode else None


def main() -> None:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for name, mutation in MUTATIONS.items():
        if not name.startswith(wanted):
            continue
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy"
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "docs"))
            replace(copy / mutation.file, mutation.old, mutation.new)
            for before, after in mutation.suite.counting.items():
                replace(copy / mutation.suite.test, before, after)
            noticed = examples_until_noticed(copy, mutation)
        print(f"{name}: {'NOT NOTICED' if noticed is None else f'noticed after {noticed} examples'}")


if __name__ == "__main__":
    main()
