"""Write JSON in SQL: how each database turns columns into values, members into an object, rows into an array."""

from querywright.errors import ConfigurationError
from querywright.fetch.writers.base import MISSING, TOO_LARGE, JsonWriter, Member, Nesting, SQLText
from querywright.fetch.writers.mysql import MYSQL
from querywright.fetch.writers.postgresql import POSTGRESQL
from querywright.fetch.writers.sqlite import SQLITE

__all__ = ["MISSING", "TOO_LARGE", "JsonWriter", "Member", "Nesting", "SQLText", "writer_for"]

_WRITERS = {"postgresql": POSTGRESQL, "sqlite": SQLITE, "mysql": MYSQL, "mariadb": MYSQL}


def writer_for(dialect: str) -> JsonWriter:
    """Find the writer of a database.

    Raises:
        ConfigurationError: There is none.
    """
    if dialect not in _WRITERS:
        message = f"Querywright cannot write JSON on {dialect!r}."
        raise ConfigurationError(message, hint=f"Use {' or '.join(_WRITERS)}.")
    return _WRITERS[dialect]
