"""The contracts of pyproject.toml refuse an import that points up, in each folder that has layers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def contracts() -> list[dict[str, Any]]:
    tomllib = pytest.importorskip("tomllib", reason="Python has it since 3.11")
    read = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = read["tool"]["importlinter"]["contracts"]
    return [each for each in found if each["type"] == "layers"]


def upward(contract: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Pair each module of a layer with one of the layer above it."""
    [container] = contract["containers"]
    layers = [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]
    for above, below in pairwise(layers):
        yield from ((f"{container}.{name}", f"{container}.{above[0]}") for name in below)


def file_of(module: str, source: Path) -> Path:
    path = source.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def test_an_import_that_points_up_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("importlinter", reason="it is not of the oldest set")
    source = tmp_path / "src"
    shutil.copytree(ROOT / "src", source)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    wrong = [pair for contract in contracts() for pair in upward(contract)]
    for below, above in wrong:
        path = file_of(below, source)
        path.write_text(f"{path.read_text(encoding='utf-8')}\nimport {above}\n", encoding="utf-8")
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(  # noqa: S603 - our own code
        [program, "--no-cache"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(source)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    told = set(re.findall(r"(querywright[\w.]*) -> (querywright[\w.]*) \(l\.", done.stdout))
    assert len(wrong) > 50
    assert [pair for pair in wrong if pair not in told] == []


def test_each_folder_with_layers_has_all_of_its_modules_in_them() -> None:
    assert all(contract["exhaustive"] for contract in contracts())
