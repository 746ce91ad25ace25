"""Work on an engine that the application has made: on its pool, and without a change for those who use it as it is."""

from __future__ import annotations

from sqlalchemy import Engine, QueuePool
from sqlalchemy.ext.asyncio import AsyncEngine

from querywright.engine.databases.lookup import backend_of
from querywright.engine.databases.values import install_values
from querywright.engine.drivers.lookup import parse_url
from querywright.engine.pool.fork import forget_in_child
from querywright.engine.pool.reset import install_replacing
from querywright.engine.statements.observation import install_timing
from querywright.engine.statements.transactions import install_transactions
from querywright.errors import ConfigurationError

__all__ = ["adopt", "adopt_async"]


def adopt(engine: Engine | AsyncEngine) -> Engine:
    """Make an engine for `Database` of one of the application, with the same pool.

    What Querywright promises of transactions and errors holds on it. How connections are opened, tested and limited
    stays the application's own.

    Raises:
        ConfigurationError: Its driver is not supported, each of its connections has a database of its own, or it has
            options that would win over those of a transaction.
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
    # Its URL may leave the driver to SQLAlchemy.
    name = f"{engine.dialect.name}+{engine.dialect.driver.removesuffix('_async')}"
    parse_url(engine.url.set(drivername=name), asynchronous=asynchronous)
    backend = backend_of(engine.dialect)
    # SQLAlchemy sets those of an engine after those of an engine that is derived from it.
    if options := backend.of_transactions & engine.get_execution_options().keys():
        message = f"The engine has the execution option {min(options)!r}, which would win over a transaction's own."
        hint = "Leave it out, or give a default level to create_engine(isolation_level=...)."
        raise ConfigurationError(message, hint=hint)
    if backend.is_in_memory(engine.url) and not isinstance(engine.pool, QueuePool):
        message = f"From a {type(engine.pool).__name__} all get one connection, or each thread an empty database."
        hint = f"Give the URL {engine.url.drivername}:///:memory: instead of an engine."
        raise ConfigurationError(message, hint=hint)


def _adopted(engine: Engine) -> Engine:
    # Shares pool and dialect; who listens to its connections does not hear those of the application.
    ours = engine.execution_options()
    install_timing(ours)
    install_transactions(ours)
    install_values(ours)
    backend_of(ours.dialect).install_adopted(ours, others=bool(engine.dispatch.begin))
    install_replacing(ours)
    forget_in_child(ours)
    return ours
