"""What MySQL and MariaDB need: a session's settings, read-only transactions, and lost transactions that stay lost."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

from sqlalchemy import URL, Connection, Engine, ExceptionContext, Insert, Table, event, insert

from querywright.engine.databases.backend import Backend
from querywright.engine.databases.traces import makes_temporary, names, rules
from querywright.engine.sqltext import ESCAPED, Tokens, grammar
from querywright.settings import DatabaseSettings

__all__ = ["MARIADB", "MYSQL", "mysql_sqlstate"]

# Execution options that say how a transaction of this connection begins.
_READ_ONLY = "querywright_mysql_read_only"
_ISOLATION = "querywright_mysql_isolation"

_DEADLOCK = 1213
_NOT_READY = 1047
_SYNTAX = 1064
# A driver writes values into the statement, so that one which no LIMIT takes is where the parser stops.
_NO_ROW_COUNT = re.compile(r" near '(?:-\d|\d{20})")
# The words of AGAINST have a parser of their own, whose errors have the number of the other one.
_NO_SEARCH = "syntax error, unexpected"

# The SQLSTATE that the errors of a server and of its client libraries would have elsewhere; their own is HY000 or
# 23000 for most. https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html and
# https://mariadb.com/kb/en/mariadb-error-codes/
_SQLSTATES = {
    1062: "23505",  # duplicate entry
    1586: "23505",
    1216: "23503",  # no such parent row
    1452: "23503",
    1217: "23503",  # there are child rows
    1451: "23503",
    1048: "23502",  # cannot be null
    1364: "23502",  # no default
    3819: "23514",  # check constraint, MySQL
    4025: "23514",  # check constraint, MariaDB
    1406: "22001",  # data too long
    1264: "22003",  # out of range
    1690: "22003",
    1265: "22000",  # data truncated: none of an ENUM's values
    1292: "22007",  # incorrect value of a date or number
    1366: "22000",
    1300: "22021",  # no text of the character set
    1367: "22007",
    1411: "22007",  # incorrect value for a function of dates
    1525: "22007",  # incorrect value of a date or number
    1298: "22023",  # no such time zone
    1365: "22012",  # division by zero
    3020: "2201E",  # a logarithm that there is not, MySQL
    4084: "2200H",  # a sequence has run out, MariaDB
    4024: "22014",  # NTILE of no parts, MariaDB
    1441: "22008",  # out of range in a function of dates
    1916: "22003",  # out of range in a cast, MariaDB
    1139: "2201B",  # no regular expression
    **dict.fromkeys((3685, 3686, *range(3688, 3701)), "2201B"),  # no regular expression, MySQL 8
    **dict.fromkeys((3140, 3141, 4037, 4038), "22032"),  # no JSON; for JSON_TABLE, MariaDB
    **dict.fromkeys((3143, 3149, 3153), "22023"),  # no path of JSON, MySQL
    1118: "54000",  # a row too large
    1153: "54000",  # a packet too large
    _DEADLOCK: "40001",
    1020: "40001",  # changed since last read, MariaDB 11.6 under innodb_snapshot_isolation
    1205: "55P03",  # lock wait timeout
    3572: "55P03",  # NOWAIT
    1969: "57014",  # max_statement_time, MariaDB
    3024: "57014",  # max_execution_time, MySQL
    1040: "53300",  # too many connections
    **dict.fromkeys((1045, 1129, 1130, 1698, 1820, 1862, 3118, 3955, 4151), "28000"),  # an account or a host
    _NOT_READY: "08006",  # a node of Galera that is not ready
    1053: "57P01",  # shutdown
    1927: "57P01",  # killed
    2002: "08001",
    2003: "08001",
    2006: "08006",
    2013: "08006",
}


def mysql_sqlstate(arguments: Any) -> str | None:
    """Find the SQLSTATE of an error by its number; ``None`` if it is not known, or none of MySQL's.

    Example:
        >>> mysql_sqlstate((1064, "You have an error in your SQL syntax; check the manual near '-1' at line 1"))
        '2201W'
    """
    number, message = (*arguments, None, "")[:2]
    # Others have whatever they like there, such as a list.
    if not isinstance(number, int):
        return None
    if number == _SYNTAX and _NO_ROW_COUNT.search(str(message)):
        return "2201W"
    if number == _SYNTAX and str(message).startswith(_NO_SEARCH):
        return "2201B"
    return _SQLSTATES.get(number)


def _session(settings: DatabaseSettings, _url: URL) -> dict[str, Any]:
    """Write what a session begins with; 0 means no limit, as in the settings."""
    lock = max(1, round(settings.lock_timeout)) if settings.lock_timeout else 2**30
    milliseconds = round(settings.statement_timeout * 1000)
    # Each server runs its own comments: MariaDB leaves out those of versions from 5.7.
    start = (
        f"SET time_zone='+00:00', innodb_lock_wait_timeout={lock}"
        f" /*M! , max_statement_time={settings.statement_timeout:f} */"
        f" /*M!100300 , idle_transaction_timeout={round(settings.idle_in_transaction_timeout)} */"
        f" /*!80000 , max_execution_time={milliseconds} */"
    )
    return {"charset": "utf8mb4", "init_command": start}


def _install(engine: Engine, *, others: bool = False) -> None:  # noqa: ARG001 - as the record has it
    """Begin read-only transactions as such, and keep a transaction that the server has rolled back from going on."""
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _lose)


def _begin(connection: Connection) -> None:
    """Begin a transaction that differs from others, by what is said of this one alone.

    SQLAlchemy's ``isolation_level`` is of the session: four round trips to set it and to take it back, and a cancelled
    call leaves it to the next user.
    """
    options = connection.get_execution_options()
    if level := options.get(_ISOLATION):
        connection.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
    if options.get(_READ_ONLY):
        connection.exec_driver_sql("START TRANSACTION READ ONLY")


def _lose(context: ExceptionContext) -> None:
    """Give up the connection after a deadlock, and all of them when a node of Galera is not ready.

    After a deadlock the server has rolled back the whole transaction, and what follows would run, and be committed, in
    a new one. A node without a quorum refuses even SELECT and ROLLBACK, on connections that look well.
    """
    number = next(iter(getattr(context.original_exception, "args", ())), None)
    # Not in a set, for others have there what cannot be in one.
    if number in (_DEADLOCK, _NOT_READY):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = number == _NOT_READY


def _insert_once(table: Table) -> Insert:
    return insert(table).prefix_with("IGNORE")


def _changes(tokens: Tokens) -> bool:
    if tokens[:2] == ["set", "statement"] and "for" in tokens:
        # MariaDB sets it for what follows only.
        return _RULES.leaves_something(tokens[tokens.index("for") + 1 :])
    if tokens[0] == "set":
        return tokens[1:2] != ["transaction"]
    pairs = list(pairwise(tokens))
    return (":", "=") in pairs or ("into", "@") in pairs or makes_temporary(tokens)


def _also_ends(tokens: Tokens) -> bool:
    """Recognise what commits at once (MariaDB manual, "SQL statements that cause an implicit commit")."""
    first, second = tokens[0], (*tokens, "")[1]
    if first == "set":
        return "autocommit" in names(tokens)
    return first in {"lock", "unlock"} and second.startswith("table")


_RULES = rules(
    grammar(
        rf'{ESCAPED}|"(?:[^"\\]|""|\\.)*"',
        r"`(?:[^`]|``)*`",
        r"--(?=\s|\Z)[^\n]*|\#[^\n]*",
        nests=False,
        # What is in such a comment is executed, there or on servers of one kind or from a version on.
        marks=r"|/\*M?!\d*|\*/",
    ),
    "replace table show start truncate rename optimize check checksum grant revoke describe desc kill flush set",
    "get_lock",
    _changes,
    also_ends=_also_ends,
)

MYSQL = Backend(
    "mysql",
    rules=_RULES,
    reads_one_result=True,
    session=_session,
    install=_install,
    install_adopted=_install,
    # No options for autocommit: to turn it on and off again takes two round trips; the ROLLBACK of a connection that
    # comes back takes one.
    read_only={_READ_ONLY: True},
    isolation=_ISOLATION,
    # Each server runs its own comment.
    explain=("EXPLAIN FORMAT=JSON", "/*M! ANALYZE FORMAT=JSON */ /*!80018 EXPLAIN ANALYZE */"),
    insert_once=_insert_once,
)
MARIADB = replace(MYSQL, name="mariadb")
