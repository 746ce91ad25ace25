"""Which kinds of values a cursor may hold for a column, on each database.

A kind is the class of what the driver reads, or on PostgreSQL the type of the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from querywright.fetching.plan.nodes import Encoding

__all__ = ["MYSQL_KINDS", "POSTGRESQL_KINDS", "SQLITE_KINDS", "SortKinds"]


@dataclass(frozen=True)
class SortKinds:
    """The kinds of values that rows are sorted by.

    Attributes:
        by_encoding: Those of the columns of each encoding.
        are_types: Whether they are types of the database, of which an ENUM and a UUID have one of their own.
    """

    by_encoding: Mapping[Encoding, frozenset[str]]
    are_types: bool = False


_TEXTS = frozenset({"text", "character varying", "bpchar", "name"})
_INTEGERS = frozenset({"smallint", "integer", "bigint"})
_NUMBERS = _INTEGERS | {"numeric", "real", "double precision"}
_MOMENTS = frozenset({"timestamp without time zone", "timestamp with time zone"})
_POSTGRESQL = {
    Encoding.INTEGER: _INTEGERS,
    Encoding.FLOAT: _NUMBERS,
    Encoding.DECIMAL: _NUMBERS,
    Encoding.BOOLEAN: frozenset({"boolean"}),
    Encoding.TEXT: _TEXTS,
    Encoding.ENUM: _TEXTS,
    Encoding.UUID: _TEXTS,
    Encoding.DATE: frozenset({"date"}),
    Encoding.TIME: frozenset({"time without time zone"}),
    Encoding.TIMESTAMP: _MOMENTS,
    Encoding.UTC_TIMESTAMP: _MOMENTS,
}
POSTGRESQL_KINDS = SortKinds(_POSTGRESQL, are_types=True)
# A column of SQLite holds any value, and is compared with any.
SQLITE_KINDS = SortKinds(dict.fromkeys(_POSTGRESQL, frozenset({"@integer", "@float", "@text"})))
MYSQL_KINDS = SortKinds(
    {
        **dict.fromkeys(
            (Encoding.INTEGER, Encoding.FLOAT, Encoding.DECIMAL, Encoding.BOOLEAN),
            frozenset({"@integer", "@decimal", "@float"}),
        ),
        **dict.fromkeys((Encoding.TEXT, Encoding.ENUM, Encoding.UUID), frozenset({"@text"})),
        Encoding.DATE: frozenset({"@date"}),
        Encoding.TIME: frozenset({"@interval"}),
        **dict.fromkeys((Encoding.TIMESTAMP, Encoding.UTC_TIMESTAMP), frozenset({"@timestamp"})),
    }
)
