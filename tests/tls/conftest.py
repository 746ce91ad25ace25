"""What the tests of TLS share: certificates, and a server of each kind with them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from querywright.testing import EmbeddedPostgres
from tests.mariadb import PrivateMariaDB, missing_programs
from tests.tls import certificates as made
from tests.tls import servers
from tests.tls.certificates import Certificates

# On Linux this leads to the machine itself, and it is no loopback address: it is looked at as one of outside.
OUTSIDE = "0.0.0.0"  # noqa: S104 - nothing listens here
HERE = "127.0.0.1"


@pytest.fixture(scope="session")
def certificates() -> Iterator[Certificates]:
    """An authority; a certificate of a server for `OUTSIDE` alone, and one of the client ``postgres``."""
    if missing := made.missing_program():
        pytest.skip(missing)
    with tempfile.TemporaryDirectory(prefix="qw-tls-") as folder:
        Path(folder).chmod(0o755)
        certificates = Certificates(Path(folder))
        certificates.make_authority()
        certificates.issue("server", f"IP:{OUTSIDE}")
        certificates.issue("postgres")
        yield certificates


@pytest.fixture(scope="session")
def tls_postgres(certificates: Certificates) -> Iterator[EmbeddedPostgres]:
    if missing := servers.missing_programs():
        pytest.skip(missing)
    with servers.postgres_with_tls(certificates, "server") as server:
        yield server


@pytest.fixture(scope="session")
def tls_mariadb(certificates: Certificates) -> Iterator[PrivateMariaDB]:
    if missing := missing_programs():
        pytest.skip(missing)
    key = certificates.folder / "of-mariadb.key"
    key.write_bytes(certificates.key("server").read_bytes())
    # MariaDB takes a key that others can read; it belongs to nobody but this test.
    key.chmod(0o644)
    options = (
        f"--ssl-cert={certificates.certificate('server')}",
        f"--ssl-key={key}",
        f"--ssl-ca={certificates.authority}",
    )
    with PrivateMariaDB(*options) as server:
        yield server
