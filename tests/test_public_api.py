from __future__ import annotations

import importlib
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import querywright.errors
from querywright import (
    AsyncDatabase,
    AsyncFetch,
    AsyncReplicas,
    AsyncRepository,
    AsyncSession,
    AsyncUnitOfWork,
    CommitOutcomeUnknown,
    ConcurrentUse,
    Database,
    Fetch,
    MissingExtra,
    QuerywrightError,
    Replicas,
    Repository,
    Session,
    UnitOfWork,
    UnknownFields,
)

NAMES = ("", ".engine", ".events", ".fastapi", ".fetching", ".models", ".outbox", ".repository", ".session", ".testing")
MODULES = [importlib.import_module(f"querywright{name}") for name in NAMES]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_all_is_exact(module: ModuleType) -> None:
    """Everything that can be imported from a package and is meant to be, no more."""
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and _is_ours(value) and name != "Event"
    }
    assert public == set(module.__all__) - {"NAMING_CONVENTION", "TYPE_ANNOTATION_MAP"}
    assert sorted(module.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name)) == module.__all__


def _is_ours(value: object) -> bool:
    module = getattr(value, "__module__", None)
    annotated = getattr(value, "__metadata__", None) is not None
    return annotated or (isinstance(module, str) and module.startswith("querywright"))


def test_every_public_name_is_documented() -> None:
    for module in MODULES:
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                assert value.__doc__, name


def test_every_error_is_public() -> None:
    def tree(cls: type) -> set[str]:
        return {cls.__name__}.union(*map(tree, cls.__subclasses__()))

    assert tree(QuerywrightError) <= set(querywright.__all__)
    for name in tree(QuerywrightError):
        assert name in str(querywright.errors.__doc__), "the tree is drawn in the module's docstring"


def test_errors_survive_a_process_pool() -> None:
    for error in (
        MissingExtra("asyncpg", "postgres"),
        ConcurrentUse("task 'a'", "task 'b'"),
        UnknownFields(("nmae",), ("id", "name")),
        CommitOutcomeUnknown(),
    ):
        copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))


def surface(cls: type) -> dict[str, tuple[list[str], str]]:
    """List the public methods of a class with their parameters and docstrings."""
    methods = {name: value for name, value in vars(cls).items() if inspect.isfunction(value)}
    return {
        name: (list(inspect.signature(method).parameters), _told(method))
        for name, method in methods.items()
        if not name.startswith("_")
    }


def _told(method: object) -> str:
    """The first line of its docstring: what follows tells of threads or tasks, and has its own example."""
    return str(inspect.getdoc(method)).partition("\n")[0]


@pytest.mark.parametrize(
    ("sync", "asynchronous"),
    [
        (Database, AsyncDatabase),
        (Fetch, AsyncFetch),
        (Replicas, AsyncReplicas),
        (Repository, AsyncRepository),
        (Session, AsyncSession),
        (UnitOfWork, AsyncUnitOfWork),
    ],
)
def test_sync_and_async_have_the_same_surface(sync: type, asynchronous: type) -> None:
    # A session is flushed by SQLAlchemy's own method, which on the asynchronous kind leads to the synchronous one; it
    # begins by SQLAlchemy's own on the synchronous kind, whose transaction is ours.
    ours = {name: told for name, told in surface(sync).items() if name != "flush"}
    theirs = {
        name: told for name, told in surface(asynchronous).items() if (asynchronous, name) != (AsyncSession, "begin")
    }
    assert ours == theirs


def test_the_version_is_that_of_the_package() -> None:
    written = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r'^version = "(.*)"', written, re.MULTILINE) == [querywright.__version__]


def test_the_root_imports_no_edge_and_no_driver() -> None:
    edges = ("fastapi", "starlette", "alembic", "pytest", "asyncpg", "psycopg", "aiosqlite", "typer")
    code = f"import sys, querywright; print(*(m for m in {edges!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)  # noqa: S603 - our own code
    assert (done.stdout.strip(), done.stderr) == ("", "")
