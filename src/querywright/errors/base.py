"""The root of all errors, and those that are found before a statement is run."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires
from typing import Any

__all__ = ["ConfigurationError", "InvalidRow", "MissingExtra", "QuerywrightError", "ShapeError"]


class QuerywrightError(Exception):
    """The root of all errors raised by Querywright.

    Args:
        message: What happened and where, in one sentence.
        hint: What to do about it; empty when there is nothing to add.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} {hint}" if hint else message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a process pool carry it: it is made again of what it holds, not by its ``__init__``."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[QuerywrightError], args: tuple[Any, ...], state: dict[str, Any]) -> QuerywrightError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ConfigurationError(QuerywrightError):
    """A setting, environment variable, URL or argument cannot work as it stands."""


class MissingExtra(ConfigurationError, ImportError):
    """An optional package is not installed, or cannot be imported.

    Args:
        package: The package that could not be found.
        extra: The extra of Querywright that it belongs to.
    """

    def __init__(self, package: str, extra: str) -> None:
        message = f"The package {package!r} of the extra {extra!r} is not installed, or cannot be imported."
        wanted = " ".join(f"'{each}'" for each in _requirements(extra) or (package,))
        # Not the extra itself: who has Querywright from a clone cannot have it from an index.
        super().__init__(message, hint=f"Run: pip install {wanted}")
        self.package = package
        self.extra = extra


def _requirements(extra: str) -> list[str]:
    """List what an extra consists of, as the installed package knows it."""
    try:
        known = requires("querywright") or []
    except PackageNotFoundError:
        return []
    parted = (each.partition(";") for each in known)
    return [wanted.strip() for wanted, _, marker in parted if marker.replace('"', "'").strip() == f"extra == '{extra}'"]


class ShapeError(QuerywrightError):
    """A response model does not fit the mapped class it is fetched from.

    Args:
        path: The field, from the root model: ``UserOut.posts[].title``.
        reason: What is wrong with it.
        hint: What to write instead.
    """

    def __init__(self, path: str, reason: str, *, hint: str = "") -> None:
        super().__init__(f"{path}: {reason}", hint=hint)
        self.path = path
        self.reason = reason


class InvalidRow(QuerywrightError):
    """A row does not fit the response model: it lacks a value that the model requires.

    Args:
        path: The model or field that could not be filled.
    """

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path}: a row holds no value, or one that its type does not have, where the model requires one.",
            hint="Make the field optional, or repair the row.",
        )
        self.path = path
