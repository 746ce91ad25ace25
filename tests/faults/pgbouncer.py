"""PgBouncer in transaction mode, in front of a server, where its program is installed.

It is looked for in PATH, and where ``QUERYWRIGHT_PGBOUNCER`` says. Debian's package needs no installation::

    apt-get download pgbouncer libc-ares2 && for each in *.deb; do dpkg-deb -x $each unpacked; done
    export QUERYWRIGHT_PGBOUNCER=$PWD/unpacked/usr/sbin/pgbouncer
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy.engine import make_url
from typing_extensions import Self

VARIABLE = "QUERYWRIGHT_PGBOUNCER"
# Fewer than clients, so that these change servers from one transaction to the next.
SERVER_CONNECTIONS = 3
_SECONDS_TO_START = 60.0


def missing_program() -> str:
    """Say what is not installed; empty if everything is."""
    return "" if _program() else f"pgbouncer not found: apt-get install pgbouncer, or say in {VARIABLE} where it is"


class PgBouncer:
    """A pooler on a free port of 127.0.0.1, which lends its connections for one transaction.

    Args:
        server_port: The port of the server behind it.
        settings: More of its own settings.
    """

    def __init__(self, server_port: int, **settings: str) -> None:
        self._server_port = server_port
        self._settings = settings
        self._home = Path(tempfile.mkdtemp(prefix="qw-pgb-"))
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    def url(self, url: str) -> str:
        """Return a URL of the server with this pooler's port in it."""
        return make_url(url).set(host="127.0.0.1", port=self.port).render_as_string(hide_password=False)

    def __enter__(self) -> Self:
        program = _program()
        assert program is not None
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("nobody")
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(self._home, account.pw_uid, account.pw_gid)
        configuration = self._home / "pgbouncer.ini"
        configuration.write_text(self._configuration())
        # Where dpkg-deb has unpacked it, its libraries are beside it.
        libraries = ":".join(map(str, (program.parent.parent / "lib").glob("*-linux-gnu")))
        environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
        command = [str(program), "--quiet", str(configuration)]
        self._process = subprocess.Popen(command, cwd="/", env=environment, **identity)  # noqa: S603 - our own choice
        self._wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
        shutil.rmtree(self._home, ignore_errors=True)

    def _configuration(self) -> str:
        more = "\n".join(f"{name} = {value}" for name, value in self._settings.items())
        return f"""
[databases]
* = host=127.0.0.1 port={self._server_port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {SERVER_CONNECTIONS}
max_client_conn = 200
logfile = {self._home}/log
{more}
"""

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.__exit__(None, None, None)
        raise RuntimeError("pgbouncer did not start")


def _program() -> Path | None:
    found = os.environ.get(VARIABLE) or shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found else None
