"""Connection options, from code or the environment: validated once, frozen, never printing a secret."""

from __future__ import annotations

import os
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from querywright.errors import ConfigurationError

__all__ = ["LEAST_SECRET", "RANDOM_TEXT", "DatabaseSettings"]

# How to make one.
RANDOM_TEXT = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'
# Who has a cursor can try secrets on it for as long as he likes.
LEAST_SECRET = 16

_EXAMPLES = {
    "url": "postgresql+asyncpg://user:password@localhost:5432/app",
    "pool_size": "10",
    "max_overflow": "5",
    "pool_timeout": "5",
    "max_streams": "5",
    "pool_recycle": "1800",
    "ping_after_idle": "0.5",
    "connect_timeout": "5",
    "statement_timeout": "30",
    "lock_timeout": "10",
    "idle_in_transaction_timeout": "60",
    "busy_timeout": "5",
    "hook_timeout": "10",
    "reset_on_return": "always",
    "pooler": "pgbouncer",
    "cursor_secret": f"what {RANDOM_TEXT} prints",
    "application_name": "shop-api",
    "echo": "true",
    "connect_args": '{"ssl": true}',
}

# Arguments of create_engine().
_OF_SQLALCHEMY = frozenset(
    {
        "async_creator", "creator", "echo_pool", "enable_from_linting", "execution_options", "hide_parameters",
        "insertmanyvalues_page_size", "isolation_level", "json_deserializer", "json_serializer", "label_length",
        "logging_name", "max_identifier_length", "module", "paramstyle", "plugins", "query_cache_size",
        "skip_autocommit_rollback", "use_insertmanyvalues",
    }
)  # fmt: skip


class DatabaseSettings(BaseSettings):
    """What a `Database` needs to know; each field is also an environment variable.

    ``url`` is read from ``QUERYWRIGHT_URL`` or ``DATABASE_URL``, any other field from its name in
    upper case behind ``QUERYWRIGHT_``. Arguments win over the environment.

    Attributes:
        url: Database URL with an explicit driver. A server that is not local has to prove its name by TLS, unless
            ``sslmode=`` in the URL says otherwise; ``sslrootcert=`` is the file of its authority.
        pool_size: Connections kept open.
        max_overflow: Connections opened above ``pool_size`` under load, closed when they come back.
        pool_timeout: Seconds to wait for a free connection before `PoolTimeout`.
        max_streams: Streams that may be read at once, each on a connection of its own; another one waits for
            ``pool_timeout`` seconds before `TooManyStreams`. By default half of ``pool_size`` plus ``max_overflow``.
        pool_recycle: Seconds after which a connection is replaced at its next use.
        ping_after_idle: A connection idle for longer than this many seconds is tested before use.
        connect_timeout: Seconds to open a connection (PostgreSQL).
        statement_timeout: Seconds one statement may run (PostgreSQL); 0 means no limit.
        lock_timeout: Seconds one statement may wait for a lock (PostgreSQL), and a unit of work for an idempotency key
            that is in use; 0 means no limit.
        idle_in_transaction_timeout: Seconds an open transaction may do nothing (PostgreSQL); 0 means no limit.
        busy_timeout: Seconds to wait for another writer (SQLite).
        hook_timeout: Seconds that a function given to ``on_commit`` or ``on_rollback`` may take.
        reset_on_return: When a connection that comes back is reset to its initial state: if a statement of its user
            has ``changed`` the session (SET, advisory lock, LISTEN, temporary table, PRAGMA, ATTACH and the like), or
            ``always``, for one round trip more, where functions of the database change it.
        pooler: The pooler between here and PostgreSQL, if it lends its connections for one transaction at a time. It
            takes no settings for a connection: set ``statement_timeout`` and the like for the role, by ALTER ROLE.
        cursor_secret: What the cursors of pages are encrypted and signed with, the same for all workers; 16 characters
            at least, better 43 random ones. Without it, a page is refused that is ordered by what its model hides.
        application_name: The name shown in ``pg_stat_activity`` (PostgreSQL).
        echo: Whether SQLAlchemy logs each statement that goes through it; never the values.
        connect_args: More arguments of the driver's ``connect()``, which win over those that settings stand for.

    Raises:
        ConfigurationError: A value is missing or wrong; every bad variable is named at once.

    Example:
        >>> settings = DatabaseSettings(url="sqlite+aiosqlite:///blog.db", pool_size=2)
        >>> settings.pool_size, settings.statement_timeout
        (2, 30.0)
    """

    model_config = SettingsConfigDict(
        env_prefix="QUERYWRIGHT_",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    url: SecretStr
    pool_size: int = Field(default=5, ge=1)
    max_overflow: int = Field(default=10, ge=0)
    pool_timeout: float = Field(default=10.0, gt=0)
    max_streams: int | None = Field(default=None, ge=1)
    pool_recycle: float = Field(default=1800.0, gt=0)
    # HikariCP skips its own test for connections used within the last 500 ms (aliveBypassWindowMs).
    ping_after_idle: float = Field(default=0.5, ge=0)
    connect_timeout: float = Field(default=5.0, gt=0)
    statement_timeout: float = Field(default=30.0, ge=0)
    lock_timeout: float = Field(default=10.0, ge=0)
    idle_in_transaction_timeout: float = Field(default=60.0, ge=0)
    busy_timeout: float = Field(default=5.0, ge=0)
    hook_timeout: float = Field(default=10.0, gt=0)
    reset_on_return: Literal["changed", "always"] = "changed"
    pooler: Literal["pgbouncer"] | None = None
    cursor_secret: SecretStr | None = Field(default=None, min_length=LEAST_SECRET)
    application_name: str = Field(default="querywright", min_length=1, max_length=63, pattern=r"^[^\x00]*$")
    echo: bool = False
    # May hold a password, so it is neither printed nor dumped.
    connect_args: dict[str, Any] = Field(default_factory=dict, repr=False, exclude=True)

    @property
    def most_connections(self) -> int:
        """How many connections the pool opens at most."""
        return self.pool_size + self.max_overflow

    @property
    def most_streams(self) -> int:
        """How many streams may be read at once."""
        return self.max_streams or max(1, self.most_connections // 2)

    def __init__(self, **values: Any) -> None:
        # Not an alias: with one, Pydantic would let the environment win over the argument.
        if "url" not in values and not os.environ.get("QUERYWRIGHT_URL") and os.environ.get("DATABASE_URL"):
            values["url"] = os.environ["DATABASE_URL"]
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = [_describe(str(item["loc"][0]), item["msg"], item["type"]) for item in error.errors()]
        else:
            return
        # Outside the except block: the original error must not travel along as context, it holds the input.
        raise ConfigurationError("; ".join(problems) + ".")


def _way(field: str) -> str:
    """Return how an option of SQLAlchemy that is no setting can be used all the same."""
    if field not in _OF_SQLALCHEMY and not field.startswith("pool"):
        return ""
    return f". Make an engine with SQLAlchemy's create_engine({field}=...) and pass it instead of a URL"


def _describe(field: str, problem: str, kind: str) -> str:
    """Return which variable is wrong, why, and what a good value looks like."""
    variable = "QUERYWRIGHT_URL (or DATABASE_URL)" if field == "url" else f"QUERYWRIGHT_{field.upper()}"
    if kind == "extra_forbidden":
        return f"{field!r} is not a setting; the settings are {', '.join(_EXAMPLES)}{_way(field)}"
    known = {
        "missing": "is missing",
        "string_pattern_mismatch": "has a NUL",
        "too_short": f"has less than {LEAST_SECRET} characters",
    }
    what = known.get(kind) or problem[0].lower() + problem[1:]
    return f"{variable}: {what}; for example {_EXAMPLES[field]}"
