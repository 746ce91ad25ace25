"""State that outlives a call is in the table of docs/architecture.md: caches, context variables, listeners."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/querywright"
ROW = re.compile(r"^\| `([\w.]+)` \| (.*?) \|", re.MULTILINE)
CONTAINERS = {"set", "dict", "list", "deque"}
KINDS = {"LRU", "StatementCache", "WeakSet", "WeakKeyDictionary", "WeakValueDictionary", "ContextVar", "_Watch"}
LISTENERS = "listeners"


def listed() -> set[tuple[str, str]]:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = page.split("## State that outlives a call")[1].split("\n## ")[0]
    names = {(owner, name) for owner, told in ROW.findall(table) for name in re.findall(r"`(_?[a-z]\w*)`", told)}
    return names | {(owner, LISTENERS) for owner, told in ROW.findall(table) if LISTENERS in told}


def kept() -> Iterator[tuple[str, str]]:
    for path in SOURCE.glob("**/*.py"):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for name in _kept_by(node):
                yield module, name


def _kept_by(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(target, ast.Name) and target.id != "__all__" and _is_kept(node.value):
            yield target.id
    elif isinstance(node, ast.Expr) and _called(node.value) == "listen":
        yield LISTENERS
    elif isinstance(node, ast.FunctionDef):
        named = {_called(each) or getattr(each, "id", "") for each in node.decorator_list}
        if named & {"cache", "lru_cache"}:
            yield node.name
        if "listens_for" in named:
            yield LISTENERS


def _is_kept(value: ast.expr | None) -> bool:
    if isinstance(value, (ast.Dict, ast.List)):
        # What is not empty is a table, and is not written to.
        return not ast.unparse(value).strip("[]{}")
    empty = isinstance(value, ast.Call) and not value.args and not value.keywords
    return _called(value) in KINDS or (empty and _called(value) in CONTAINERS)


def _called(value: ast.AST | None) -> str:
    function = value.func if isinstance(value, ast.Call) else None
    if isinstance(function, ast.Subscript):
        function = function.value
    return getattr(function, "id", getattr(function, "attr", ""))


def test_the_table_has_what_is_kept() -> None:
    assert listed() == set(kept())
