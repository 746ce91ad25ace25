"""What databases of both kinds have in common: settings, an engine for each kind of transaction, a retry budget."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Generic, TypeVar

from pydantic import SecretStr
from sqlalchemy import URL, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from querywright.engine.databases.errors import sqlstate_of
from querywright.engine.databases.lookup import backend_of
from querywright.errors import ConfigurationError, DatabaseError
from querywright.events import UnitRetried, emit
from querywright.fetching.pages.cursors import use_cursor_secret
from querywright.session.transactions.nesting import surrounding
from querywright.session.transactions.options import TransactionOptions
from querywright.session.units.idempotency import IdempotencyKey
from querywright.session.units.retry import Attempts, RetryBudget, RetryPolicy, leaves
from querywright.session.units.turns import Turns
from querywright.settings import DatabaseSettings

__all__ = ["BaseDatabase", "pause_after", "settings_from", "settings_of_engine"]

AnyEngine = TypeVar("AnyEngine", Engine, AsyncEngine)
# Settings that are none of an engine.
_BESIDE_ENGINE = frozenset({"cursor_secret", "hook_timeout"})


class BaseDatabase(Generic[AnyEngine]):
    """One database: its settings and its engine.

    Args:
        settings: What to connect to, and how.
        engine: The engine made of them, or one of the application.
        lent: Whether the application has made the engine, and closes it.

    Attributes:
        turns: Who in this process has which idempotency key.
    """

    settings: DatabaseSettings
    engine: AnyEngine
    turns: Turns

    def _open(self, settings: DatabaseSettings, engine: AnyEngine, *, lent: bool) -> None:
        self.settings = settings
        self.engine = engine
        self._lent = lent
        self.turns = Turns(settings.lock_timeout or None)
        self._budget = RetryBudget()
        self._binds: dict[TransactionOptions, AnyEngine] = {}
        self._beside: AnyEngine | None = None
        if settings.cursor_secret:
            use_cursor_secret(engine, settings.cursor_secret.get_secret_value())

    def _beside_options(self, source: object, options: dict[str, Any]) -> dict[str, Any]:
        """Add what a database in a test has in common with this one: who pages by hidden columns needs the secret."""
        if self.settings.cursor_secret is None or isinstance(source, DatabaseSettings):
            return options
        return {"cursor_secret": self.settings.cursor_secret.get_secret_value(), **options}

    @contextmanager
    def _swapped(self, other: BaseDatabase[AnyEngine]) -> Iterator[None]:
        """Be another database, also for whoever has taken this object long ago."""
        surrounding(self, None, TransactionOptions())
        mine = dict(vars(self))
        vars(self).update(vars(other))
        try:
            yield
        finally:
            vars(self).update(mine)

    def _bind(self, options: TransactionOptions) -> AnyEngine:
        """Return the engine whose connections begin transactions in this way."""
        limit = self.settings.statement_timeout
        if limit and options.timeout is not None and options.timeout > limit:
            message = f"A transaction of {options.timeout} seconds would outlive statement_timeout, which is {limit}."
            raise ConfigurationError(message, hint="Open a database of its own for long work, with a larger one.")
        key = options if options.timeout is None else replace(options, timeout=None)
        if key not in self._binds:
            chosen = key.execution_options(backend_of(self.engine.dialect))
            self._binds[key] = self.engine.execution_options(**chosen) if chosen else self.engine
        return self._binds[key]

    def _engine_beside(self, create: Callable[[DatabaseSettings], AnyEngine]) -> AnyEngine:
        """Return an engine of one connection that nobody else waits for."""
        if self._lent or backend_of(self.engine.dialect).is_in_memory(self.engine.url):
            return self.engine
        if self._beside is None:
            self._beside = create(self.settings.model_copy(update={"pool_size": 1, "max_overflow": 0}))
        return self._beside

    def _own_engines(self) -> Iterator[AnyEngine]:
        if not self._lent:
            yield self.engine
        if self._beside is not None:
            yield self._beside

    def _attempts(self, attempts: int, deadline: float, also: Collection[str], key: IdempotencyKey | None) -> Attempts:
        if attempts < 1:
            raise ConfigurationError(f"A unit of work needs at least 1 attempt, not {attempts}.")
        if not deadline >= 0:
            raise ConfigurationError(f"The deadline of a unit of work is {deadline} seconds.", hint="Write 0 or more.")
        if key is not None and not isinstance(key, IdempotencyKey):
            message = f"A unit of work cannot use this {type(key).__name__} as its key."
            raise ConfigurationError(message, hint='Write key=keys("..."), where keys = IdempotencyKeys(metadata).')
        if isinstance(also, str):
            raise ConfigurationError(f"also={also!r} is one text.", hint=f"Write also={{{also!r}}}.")
        idle = self.settings.idle_in_transaction_timeout
        return Attempts(RetryPolicy(attempts, deadline, also, keyed=key is not None, idle=idle), self._budget)

    def __repr__(self) -> str:
        """Show the URL without its password, and without its query, which may hold another."""
        return f"{type(self).__name__}({self.engine.url.set(query={})!r})"


def pause_after(attempts: Attempts, error: Exception, work: Any) -> float | None:
    """Return how long to wait before a unit of work is run again, and tell subscribers; ``None`` if it is not."""
    pause = attempts.pause_after(error)
    if pause is not None:
        first = leaves(error)[0]
        state = first.sqlstate if isinstance(first, DatabaseError) else sqlstate_of(getattr(first, "orig", None))
        emit(UnitRetried(getattr(work, "__qualname__", repr(work)), attempts.made, state, pause))
    return pause


def settings_of_engine(engine: Engine | AsyncEngine, options: dict[str, Any]) -> DatabaseSettings:
    """Make settings for an engine of the application, which has decided most of them itself.

    Raises:
        ConfigurationError: An option is one of those.
    """
    if decided := sorted(options.keys() - _BESIDE_ENGINE):
        message = f"{decided[0]!r} cannot be set for an engine that is made already."
        raise ConfigurationError(
            message, hint=f"Give it to create_engine(). Beside an engine there are {', '.join(sorted(_BESIDE_ENGINE))}."
        )
    # How long its statements may run is not known.
    return DatabaseSettings(url=engine.url.render_as_string(hide_password=False), statement_timeout=0, **options)


def settings_from(source: str | URL | DatabaseSettings | None, options: dict[str, Any]) -> DatabaseSettings:
    """Make settings of what a database was given: a URL with options, settings, or nothing but the environment."""
    if isinstance(source, DatabaseSettings):
        given = DatabaseSettings(url=source.url, **options)
        return source.model_copy(update={name: getattr(given, name) for name in options})
    if isinstance(source, URL):
        source = source.render_as_string(hide_password=False)
    if source is None:
        return DatabaseSettings(**options)
    if not isinstance(source, (str, SecretStr)):
        hint = "Give it a URL, DatabaseSettings or an engine; without any, QUERYWRIGHT_URL or DATABASE_URL is read."
        raise ConfigurationError(f"A database cannot be made of this {type(source).__name__}.", hint=hint)
    return DatabaseSettings(url=source, **options)
