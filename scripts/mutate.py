"""Break one thing at a time in a copy of the source, and see whether the tests notice.

Run it from the project's folder: python scripts/mutate.py, or with words of a name for some of them. What is broken
stands in mutations.toml; the mutations here are met by invented examples, and it is told after how many.
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

import tomllib

ROOT = Path(__file__).parents[1]
SOURCE = "src/querywright"
# Seconds: what is broken may make a test wait for ever.
LONGEST = 600
WRITERS = f"{SOURCE}/fetching/writers"
FETCH = f"{SOURCE}/fetching"


@dataclass(frozen=True)
class Suite:
    """The arguments for pytest, and how examples that were tried are shown."""

    arguments: list[str]
    shown: str = r"^FAILED"
    # Each example leaves a mark, and none is tried again to make it smaller.
    counting: dict[str, str] = field(default_factory=dict)


INVENTED = Suite(
    ["tests/fuzz/test_invented.py", "--fuzz-examples=500"],
    r"^\.*example$",
    {
        "def compare(world: World) -> None:\n": 'def compare(world: World) -> None:\n            print("example")\n',
        "suppress_health_check=list(HealthCheck)": "suppress_health_check=list(HealthCheck), phases=[Phase.generate]",
        "import HealthCheck, ": "import HealthCheck, Phase, ",
    },
)
PAGES = Suite(["tests/paging/test_law.py", "--page-examples=3000"], r"^asked$", {"note(f": 'print("asked"); note(f'})
# For what the invented ones meet once in some thousands.
TYPES = Suite(["tests/suite/test_fetch_types.py"])
NAMED = Suite(["tests/suite/test_fetch_page_kinds.py", "--page-examples=1"])


@dataclass(frozen=True)
class Mutation:
    """What is broken: a text, what replaces it, the tests that notice, and the file where the text tells too little."""

    old: str
    new: str
    suite: Suite
    only: str = ""
    file: str = ""


INVENTED_MUTATIONS = {
    "booleans on SQLite": Mutation(
        '(number == literal_column("0"), false), ', "", INVENTED, "sqlite", f"{WRITERS}/sqlite.py"
    ),
    "NaN on PostgreSQL": Mutation(
        "        (value.in_(_INFINITE), infinite(value)),\n",
        "",
        TYPES,
        "postgresql",
        f"{WRITERS}/postgresql_numbers.py",
    ),
    "validation aliases": Mutation(
        "            return first\n", "            return name\n", INVENTED, "sqlite", f"{FETCH}/plan/aliases.py"
    ),
    "pages: NULL behind all values": Mutation(
        "return or_(after, column.is_(None)) if sort.nullable and not sort.nulls_first else after",
        "return after",
        PAGES,
        "sqlite+pysqlite",
    ),
    "pages: columns that an outer join makes NULL": Mutation(
        "if owner is None or self.elements[owner]:", "if owner is None:", PAGES, "sqlite+pysqlite"
    ),
    "pages: rows that a join repeats": Mutation(
        "else self.rows.key(known)\n", "else self._clauses[1]\n", PAGES, "sqlite+pysqlite"
    ),
    "pages: a value as its type reads it": Mutation(
        'float: ("@float", repr)', 'float: ("@float", "{:.10f}".format)', PAGES, "sqlite+pysqlite"
    ),
    "pages: the ORDER BY of DISTINCT ON": Mutation(
        "if not self._on:", "if self.statement is not None:", PAGES, "postgresql+psycopg"
    ),
    "pages: sort columns taken for the class's own": Mutation(
        "type_coerce(value, NULLTYPE).label(name)", "value.label(name)", PAGES, "sqlite+pysqlite"
    ),
    "pages: a join that SQLite reads backwards by halves": Mutation(
        "writer.order_joined(sort.expression) if sort.joined else sort.expression",
        "sort.expression",
        NAMED,
        "test_joins_that_are_compared_by_more_and_less and pysqlite",
    ),
}


def listed() -> dict[str, Mutation]:
    """Read mutations.toml: a table for each set of tests, and in it what each of them shows."""
    groups = tomllib.loads((ROOT / "scripts/mutations.toml").read_text(encoding="utf-8"))
    tests = groups.pop("tests")
    return {
        f"{group}: {name}": Mutation(old, new, Suite(tests[group]))
        for group, mutations in groups.items()
        for name, (old, new) in mutations.items()
    }


def place(old: str) -> str:
    """Find the only file that has a text, once."""
    paths = sorted(path for path in (ROOT / SOURCE).glob("**/*.py") if old in path.read_text(encoding="utf-8"))
    if len(paths) != 1 or paths[0].read_text(encoding="utf-8").count(old) != 1:
        sys.exit(f"{old!r} is in {', '.join(path.name for path in paths) or 'no file'}.")
    return paths[0].relative_to(ROOT).as_posix()


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    if old not in text:
        sys.exit(f"{path.name} has no {old!r}")
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def noticed(copy: Path, mutation: Mutation) -> str:
    """Run the tests, and tell what they noticed."""
    suite = mutation.suite
    command = [sys.executable, "-m", "pytest", "-x", "-s", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    command += suite.arguments + (["-k", mutation.only] if mutation.only else [])
    environment = os.environ | {"PYTHONPATH": f"{copy / 'src'}{os.pathsep}{copy}"}
    try:
        done = subprocess.run(  # noqa: S603 - our own code
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return f"noticed by {LONGEST} s without an end"
    if done.returncode not in {0, 1, 2}:
        sys.exit(f"The tests did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if done.returncode == 0:
        return "NOT NOTICED"
    if suite.counting:
        return f"noticed after {len(re.findall(suite.shown, done.stdout, re.MULTILINE))} examples"
    failed = re.search(r"^(?:FAILED|ERROR) \S*?::(.*?)(?: - |$)", done.stdout, re.MULTILINE)
    return f"noticed by {failed[1] if failed else 'an import'}"


def main() -> None:
    wanted = " ".join(sys.argv[1:])
    mutations = {name: each for name, each in {**listed(), **INVENTED_MUTATIONS}.items() if wanted in name}
    files = {name: each.file or place(each.old) for name, each in mutations.items()}
    survived = []
    for name, mutation in mutations.items():
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy"
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "docs", "__pycache__"))
            replace(copy / files[name], mutation.old, mutation.new)
            for before, after in mutation.suite.counting.items():
                replace(copy / mutation.suite.arguments[0], before, after)
            told = noticed(copy, mutation)
        survived += [name] if told == "NOT NOTICED" else []
        print(f"{name}: {told}", flush=True)
    print(f"{len(mutations)} tried, {len(mutations) - len(survived)} noticed; {len(survived)} not: {survived}")


if __name__ == "__main__":
    main()
