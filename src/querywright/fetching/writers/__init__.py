"""Write JSON in SQL: how each database turns columns into values, members into an object, rows into an array."""

from dataclasses import replace

from querywright.errors import ConfigurationError
from querywright.fetching.writers.base import (
    CUT,
    FEW_DIGITS,
    MISSING,
    MISSING_WITHIN,
    NOT_JSON,
    SEVERAL,
    TOO_LARGE,
    UNFINISHED,
    JsonWriter,
    Member,
    Nesting,
    SQLText,
)
from querywright.fetching.writers.kinds import SortKinds
from querywright.fetching.writers.mysql import MYSQL
from querywright.fetching.writers.postgresql import ASYNCPG, POSTGRESQL
from querywright.fetching.writers.sqlite import SQLITE

__all__ = [
    "CUT", "FEW_DIGITS", "MISSING", "MISSING_WITHIN", "NOT_JSON", "SEVERAL", "TOO_LARGE", "UNFINISHED", "JsonWriter",
    "Member", "Nesting", "SQLText", "SortKinds", "writer_for",
]  # fmt: skip

_WRITERS: dict[str, JsonWriter] = {"postgresql": POSTGRESQL, "sqlite": SQLITE, "mysql": MYSQL, "mariadb": MYSQL}
# Drivers that make other values of what the database sends than all others do.
_OF_DRIVERS: dict[tuple[str, str], JsonWriter] = {
    ("postgresql", "asyncpg"): ASYNCPG,
    ("postgresql", "psycopg2"): replace(POSTGRESQL, reads_networks=False),
}


def writer_for(dialect: str, driver: str = "") -> JsonWriter:
    """Find the writer of a database, and of values that are read by a driver.

    Raises:
        ConfigurationError: There is none.
    """
    if dialect not in _WRITERS:
        message = f"Querywright cannot write JSON on {dialect!r}."
        raise ConfigurationError(message, hint=f"Use {' or '.join(_WRITERS)}.")
    return _OF_DRIVERS.get((dialect, driver), _WRITERS[dialect])
