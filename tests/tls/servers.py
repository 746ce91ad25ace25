"""Servers that take TLS, servers that do not, and one that listens to what it is told all the same."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from querywright.testing import EmbeddedPostgres
from querywright.testing import postgres as embedded
from tests.tls.certificates import Certificates

__all__ = ["Listener", "debian_programs", "missing_programs", "postgres_with_tls"]

# PostgreSQL's answer to a request for TLS: no.
_NO = b"N"


def missing_programs() -> str:
    """Say what is not installed; empty if everything is."""
    return "" if debian_programs() else "no PostgreSQL with TLS: the wheel has none; apt-get install postgresql"


def debian_programs() -> Path | None:
    """Find the programs of Debian's PostgreSQL, which is built with OpenSSL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    return found[0].parent if found else None


@contextmanager
def postgres_with_tls(certificates: Certificates, name: str) -> Iterator[EmbeddedPostgres]:
    """Run Debian's PostgreSQL with a certificate that was issued for a name."""
    key = certificates.folder / "of-postgres.key"
    shutil.copy(certificates.key(name), key)
    key.chmod(0o600)
    if os.geteuid() == 0 and (account := embedded._account()):
        os.chown(key, account.pw_uid, account.pw_gid)
    certificate, authority = str(certificates.certificate(name)), str(certificates.authority)
    server = EmbeddedPostgres(ssl="on", ssl_cert_file=certificate, ssl_key_file=str(key), ssl_ca_file=authority)
    # Of this server alone: the others of this run keep theirs, while this one runs beside them.
    server._programs = debian_programs()
    with server:
        yield server


class Listener:
    """A server that takes no TLS, and keeps what it is told after it has said so.

    Args:
        system: Whose protocol it begins with: ``postgresql`` or ``mariadb``.

    Attributes:
        told: What came, without the request for TLS.
    """

    def __init__(self, system: str) -> None:
        self._greeting = _greeting() if system == "mariadb" else b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.told = b""
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                client.settimeout(10)
                client.sendall(self._greeting or _NO * bool(client.recv(8)))
                while more := client.recv(4096):
                    self.told += more


def _greeting() -> bytes:
    """Write a greeting of MySQL's protocol whose capabilities do not include TLS (0x0800)."""
    capabilities = 0x000F_F7FF & ~0x0800
    body = b"\x0a8.0.0\0" + struct.pack("<I", 1) + b"a" * 8 + b"\0"
    body += struct.pack("<HBHH", capabilities & 0xFFFF, 45, 2, capabilities >> 16)
    body += bytes([21]) + bytes(10) + b"a" * 12 + b"\0" + b"mysql_native_password\0"
    return struct.pack("<I", len(body))[:3] + b"\0" + body
