"""PyMySQL's connection, which insists on TLS and sends no value that MySQL does not have; for aiomysql as well."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, ClassVar

from pymysql.connections import Connection
from pymysql.constants import CLIENT, CR
from pymysql.converters import encoders
from pymysql.err import DataError, OperationalError
from typing_extensions import override

from querywright.engine.tls import Tls

__all__ = ["ASK_LIMIT", "ENCODERS", "check_offer", "is_small", "require_room", "require_unicode", "secured_class"]

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


def secured_class(tls: Tls) -> type[Any]:
    """Make the class of an engine's connections."""
    return type("StrictConnection", (_StrictConnection,), {"tls": tls})


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
