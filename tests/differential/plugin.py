"""A pytest plug-in for SQLAlchemy's own tests: it fetches what passes through their Sessions, and writes what it saw.

Load it with ``-p tests.differential.plugin``; the environment variable `LOG` names the file that it writes to.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

LOG = "QUERYWRIGHT_DIFFERENTIAL"


# After SQLAlchemy's own plug-in: its tests have to be the first to import sqlalchemy.testing.
@pytest.hookimpl(trylast=True)
def pytest_sessionstart() -> None:
    from tests.differential.watch import watch  # noqa: PLC0415 - as above

    watch(Path(os.environ[LOG]))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    from tests.differential.watch import forget  # noqa: PLC0415 - as above

    forget()
