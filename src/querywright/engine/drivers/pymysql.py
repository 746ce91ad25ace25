"""PyMySQL: it insists on TLS and sends no value that MySQL does not have; for aiomysql as well."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar

from pymysql.charset import charset_by_name
from pymysql.connections import Connection
from pymysql.constants import CLIENT, CR
from pymysql.converters import encoders
from pymysql.err import DataError, OperationalError
from sqlalchemy import Dialect
from typing_extensions import override

from querywright.engine.drivers.driver import Diagnostics, Driver, State, names_in, unwrapped
from querywright.engine.drivers.reading import OBJECT, WHOLE, Reader, number_of
from querywright.engine.limits import Limits
from querywright.engine.tls import Tls
from querywright.settings import DatabaseSettings

__all__ = ["ASK_LIMIT", "ENCODERS", "SYNC", "MySQL", "check_offer", "is_small", "require_room", "require_unicode"]

# The zeros of a decimal that are written; with more, it is a float for MySQL.
_MOST_ZEROS = 400
# The server closes the connection of whoever sends more, and SQLAlchemy all others with it.
ASK_LIMIT = "SELECT @@max_allowed_packet"
# Characters, of up to four bytes, that every server takes (https://mariadb.com/kb/en/server-system-variables/).
_SMALL = 2**18


def require_unicode(text: str) -> None:
    """Refuse half of a surrogate pair: PyMySQL before 1.2.4 and aiomysql send some of them as bytes of their own.

    Raises:
        UnicodeEncodeError: It is no text that UTF-8 could write.
    """
    if not text.isascii():
        text.encode()


def is_small(sql: str | bytes) -> bool:
    """Return whether no server's limit has to be asked for."""
    return len(sql) <= _SMALL


def require_room(sql: str | bytes, limit: int) -> None:
    """Refuse a statement that is larger than what the server takes.

    Raises:
        pymysql.err.DataError: It is.
    """
    sent = sql.encode(errors="surrogateescape") if isinstance(sql, str) else sql
    # The first byte of a packet is its command.
    if len(sent) >= limit:
        raise DataError("a statement larger than max_allowed_packet")


def _float(value: float, _mapping: Any = None) -> str:
    if not math.isfinite(value):
        raise DataError("a float that is not finite")
    return str(encoders[float](value))


def _decimal(value: Decimal, _mapping: Any = None) -> str:
    """Write a decimal; PyMySQL would write NaN as a name, and a gigabyte of zeros for 1e999999999."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise DataError("a decimal that is not finite")
    return format(value, "f") if abs(exponent) <= _MOST_ZEROS else str(value)


ENCODERS: Any = {**encoders, float: _float, Decimal: _decimal}


class _StrictConnection(Connection):  # type: ignore[misc, unused-ignore] # PyMySQL may have types
    """A connection that refuses what it would have to write as something else, and tells nothing to a stranger."""

    tls: ClassVar[Tls]
    _result: Any

    def _request_authentication(self) -> None:
        if not check_offer(self, self.tls):
            self.ssl = False
        super()._request_authentication()  # pyright: ignore[reportAttributeAccessIssue] # its stubs have no privates

    @override
    def escape(self, obj: Any, mapping: Any = None) -> Any:
        """Write a value into a statement."""
        if isinstance(obj, str):
            require_unicode(obj)
        return super().escape(obj, ENCODERS)

    @override
    def query(self, sql: str | bytes, unbuffered: bool = False) -> Any:
        """Send a statement."""
        if not is_small(sql):
            super().query(ASK_LIMIT)
            require_room(sql, int(self._result.rows[0][0]))
        return super().query(sql, unbuffered)


def check_offer(connection: Any, tls: Tls) -> bool:
    """Return whether the server has offered TLS; PyMySQL before 1.2 and aiomysql go on without, and give the password.

    Args:
        connection: A connection of PyMySQL or aiomysql that has read the server's greeting.
        tls: What applies.

    Raises:
        pymysql.err.OperationalError: It has not, and there is to be no connection without.
    """
    if connection.server_capabilities & CLIENT.SSL:
        return True
    if tls.is_required:
        raise OperationalError(CR.CR_SSL_CONNECTION_ERROR, "the server offers no TLS")
    connection.client_flag &= ~CLIENT.SSL
    return False


# What the server says of itself with each answer
# (https://dev.mysql.com/doc/dev/mysql-server/latest/mysql__com_8h.html#SERVER_STATUS_flags_enum).
_IN_TRANSACTION, _AUTOCOMMIT, _NO_BACKSLASH_ESCAPES, _IN_READ_ONLY = 0x1, 0x2, 0x200, 0x2000

_TIMES = frozenset({"connect_timeout", "read_timeout", "write_timeout"})
# A year, the longest that PyMySQL waits for a connection.
_LONGEST = 31536000


class MySQL(Driver):
    """What PyMySQL and aiomysql have in common."""

    decided = frozenset({"autocommit", "cursorclass", "init_command"})
    readers: ClassVar[Mapping[str, Reader]] = {
        **dict.fromkeys(_TIMES, WHOLE),
        **dict.fromkeys(("auth_plugin_map", "conv", "server_public_key"), OBJECT),
    }

    @override
    def wanted(self, name: str, value: Any) -> str | None:
        if name in _TIMES and not 0 < number_of(value) <= _LONGEST:
            return f"a number of seconds above 0, and at most {_LONGEST}"
        return "a character set, such as utf8mb4" if name == "charset" and not _is_charset(value) else None

    @override
    def arguments(self, settings: DatabaseSettings, session: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **session,
            "connect_timeout": max(1, round(settings.connect_timeout)),
            "program_name": settings.application_name,
        }

    @override
    def tls_arguments(self, tls: Tls) -> dict[str, Any]:
        # Their connections look at what the server offers.
        return {} if tls.mode == "disable" else {"ssl": tls.context()}

    @override
    def state(self, dialect: Dialect, lent: Any) -> State:
        status: int = unwrapped(lent).server_status
        return State(status & (_AUTOCOMMIT | _NO_BACKSLASH_ESCAPES), bool(status & (_IN_TRANSACTION | _IN_READ_ONLY)))

    @override
    def commits_each(self, lent: Any) -> bool:
        return bool(unwrapped(lent).server_status & _AUTOCOMMIT)

    @override
    def diagnose(self, error: Any, statement: str) -> Diagnostics:
        number, message = (*error.args, "", "")[:2]
        if not isinstance(number, int) or not message:
            return Diagnostics("")
        text = str(message)
        shown = text if number in _ONLY_NAMES else _QUOTED.sub("'...'", text)
        return Diagnostics(shown, code=f"error {number}", **names_in(text, _NAMES))


def _is_charset(name: Any) -> bool:
    try:
        return charset_by_name(name) is not None
    except (AttributeError, KeyError):
        return False


class _PyMySQL(MySQL):
    @override
    def known_arguments(self) -> set[str]:
        return set(inspect.signature(Connection).parameters)

    @override
    def arguments(self, settings: DatabaseSettings, session: Mapping[str, Any]) -> dict[str, Any]:
        limit = Limits.of(settings).statement
        limits = {"read_timeout": limit, "write_timeout": limit} if limit else {}
        return super().arguments(settings, session) | limits

    @override
    def tls_arguments(self, tls: Tls) -> dict[str, Any]:
        # PyMySQL 1.2 takes what is offered.
        return super().tls_arguments(tls) or {"ssl_disabled": True}

    @override
    def opening(self, dialect: Dialect, limits: Limits, tls: Tls) -> Callable[..., Any]:
        return type("StrictConnection", (_StrictConnection,), {"tls": tls})

    @override
    def is_closed(self, lent: Any) -> bool:
        return not lent.open

    @override
    def socket_of(self, lent: Any) -> int | None:
        return int(lent._sock.fileno())  # noqa: SLF001 - nothing public


_NAMES = tuple(
    map(
        re.compile,
        (
            r" for key '(?:(?P<table>[^'.]*)\.)?(?P<constraint>[^']*)'$",
            r" for column '(?P<column>[^']*)' at row \d+$",
            r" for column `[^`]*`\.`(?P<table>[^`]*)`\.`(?P<column>[^`]*)` at row \d+$",
            r"^(?:Column|Field) '(?P<column>[^']*)' (?:cannot be null|doesn't have a default value)$",
            r"\(`[^`]*`\.`(?P<table>[^`]*)`, CONSTRAINT `(?P<constraint>[^`]*)` FOREIGN KEY [^']*\)$",
            r"^CONSTRAINT `(?P<constraint>[^`]*)` failed for `[^`]*`\.`(?P<table>[^`]*)`$",
            r"^Check constraint '(?P<constraint>[^']*)' is violated\.$",
        ),
    )
)
# The errors whose words in quotes are names: of users, databases, tables, columns, functions and settings. Elsewhere
# they may be a part of the statement, in which the driver has put the values, or a value.
_ONLY_NAMES = frozenset(
    {1022, 1036, 1044, 1045, 1046, 1049, 1050, 1051, 1052, 1054, 1055, 1060, 1061, 1066, 1072, 1091, 1103, 1109, 1114}
    | {1129, 1130, 1142, 1143, 1146, 1176, 1193, 1203, 1226, 1227, 1235, 1238, 1290, 1304, 1305, 1317, 1356, 1370, 1698}
    | {2002, 2003, 2005, 2006, 2013, 2026, 2061, 4078}
)
_QUOTED = re.compile(r"""['"].*['"]""", re.DOTALL)

SYNC = _PyMySQL()
