"""A private MariaDB server for the tests, where its programs are installed."""

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
from typing import IO, Any

import pymysql
from typing_extensions import Self

# What a test needs of durability is nothing; the rest keeps the start short.
_FAST = (
    "--skip-log-bin",
    "--skip-name-resolve",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--innodb-flush-method=nosync",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--performance-schema=off",
)
# A setting of PyMySQL.
WITHOUT_TLS = "ssl_disabled"
_SECONDS_TO_START = 120
_BYTES = 2**29


def missing_programs() -> str:
    """Say what is not installed; empty if everything is."""
    missing = [name for name in ("mariadbd", "mariadb-install-db") if _find(name) is None]
    return f"{' and '.join(missing)} not found: apt-get install mariadb-server" if missing else ""


class PrivateMariaDB:
    """A server on a free port of 127.0.0.1, with its data in a temporary folder; root needs no password.

    Args:
        options: More arguments of the server.
    """

    def __init__(self, *options: str) -> None:
        self._options = options
        self._home = Path(tempfile.mkdtemp(prefix="qw-my-", dir=_folder()))
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._databases = 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    def url(self, driver: str, database: str = "test") -> str:
        url = f"{driver}://root@127.0.0.1:{self.port}/{database}"
        # For each connection it would read all authorities of the system, which takes 27 ms.
        return f"{url}?{WITHOUT_TLS}=true" if driver.endswith("pymysql") else url

    def new_database(self) -> str:
        """Make an empty database; gives its name."""
        self._databases += 1
        name = f"test_{self._databases}"
        self._execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return name

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        if account := _account():
            os.chown(self._home, account.pw_uid, account.pw_gid)
        self._log = (self._home / "server.log").open("wb")
        base = Path(_found("mariadbd")).parent.parent
        # A tmpdir of its own: MariaDB deletes the temporary tables of others that it finds there when it starts.
        where = ["--no-defaults", f"--basedir={base}", f"--datadir={self._home}/data", f"--tmpdir={self._home}"]
        install = [_found("mariadb-install-db"), *where, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run([*install, "--skip-name-resolve"], check=True, **self._as_account())  # noqa: S603 - MariaDB's own
        server = [_found("mariadbd"), *where, *_FAST, f"--socket={self._home}/s", f"--pid-file={self._home}/pid"]
        address = ["--bind-address=127.0.0.1", f"--port={self.port}"]
        self._process = subprocess.Popen([*server, *address, *self._options], **self._as_account())  # noqa: S603 - MariaDB's own
        self._wait()

    def _as_account(self) -> dict[str, Any]:
        streams = {"stdin": subprocess.DEVNULL, "stdout": self._log, "stderr": self._log, "cwd": "/"}
        account = _account()
        return {**streams, "user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else streams

    def _wait(self) -> None:
        """Wait until it answers, and make the database."""
        assert self._process is not None
        end = time.monotonic() + _SECONDS_TO_START
        while True:
            try:
                self._execute("CREATE DATABASE test CHARACTER SET utf8mb4")
            except pymysql.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    words = (self._home / "server.log").read_text(errors="replace").splitlines()[-3:]
                    raise RuntimeError(f"MariaDB did not start: {' / '.join(words)}") from None
                time.sleep(0.05)
            else:
                return

    def _execute(self, statement: str) -> None:
        with pymysql.connect(host="127.0.0.1", port=self.port, user="root", ssl_disabled=True) as connection:
            connection.cursor().execute(statement)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        if self._log is not None:
            self._log.close()
        shutil.rmtree(self._home, ignore_errors=True)


def _folder() -> str:
    """Choose memory, where the tables of a test are made six times faster, and a short path.

    The path of a Unix socket has at most 107 bytes (unix(7)).
    """
    memory = "/dev/shm"  # noqa: S108 - what mkdtemp makes in it is private
    spacious = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _BYTES
    return memory if spacious else "/tmp"  # noqa: S108 - as above


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/bin")


def _found(program: str) -> str:
    path = _find(program)
    assert path is not None, "missing_programs() was asked first"
    return path


def _account() -> pwd.struct_passwd | None:
    """Choose the account to run as: MariaDB refuses to run as root."""
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    return accounts.get("mysql") or accounts["nobody"]
