"""What processes of their own do to a SQLite file: write with many others, or without being allowed to."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from querywright import Database
from querywright.engine import classify
from tests.faults.clients import Receipt


def write_receipts(path: str, process: int, count: int) -> tuple[list[str], float]:
    """Read, then write, so many times; returns what went wrong, and the seconds of the slowest write."""
    failures, slowest = [], 0.0
    with Database(f"sqlite+pysqlite:///{path}") as db:
        for number in range(count):
            began = time.monotonic()
            try:
                with db.transaction() as tx:
                    newest = tx.scalar(select(Receipt.id).order_by(Receipt.id.desc()).limit(1)) or 0
                    # If two writers ever saw the same newest row, their keys would clash.
                    tx.add(Receipt(id=newest + 1, key=f"{process}-{number}"))
            except SQLAlchemyError as error:
                failures.append(repr(error))
            slowest = max(slowest, time.monotonic() - began)
    return failures, slowest


def write_without_permission(path: str) -> tuple[str | None, str]:
    """Try to write as an account that may only read; returns the SQLSTATE, and what a client would be told.

    Root may write everywhere, so it becomes somebody else, and needs a process of its own.
    """
    # Before it becomes somebody who may not even read the modules.
    db = Database(f"sqlite+pysqlite:///{path}")
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
    try:
        with db.transaction() as tx:
            tx.add(Receipt(key="forbidden"))
    except SQLAlchemyError as error:
        known = classify(error)
        assert known is not None
        return known.sqlstate, known.message
    finally:
        db.dispose()
    return None, f"it was written: {Path(path).stat()}"
