"""What has no public name is in the table of docs/architecture.md, is used, and is there in the installed versions."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

ROOT = Path(__file__).parents[1]
GENERATION = ".".join(sqlalchemy.__version__.split(".")[:2])
ROW = re.compile(r"^\| `([\w.]+)` \| (`_.*?) \|", re.MULTILINE)
_BY_TEXT = {"getattr", "hasattr", "setattr"}
NAME = re.compile(r"`(_\w+)`(?: \(([\d.]+)\))?")


def listed() -> list[tuple[str, str, str]]:
    """Read the table: owner, name, and the generation of SQLAlchemy that alone has it."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = page.split("## Private names of others")[1].split("\n## ")[0]
    return [(owner, name, only) for owner, names in ROW.findall(table) for name, only in NAME.findall(names)]


@cache
def trees() -> tuple[ast.AST, ...]:
    return tuple(ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "src").glob("**/*.py"))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def used() -> Iterator[str]:
    """Name what is read, called, overridden or imported, also by getattr() and its like."""
    for node in (node for tree in trees() for node in ast.walk(tree)):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _BY_TEXT:
            yield str(getattr(node.args[1], "value", ""))


def texts() -> Iterator[str]:
    """Name what stands in the source as a text, such as the name of a class, or an option of SQLAlchemy."""
    nodes = (node for tree in trees() for node in ast.walk(tree))
    return (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def own() -> Iterator[str]:
    """Name what this package defines: functions, classes, variables, and attributes that it sets."""
    for node in (node for tree in trees() for node in ast.walk(tree)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg


def resolve(path: str) -> Any:
    """Import what a dotted path leads to."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(path)


def test_the_table_has_every_name_that_nobody_here_defines() -> None:
    foreign = {name for name in used() if is_private(name)} - set(own())
    assert foreign - {name for _, name, _ in listed()} == set()


def test_every_name_of_the_table_is_used() -> None:
    assert {name for _, name, _ in listed()} - {*used(), *texts()} == set()


@pytest.mark.parametrize(("owner", "name", "only"), listed(), ids=lambda value: value)
def test_the_installed_version_has_it(owner: str, name: str, only: str) -> None:
    if only and only != GENERATION:
        pytest.skip("of another generation of SQLAlchemy")
    found = resolve(owner)
    # Attributes of instances stand only in the source.
    known = hasattr(found, name) or any(
        re.search(rf"\b{name}\b", inspect.getsource(each)) for each in inspect.getmro(found) if each is not object
    )
    assert known
