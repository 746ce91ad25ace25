"""Run SQLAlchemy's own ORM tests, of the installed version, and compare each fetch with what the ORM returns.

``python -m tests.differential [sqlite] [postgresql] [--tests PATH ...]``; the source of the tests is downloaded by
pip, into a folder that git ignores. It ends with 1 if a difference is not explained.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest

from querywright.testing import EmbeddedPostgres
from tests.differential.plugin import LOG
from tests.differential.report import report

ROOT = Path(__file__).parents[2]
DATA = ROOT / ".data" / "differential"
TESTS = ("test/orm", "test/ext")
# That tests have failed is theirs: some count statements or events, or find objects of ours.
_FINISHED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
# Their own options, and ours that change what they expect.
OPTIONS = (
    *("-o", "addopts=", "-q", "--tb=line", "-p", "tests.differential.plugin"),
    *(part for name in ("randomly", "xdist", "anyio", "hypothesispytest", "cacheprovider", "warnings", "logging")
      for part in ("-p", f"no:{name}")),
)  # fmt: skip


def source() -> Path:
    """Download the source of the installed SQLAlchemy, once."""
    name = f"sqlalchemy-{version('sqlalchemy')}"
    folder = DATA / name
    if not folder.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        wanted = ("--no-deps", "--no-binary", "sqlalchemy", f"sqlalchemy=={version('sqlalchemy')}", "--dest", str(DATA))
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *wanted], check=True)  # noqa: S603 - our own
        with tarfile.open(DATA / f"{name}.tar.gz") as archive:
            archive.extractall(DATA, filter="data")
    return folder


@contextmanager
def database(name: str) -> Iterator[list[str]]:
    """Start a database, and give the arguments by which SQLAlchemy's tests find it."""
    if name == "sqlite":
        yield ["--db", "sqlite"]
        return
    with EmbeddedPostgres(max_prepared_transactions="10") as server:
        with psycopg.connect(server.url().replace("+asyncpg", ""), autocommit=True) as connection:
            for statement in (
                "CREATE SCHEMA test_schema",
                "CREATE SCHEMA test_schema_2",
                "CREATE EXTENSION hstore",
                "CREATE EXTENSION citext",
            ):
                connection.execute(statement)
        yield ["--dburi", server.url("psycopg")]


def start(name: str, arguments: list[str], tests: list[str]) -> subprocess.Popen[bytes]:
    """Start the tests on a database."""
    log = DATA / f"{name}.jsonl"
    log.unlink(missing_ok=True)
    environment = {**os.environ, LOG: str(log), "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    # -s: their conftest would put the library of the source before the installed one.
    command = [sys.executable, "-s", "-m", "pytest", *OPTIONS, *arguments, *tests]
    with (DATA / f"{name}.log").open("wb") as output:
        return subprocess.Popen(command, cwd=source(), env=environment, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603 - our own


def run_all(names: list[str], tests: list[str]) -> list[int]:
    """Run the tests on all databases at once; return what each run ended with."""
    source()
    with ExitStack() as stack:
        runs = []
        for name in names:
            runs.append(start(name, stack.enter_context(database(name)), tests))
            stack.callback(runs[-1].kill)
        return [run.wait() for run in runs]


def main() -> int:
    """Run, and report: 0 if the runs came to their ends and each difference has an explanation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("databases", nargs="*", default=["sqlite", "postgresql"], help="sqlite, postgresql")
    parser.add_argument("--tests", nargs="+", default=list(TESTS), help="paths in SQLAlchemy's source")
    parser.add_argument("--report-only", action="store_true", help="tell of the last run")
    asked = parser.parse_args()
    whole = asked.report_only or all(run in _FINISHED for run in run_all(asked.databases, asked.tests))
    told = [report(name, DATA) for name in asked.databases]
    print("\n".join(line for lines, _ in told for line in lines))
    return 0 if whole and all(good for _, good in told) else 1


if __name__ == "__main__":
    sys.exit(main())
