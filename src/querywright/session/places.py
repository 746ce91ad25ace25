"""Name the line of the user's code that runs now, for errors about what happened earlier."""

from __future__ import annotations

import sys
from functools import cache
from types import FrameType

__all__ = ["here"]

# Between the end of a block and the code that has it.
_BETWEEN = ("querywright.", "sqlalchemy.", "contextlib", "asyncio.", "anyio.", "concurrent.")


@cache
def _is_between(module: str) -> bool:
    return f"{module}.".startswith(_BETWEEN)


def here() -> str:
    """Return the file and line of the innermost code that is neither ours nor of what we are called through."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the only way that does not read source files
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("fastapi."):
            return "the end of a request, before its response was sent"
        if not _is_between(module):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
        frame = frame.f_back
    return "the end of its thread"
