"""Every Python block of the README and the documentation runs, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from querywright import Base

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
WRITTEN_URL = re.compile(r'"sqlite\+aiosqlite:///\w+\.db"')


@pytest.mark.drivers("sqlite+aiosqlite", "postgresql+asyncpg")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_blocks_run(document: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__documentation__"}
    text = document.read_text(encoding="utf-8")
    tables = set(Base.metadata.tables)
    for block in BLOCK.finditer(text):
        line = text[: block.start()].count("\n") + 1
        source = "\n" * line + WRITTEN_URL.sub(f'"{url}"', block[1])
        code = compile(source, str(document), "exec", flags=inspect.CO_COROUTINE and 0x2000)
        result = eval(code, namespace)  # noqa: S307 - the document's own code, with top-level await
        if inspect.isawaitable(result):
            asyncio.run(_wait(result))
    _forget(set(Base.metadata.tables) - tables)


async def _wait(result: Any) -> None:
    await result


def _forget(tables: set[str]) -> None:
    """Let the next run declare the document's tables again."""
    for mapper in list(Base.registry.mappers):
        if mapper.local_table.key in tables:  # type: ignore[attr-defined]
            Base.registry._dispose_cls(mapper.class_)
    for name in tables:
        Base.metadata.remove(Base.metadata.tables[name])
