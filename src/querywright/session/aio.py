"""A database for asyncio: the same names as `Database`, to await."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar

from sqlalchemy import URL, Select, text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from typing_extensions import Self

from querywright.engine.create import create_async_engine
from querywright.engine.dialect import AUTOCOMMIT_OPTIONS, READ_ONLY_OPTIONS
from querywright.fetch import AsyncFetch
from querywright.fetch import fetch as fetch_from
from querywright.fetch.cursors import use_secret
from querywright.fetch.form import Strategy
from querywright.session.database import require_active, settings_from
from querywright.session.sessions import AsyncSession
from querywright.settings import DatabaseSettings

__all__ = ["AsyncDatabase"]

Model = TypeVar("Model")


class AsyncDatabase:
    """One database, for asyncio; open it once per event loop and share it between tasks.

    Args:
        source: A URL with an explicit driver, or `DatabaseSettings`; by default the environment.
        options: Fields of `DatabaseSettings`, such as ``pool_size=10``.

    Raises:
        ConfigurationError: The URL or an option cannot work.

    Example:
        >>> import asyncio
        >>> from sqlalchemy import text
        >>> async def main():
        ...     async with AsyncDatabase("sqlite+aiosqlite:///:memory:") as db:
        ...         async with db.transaction() as tx:
        ...             return await tx.scalar(text("SELECT 1"))
        >>> asyncio.run(main())
        1
    """

    def __init__(self, source: str | URL | DatabaseSettings | None = None, /, **options: Any) -> None:
        self.settings = settings_from(source, options)
        self.engine: AsyncEngine = create_async_engine(self.settings)
        if self.settings.cursor_secret:
            use_secret(self.engine.sync_engine, self.settings.cursor_secret.get_secret_value())
        self._read_only = self.engine.execution_options(**READ_ONLY_OPTIONS[self.engine.dialect.name])

    def session(self, *, read_only: bool = False) -> AsyncSession:
        """Open a session; nothing is committed unless you call ``commit()``.

        Args:
            read_only: Let the database refuse every write. On SQLite, a session that is not read-only waits for
                other writers with its first statement, even if that only reads.
        """
        return AsyncSession(self._read_only if read_only else self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self, *, read_only: bool = False) -> AsyncIterator[AsyncSession]:
        """Run a block in one transaction: committed at its end, rolled back if it raises.

        Args:
            read_only: Let the database refuse every write.

        Raises:
            TransactionLost: A statement failed and the block ignored it.
        """
        bind = self._read_only if read_only else self.engine
        # Of SQLAlchemy's ways to commit, only this one is finished when a cancellation arrives in the middle.
        async with async_sessionmaker(bind, class_=AsyncSession, expire_on_commit=False).begin() as session:
            yield session
            require_active(session.sync_session)

    def fetch(
        self,
        model: type[Model],
        statement: Select[Any],
        parameters: Mapping[str, Any] | None = None,
        *,
        fields: str | None = None,
        strategy: Strategy = "auto",
    ) -> AsyncFetch[Model]:
        """Fetch rows in the shape of a response model, on a connection lent for one statement.

        See `querywright.fetch`.
        """
        return fetch_from(self.engine, model, statement, parameters, fields=fields, strategy=strategy)

    async def ping(self) -> None:
        """Make one round trip to the database.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: It did not answer.
        """
        async with self.engine.connect() as connection:
            await connection.execution_options(**AUTOCOMMIT_OPTIONS[self.engine.dialect.name])
            await connection.execute(text("SELECT 1"))

    async def dispose(self) -> None:
        """Close the idle connections; those in use are closed when they come back."""
        await self.engine.dispose()

    async def __aenter__(self) -> Self:
        """Return the database itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        await self.dispose()

    def __repr__(self) -> str:
        """Show the URL without its password, and without its query, which may hold another."""
        return f"{type(self).__name__}({self.engine.url.set(query={})!r})"
