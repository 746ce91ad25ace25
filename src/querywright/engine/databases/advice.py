"""What to do about an error that one setting would have spared: said in SQLAlchemy's error, and so by `classify`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.exc import StatementError

__all__ = ["advice_in", "install_advice"]

_POOLER = (
    "Behind PgBouncer, or another pooler that lends its connections for one transaction at a time, set"
    " pooler='pgbouncer' (QUERYWRIGHT_POOLER=pgbouncer)."
)
_REFUSED = (
    "The server takes no TLS: turn it on there, or write sslmode=disable into the database URL if the network between"
    " is closed to others."
)
_AUTHORITY = (
    "The server's certificate is not trusted: it must be valid, and of an authority that the system knows or that"
    " sslrootcert=/path/to/ca.pem in the database URL names."
)
_NAME = (
    "The server's certificate is for another name: connect by a name that is in it, or trust its authority alone, by"
    " sslmode=verify-ca and sslrootcert=/path/to/ca.pem in the database URL."
)

# Statements prepared under a name on another server, and what PgBouncer does not understand; 08P01 is both.
_POOLER_STATES = frozenset({"08P01", "26000", "42P05"})
_POOLER_WORDS = "unsupported startup parameter"
# In the words of libpq, of Python's ssl, of asyncpg and of our own; the first that is found counts.
_TLS_WORDS = (
    ("does not match host name", _NAME),
    ("mismatch, certificate is not valid for", _NAME),
    ("certificate verify failed", _AUTHORITY),
    ("root certificate file", _AUTHORITY),
    ("server does not support SSL", _REFUSED),
    ("rejected SSL upgrade", _REFUSED),
    ("the server offers no TLS", _REFUSED),
)


class _Advice(str):
    """Our words among the details of an error."""

    __slots__ = ()


def install_advice(engine: Engine, *, pooled: bool) -> None:
    """Add to the errors of an engine which setting is missing.

    Args:
        engine: The engine, with the listeners that translate errors.
        pooled: Whether the setting for a pooler is there.
    """
    event.listen(engine, "handle_error", partial(_advise, pooled=pooled))


def advice_in(error: StatementError) -> str:
    """Return what was added to an error; empty if nothing was."""
    return " ".join(detail for detail in error.detail if isinstance(detail, _Advice))


def _advise(context: ExceptionContext, *, pooled: bool) -> None:
    # There only where another listener has replaced it.
    error = getattr(context, "chained_exception", None) or context.sqlalchemy_exception
    advice = _advice(context.original_exception, pooled=pooled)
    if advice and isinstance(error, StatementError):
        error.add_detail(_Advice(advice))


def _advice(original: Any, *, pooled: bool) -> str:
    """Choose by SQLSTATE; a connection that never came about has none, but words."""
    words = " ".join(map(str, _causes(original)))
    state = getattr(original, "sqlstate", None)
    if state in _POOLER_STATES or (state is None and _POOLER_WORDS in words):
        return "" if pooled else _POOLER
    return next((advice for said, advice in _TLS_WORDS if state is None and said in words), "")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """List an error and what it came from; PyMySQL keeps that by a name of its own."""
    while error is not None:
        yield error
        error = error.__cause__ or getattr(error, "original_exception", None)
