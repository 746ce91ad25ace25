"""What a client asked for cannot be had."""

from __future__ import annotations

from querywright.errors.base import QuerywrightError

__all__ = [
    "InvalidCursor", "InvalidPage", "InvalidRequest", "KeyReused", "PreconditionFailed", "PreconditionRequired",
    "UnknownFields",
]  # fmt: skip


class InvalidRequest(QuerywrightError):
    """What a client asked for cannot be had; the message is safe to show.

    Args:
        message: What is wrong with it, in one sentence.
        hint: What to do about it.
        location: Which part of the request, such as ``("header", "If-Match")``; empty where that is not known.
    """

    def __init__(self, message: str, *, hint: str = "", location: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.location = location


class InvalidCursor(InvalidRequest):
    """A cursor was changed on its way, or forged, or belongs to a list in another order."""


class KeyReused(InvalidRequest):
    """An idempotency key cannot be used, or stands for another request."""


class InvalidPage(InvalidRequest):
    """A page size or number is out of bounds."""


class PreconditionFailed(InvalidRequest):
    """What a client read is no longer there as it was read: its entity tag does not match."""


class PreconditionRequired(InvalidRequest):
    """A client has to say which version it means to change."""


class UnknownFields(InvalidRequest):
    """A client asked for fields that the response model does not have.

    Args:
        unknown: What was asked for.
        allowed: What can be asked for.
    """

    def __init__(self, unknown: tuple[str, ...], allowed: tuple[str, ...]) -> None:
        message = f"There is no field {' or '.join(map(repr, unknown))}."
        super().__init__(message, hint=f"There are {', '.join(allowed)}.")
        self.unknown = unknown
        self.allowed = allowed
