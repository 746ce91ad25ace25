"""Work on an engine that the application has made: on its pool, and without a change for those who use it as it is."""

from __future__ import annotations

from sqlalchemy import Engine, QueuePool
from sqlalchemy.ext.asyncio import AsyncEngine

from querywright.engine.dialect import parse_url
from querywright.engine.fork import forget_in_child
from querywright.engine.memory import is_memory
from querywright.engine.mysql import install_mysql
from querywright.engine.reset import install_replacing
from querywright.engine.sqlite import install_sqlite_begin
from querywright.engine.statements import install_timing
from querywright.engine.transactions import install_transactions
from querywright.engine.values import install_values
from querywright.errors import ConfigurationError

__all__ = ["adopt", "adopt_async"]


def adopt(engine: Engine | AsyncEngine) -> Engine:
    """Make an engine for `Database` of one of the application, with the same pool.

    What Querywright promises of transactions and errors holds on it. How connections are opened, tested and limited
    stays the application's own.

    Raises:
        ConfigurationError: Its driver is not supported, or each of its connections has a database of its own.
    """
    if isinstance(engine, AsyncEngine):
        raise _of_the_other_kind("AsyncEngine", "AsyncDatabase")
    _require_usable(engine, asynchronous=False)
    return _adopted(engine)


def adopt_async(engine: Engine | AsyncEngine) -> AsyncEngine:
    """Make an engine for `AsyncDatabase` of one of the application, as `adopt` does."""
    if isinstance(engine, Engine):
        raise _of_the_other_kind("Engine", "Database")
    _require_usable(engine.sync_engine, asynchronous=True)
    return AsyncEngine(_adopted(engine.sync_engine))


def _of_the_other_kind(kind: str, owner: str) -> ConfigurationError:
    return ConfigurationError(f"An engine of the class {kind} was given.", hint=f"Give it to {owner}.")


def _require_usable(engine: Engine, *, asynchronous: bool) -> None:
    parse_url(engine.url, asynchronous=asynchronous)
    if is_memory(engine.url) and not isinstance(engine.pool, QueuePool):
        message = f"From a {type(engine.pool).__name__} all get one connection, or each thread an empty database."
        hint = f"Give the URL {engine.url.drivername}:///:memory: instead of an engine."
        raise ConfigurationError(message, hint=hint)


def _adopted(engine: Engine) -> Engine:
    # Shares pool and dialect; who listens to its connections does not hear those of the application.
    ours = engine.execution_options()
    install_timing(ours)
    install_transactions(ours)
    install_values(ours)
    if ours.dialect.name == "sqlite":
        # Who listens here begins by hand, as SQLAlchemy's guide tells, and twice is an error.
        if not engine.dispatch.begin:
            install_sqlite_begin(ours)
    elif ours.dialect.name in {"mysql", "mariadb"}:
        install_mysql(ours)
    install_replacing(ours)
    forget_in_child(ours)
    return ours
