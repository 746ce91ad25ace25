"""What is compared: Querywright, and what its users would write instead."""

from benchmarks.contenders.base import Contender, Entry, Place, same
from benchmarks.contenders.by_hand import asyncpg_json, asyncpg_rows, sqlite_json
from benchmarks.contenders.ours import querywright, querywright_prepared, querywright_typed
from benchmarks.contenders.piccolo_based import piccolo
from benchmarks.contenders.sqlalchemy_based import advanced_alchemy, fastcrud, plain_sqlalchemy
from benchmarks.contenders.sqlmodel_based import sqlmodel
from benchmarks.contenders.tortoise_based import tortoise

__all__ = ["POSTGRES", "SQLITE", "Contender", "Entry", "Place", "same"]

OURS: tuple[Entry, ...] = (querywright, querywright_prepared, querywright_typed)
LIBRARIES: tuple[Entry, ...] = (plain_sqlalchemy, sqlmodel, advanced_alchemy, fastcrud, tortoise)
POSTGRES: tuple[Entry, ...] = (*OURS, *LIBRARIES, piccolo, asyncpg_json, asyncpg_rows)
# Without Piccolo: on SQLite it reads dates and booleans only from columns that it declared under its own type names.
SQLITE: tuple[Entry, ...] = (*OURS, *LIBRARIES, sqlite_json)
