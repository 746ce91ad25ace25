"""PyMySQL's connection, which tells nothing to a server that should have offered TLS and has not."""

from __future__ import annotations

from typing import Any, ClassVar

from pymysql.connections import Connection
from pymysql.constants import CLIENT, CR
from pymysql.err import OperationalError

from querywright.engine.tls import Tls

__all__ = ["check_offer", "secured_class"]


class _SecuredConnection(Connection):  # type: ignore[misc] # PyMySQL has no types
    tls: ClassVar[Tls]

    def _request_authentication(self) -> None:
        if not check_offer(self, self.tls):
            self.ssl = False
        super()._request_authentication()  # pyright: ignore[reportAttributeAccessIssue] # its stubs have no privates


def secured_class(tls: Tls) -> type[Any]:
    """Make the class of an engine's connections."""
    return type("SecuredConnection", (_SecuredConnection,), {"tls": tls})


def check_offer(connection: Any, tls: Tls) -> bool:
    """Say whether the server has offered TLS; PyMySQL before 1.2 and aiomysql go on without, and give the password.

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
