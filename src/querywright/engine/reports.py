"""Describe in a log what has failed, and where in the application: in a few lines, and without the words of drivers."""

from __future__ import annotations

from traceback import extract_tb, walk_tb
from types import TracebackType
from typing import Any

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as SATimeoutError

from querywright.engine.databases.errors import classify
from querywright.engine.diagnostics import diagnose
from querywright.engine.drivers.lookup import PACKAGES
from querywright.errors import QuerywrightError

__all__ = ["Reported", "lines_of", "own_frames", "report_of", "reported"]

# Between an application and what has failed.
_LIBRARIES = PACKAGES | {
    "querywright", "sqlalchemy", "greenlet", "fastapi", "starlette", "anyio", "uvicorn", "asyncio", "contextlib",
    "concurrent", "threading",
}  # fmt: skip
_INNERMOST = 5
_MOST_FIELDS = 5
# Gives rows to response models.
_READS_ROWS = "querywright.fetching.decode."
_OF_DATABASES = (StatementError, SATimeoutError)


class Reported(Exception):
    """Stands in a traceback for an error of a database or of its rows, with what may be told of it."""


def report_of(error: BaseException) -> str:
    """Return in one line what an operator may read of an error; of one that is nobody's here, only its class.

    Example:
        >>> report_of(ValueError("a value"))
        'ValueError'
    """
    name = type(error).__name__
    if isinstance(error, QuerywrightError):
        cause = error.__cause__
        return f"{name}: {error}" + (f" Cause: {report_of(cause)}" if isinstance(cause, DBAPIError) else "")
    if isinstance(error, DBAPIError):
        return f"{name}: {diagnose(error)}"
    if isinstance(error, StatementError):
        # Raised by a type's processor before the statement was sent, and about a value.
        return f"{name}: {type(error.orig).__name__} before the statement was sent"
    if isinstance(error, SATimeoutError):
        return f"{name}: {classify(error)}"
    if isinstance(error, ValidationError):
        return f"{name}: {error.title}: {'; '.join(_mismatches(error))}"
    members = _members(error)
    return f"{name}: {'; '.join(map(report_of, members))}" if members else name


def _mismatches(error: ValidationError) -> list[str]:
    """List the fields that a model has refused and why, without what was in them; a path may go on with a key."""
    told = error.errors(include_url=False, include_context=False, include_input=False)
    fields = (next((part for part in each["loc"] if isinstance(part, str)), "the whole") for each in told)
    lines = dict.fromkeys(f"{field} ({each['type']})" for field, each in zip(fields, told, strict=True))
    return [*lines][:_MOST_FIELDS]


def lines_of(error: BaseException) -> str:
    """Write the lines of the application through which an error has come; the source, without any values."""
    frames = extract_tb(own_frames(error.__traceback__))
    return "".join(
        f'\n  File "{each.filename}", line {each.lineno}, in {each.name}\n    {each.line}' for each in frames
    )


def reported(error: BaseException) -> BaseException:
    """Put reports in the place of errors of a database and its rows, wherever they are in what has led to an error.

    A server logs what leaves its application whole: with the statement, with the rows that a driver cites of it, and
    with the way through all libraries, of which only the lines of the application are left.

    Returns:
        The error, changed; a report in its place if it is one of a database itself.
    """
    return _reported(error, {}) if _is_told(error, set()) else error


def _is_told(error: BaseException | None, seen: set[int]) -> bool:
    if error is None or id(error) in seen:
        return False
    seen.add(id(error))
    behind = (error.__cause__, error.__context__, *_members(error))
    # Of our own errors a traceback tells nothing that they do not say themselves.
    return isinstance(error, QuerywrightError) or _has_values(error) or any(_is_told(each, seen) for each in behind)


def _has_values(error: BaseException) -> bool:
    """Return whether an error may cite values of rows: a database's, and a model's that was given a row by a fetch."""
    if not isinstance(error, ValidationError):
        return isinstance(error, _OF_DATABASES)
    frames = walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__", "").startswith(_READS_ROWS) for frame, _ in frames)


def _reported(error: BaseException, known: dict[int, BaseException]) -> BaseException:
    if id(error) in known:
        return known[id(error)]
    if _has_values(error):
        kept: BaseException = Reported(report_of(error))
        known[id(error)] = kept
        return kept.with_traceback(own_frames(error.__traceback__))
    cause, context, suppressed = error.__cause__, error.__context__, error.__suppress_context__
    kept = error
    if members := _members(error):
        group: Any = error
        kept = group.derive([_reported(each, known) for each in members])
    known[id(error)] = kept
    kept.__traceback__ = own_frames(error.__traceback__)
    kept.__cause__ = None if cause is None else _reported(cause, known)
    kept.__context__ = None if context is None else _reported(context, known)
    kept.__suppress_context__ = suppressed
    return kept


def _members(error: BaseException) -> tuple[BaseException, ...]:
    """List the errors of a group; not by its class, which Python has from 3.11 on."""
    members = getattr(error, "exceptions", None)
    return members if isinstance(members, tuple) and hasattr(error, "derive") else ()


def own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Keep of a traceback the innermost frames that belong to the application."""
    own = []
    while trace is not None:
        module: str = trace.tb_frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in _LIBRARIES:
            own.append(trace)
        trace = trace.tb_next
    kept: TracebackType | None = None
    for each in reversed(own[-_INNERMOST:]):
        kept = TracebackType(kept, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return kept
