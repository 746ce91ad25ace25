"""What is known of a database or a driver stands in one place: no other module has its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from querywright.engine.databases.lookup import BACKENDS
from querywright.engine.drivers.lookup import _DRIVERS

SOURCE = Path(__file__).parents[1] / "src/querywright"
# A record of each database, a module of each driver, and a writer of JSON of each database.
PLACES = ("engine", "fetching/writers")
# SQLAlchemy hands a type the dialect, and asks by its name for what compiles an expression.
TYPES = ("models/decimals.py", "models/decimals_sqlite.py", "models/types.py", "outbox/messages.py")
# The server is PostgreSQL's.
SERVERS = ("testing/postgres.py",)

NAMES = {
    *BACKENDS,
    *(word for driver in _DRIVERS.values() for word in (driver.name, driver.package, driver.name.partition("+")[2])),
}
MODULES = frozenset(f"querywright.engine.{folder}.{name}" for folder in ("databases", "drivers") for name in NAMES)


def modules() -> Iterator[Path]:
    for path in sorted(SOURCE.glob("**/*.py")):
        where = path.relative_to(SOURCE).as_posix()
        if not where.startswith(PLACES) and where not in {*TYPES, *SERVERS}:
            yield path


def names_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Name databases and drivers that are texts of a program, and not of its documentation, or are imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in NAMES:
            yield node.lineno, node.value
        elif isinstance(node, ast.ImportFrom) and (node.module in MODULES or node.module in NAMES):
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names if each.name in MODULES | NAMES)


def test_no_other_module_knows_a_database_or_a_driver() -> None:
    found = [f"{path.relative_to(SOURCE)}:{line} {name}" for path in modules() for line, name in _found(path)]
    assert not found


def _found(path: Path) -> Iterator[tuple[int, str]]:
    return names_in(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "source",
    [
        'if connection.dialect.name == "postgresql": pass',
        'found = {"sqlite": 1}[name]',
        'if driver in {"asyncpg", "psycopg"}: pass',
        'match name:\n    case "mysql": pass',
        "from querywright.engine.databases.sqlite import SQLITE",
        "import aiosqlite",
    ],
)
def test_what_is_found(source: str) -> None:
    assert list(names_in(ast.parse(source)))


def test_what_is_listed_is_there() -> None:
    assert all((SOURCE / each).exists() for each in (*PLACES, *TYPES, *SERVERS))
    assert len(list(modules())) > 100


@pytest.mark.parametrize("path", [*TYPES, *SERVERS])
def test_an_exception_that_is_none_any_more_is_not_listed(path: str) -> None:
    assert list(_found(SOURCE / path))
