"""Call an application's code for an expression, and stop it where it would go on for ever.

On a mapped class an attribute is an expression: ``for tag in self.tags`` over a column of the type ARRAY or JSON asks
it for the elements 0, 1, 2 and so on, and ``while self.level != 0`` never ends.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["EndlessExpression", "bounded"]

# Lines of Python, those of SQLAlchemy as well: a CASE of a thousand branches takes about 300,000.
_MOST_LINES = 2_000_000


class EndlessExpression(RuntimeError):
    """An expression took more work than any expression does."""


class _Stop(BaseException):
    """Passes what catches every Exception."""


def bounded(make: Callable[[], Any]) -> Any:
    """Return what a function makes.

    Raises:
        EndlessExpression: It ran too long.
    """
    left = _MOST_LINES

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left < 0:
                raise _Stop
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return make()
    except _Stop:
        raise EndlessExpression(f"it does not end within {_MOST_LINES:,} lines of Python") from None
    finally:
        sys.settrace(before)
