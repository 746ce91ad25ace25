"""A database for synchronous code: an engine, sessions and transactions with safe defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

from sqlalchemy import URL, Engine, Select, text
from sqlalchemy.orm import Session as SQLAlchemySession
from typing_extensions import Self

from querywright.engine.create import create_sync_engine
from querywright.engine.dialect import AUTOCOMMIT_OPTIONS, READ_ONLY_OPTIONS
from querywright.errors import TransactionLost
from querywright.fetch import Fetch
from querywright.fetch import fetch as fetch_from
from querywright.fetch.cursors import use_secret
from querywright.fetch.form import Strategy
from querywright.session.sessions import Session
from querywright.settings import DatabaseSettings

__all__ = ["Database", "require_active", "settings_from"]

Model = TypeVar("Model")


def settings_from(source: str | URL | DatabaseSettings | None, options: dict[str, Any]) -> DatabaseSettings:
    """Make settings of what a database was given: a URL with options, settings, or nothing but the environment."""
    if isinstance(source, DatabaseSettings):
        return source.model_copy(update=DatabaseSettings(url=source.url, **options).model_dump(include=set(options)))
    if isinstance(source, URL):
        source = source.render_as_string(hide_password=False)
    return DatabaseSettings(**options) if source is None else DatabaseSettings(url=source, **options)


def require_active(session: SQLAlchemySession) -> None:
    """Refuse to end a transaction well that a failed flush has rolled back: SQLAlchemy would skip the COMMIT.

    Raises:
        TransactionLost: It has been rolled back.
    """
    if not session.is_active:
        message = "A statement failed and the error was caught, but the whole transaction was rolled back with it."
        raise TransactionLost(message, hint="Let the error out, or try the statement inside begin_nested().")


class Database:
    """One database, for synchronous code; open it once and share it between threads.

    Args:
        source: A URL with an explicit driver, or `DatabaseSettings`; by default the environment.
        options: Fields of `DatabaseSettings`, such as ``pool_size=10``.

    Raises:
        ConfigurationError: The URL or an option cannot work.

    Example:
        >>> from sqlalchemy import text
        >>> with Database("sqlite+pysqlite:///:memory:") as db:
        ...     with db.transaction() as tx:
        ...         tx.scalar(text("SELECT 1"))
        1
    """

    def __init__(self, source: str | URL | DatabaseSettings | None = None, /, **options: Any) -> None:
        self.settings = settings_from(source, options)
        self.engine: Engine = create_sync_engine(self.settings)
        if self.settings.cursor_secret:
            use_secret(self.engine, self.settings.cursor_secret.get_secret_value())
        self._read_only = self.engine.execution_options(**READ_ONLY_OPTIONS[self.engine.dialect.name])

    def session(self, *, read_only: bool = False) -> Session:
        """Open a session; nothing is committed unless you call ``commit()``.

        Args:
            read_only: Let the database refuse every write. On SQLite, a session that is not read-only waits for
                other writers with its first statement, even if that only reads.
        """
        return Session(self._read_only if read_only else self.engine, expire_on_commit=False)

    @contextmanager
    def transaction(self, *, read_only: bool = False) -> Iterator[Session]:
        """Run a block in one transaction: committed at its end, rolled back if it raises.

        Args:
            read_only: Let the database refuse every write.

        Raises:
            TransactionLost: A statement failed and the block ignored it.
        """
        with self.session(read_only=read_only) as session, session.begin():
            yield session
            require_active(session)

    def fetch(
        self,
        model: type[Model],
        statement: Select[Any],
        parameters: Mapping[str, Any] | None = None,
        *,
        fields: str | None = None,
        strategy: Strategy = "auto",
    ) -> Fetch[Model]:
        """Fetch rows in the shape of a response model, on a connection lent for one statement.

        See `querywright.fetch`.
        """
        return fetch_from(self.engine, model, statement, parameters, fields=fields, strategy=strategy)

    def ping(self) -> None:
        """Make one round trip to the database.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: It did not answer.
        """
        with self.engine.connect() as connection:
            connection.execution_options(**AUTOCOMMIT_OPTIONS[self.engine.dialect.name])
            connection.execute(text("SELECT 1"))

    def dispose(self) -> None:
        """Close the idle connections; those in use are closed when they come back."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        """Return the database itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self.dispose()

    def __repr__(self) -> str:
        """Show the URL without its password, and without its query, which may hold another."""
        return f"{type(self).__name__}({self.engine.url.set(query={})!r})"
