"""Translate what asyncpg raises where SQLAlchemy does not."""

from __future__ import annotations

import asyncio
from typing import Any

from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresError
from sqlalchemy import Connection, ExceptionContext
from sqlalchemy.exc import DBAPIError

__all__ = ["translate"]


def translate(context: ExceptionContext) -> DBAPIError | None:
    """Report what would pass SQLAlchemy unseen: a call without an answer, and asyncpg's own errors.

    The server ends a statement before its limit, so where there is no answer there is no connection. SQLAlchemy does
    not translate what goes wrong while rows are read from a server's cursor.
    """
    error, connection = context.original_exception, context.connection
    if connection is None:
        return None
    dbapi: Any = context.dialect.loaded_dbapi
    if isinstance(error, asyncio.TimeoutError):
        context.is_disconnect = True
        _terminate(connection)
        failure = dbapi.OperationalError("the server did not answer in time")
    elif isinstance(error, (PostgresError, InterfaceError, InternalClientError)):
        adapted: Any = connection.connection.dbapi_connection
        context.is_disconnect = adapted.driver_connection.is_closed()
        failure = _translated(adapted, error)
    else:
        return None
    return DBAPIError.instance(  # type: ignore[no-any-return]
        context.statement,
        context.parameters,
        failure,
        dbapi.Error,
        hide_parameters=True,
        connection_invalidated=context.is_disconnect,
        dialect=context.dialect,
    )


def _translated(adapted: Any, error: Exception) -> BaseException:
    try:
        adapted._handle_exception(error)  # noqa: SLF001 - the only translation of a driver's errors
    except Exception as translated:  # noqa: BLE001 - whatever it is, SQLAlchemy wraps it
        return translated
    return error


def _terminate(connection: Connection) -> None:
    """Close the socket at once: SQLAlchemy would first wait for a polite goodbye."""
    if not connection.invalidated:
        driver: Any = connection.connection.driver_connection
        driver.terminate()
