"""Every Python block of the README and the documentation runs, on SQLite and on PostgreSQL."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from querywright import DatabaseSettings
from querywright.testing import EmbeddedPostgres

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCUMENTS = [
    path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))) if BLOCK.search(path.read_text())
]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")]
# Also with an asterisk in the name.
NAMED_PATH = re.compile(r"`((?:src|tests|docs|scripts|benchmarks|examples)/[\w./*]+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
WRITTEN_URL = re.compile(r'"sqlite\+aiosqlite:///\w+\.db"')
# A process of its own for each run: a document declares tables, and top-level await needs a compiler flag.
# FastAPI 0.121 looks for models of Pydantic 1, and Pydantic 2.7 answers with it.
FOREIGN_WARNING = "ignore:The `__fields__` attribute is deprecated:DeprecationWarning"
# What clients do wrong in them is logged as warnings.
RUNNER = """
import ast, asyncio, inspect, logging, sys
logging.getLogger("querywright").setLevel(logging.ERROR)
code = compile(sys.stdin.read(), "document", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
result = eval(code, {"__name__": "__main__"})
if inspect.isawaitable(result):
    asyncio.run(result)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of its own: the document's tables may have the names of others."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/documentation.db"
    server: EmbeddedPostgres = request.getfixturevalue("postgres")
    return server.url("asyncpg", request.getfixturevalue("new_postgres_database")())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_blocks_run(document: Path, empty_database: str, tmp_path: Path) -> None:
    source = "\n".join(BLOCK.findall(document.read_text(encoding="utf-8")))
    source, count = WRITTEN_URL.subn(f'"{empty_database}"', source)
    assert count, "the blocks use a database"
    command = [sys.executable, "-W", "error", "-W", FOREIGN_WARNING, "-c", RUNNER]
    done = subprocess.run(command, input=source, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
    assert (done.returncode, done.stderr) == (0, "")


def test_the_page_on_connecting_has_every_setting_and_its_default() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|(.*?)\|", (ROOT / "docs/connecting.md").read_text().split("## Settings")[1], re.MULTILINE
    )
    defaults = {name: default.strip(" `") for name, default in rows}
    for name, field in DatabaseSettings.model_fields.items():
        plain = field.default is not None and not field.is_required() and field.default_factory is None
        assert defaults.pop(name) == (str(field.default) if plain else {"max_streams": "half of all"}.get(name, "")), (
            name
        )
    assert defaults == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [link for link in LINK.findall(text) if not (page.parent / link).exists()] == []
    assert [path for path in NAMED_PATH.findall(text) if not list(ROOT.glob(path))] == []
