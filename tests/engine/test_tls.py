from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from querywright import AsyncDatabase, ConfigurationError, Database
from querywright.engine.drivers import asyncpg, psycopg
from querywright.engine.tls import Tls, without_tls

asyncpg_tls_arguments = asyncpg.ASYNC.tls_arguments
psycopg_tls_arguments = psycopg.SYNC.tls_arguments
DRIVERS = ("postgresql+asyncpg", "postgresql+psycopg", "mysql+pymysql", "mariadb+aiomysql")
OUTSIDE = "db.example.com"
each_driver = pytest.mark.parametrize("driver", DRIVERS)


@pytest.fixture
def ca(tmp_path: Path) -> str:
    """A file that exists; nobody opens it."""
    path = tmp_path / "ca.pem"
    path.touch()
    return str(path)


def read(driver: str, query: str = "", host: str = OUTSIDE, **environment: str) -> Tls:
    return Tls.of(make_url(f"{driver}://u:p@{host}/app?{query}"), environment, Path("/nowhere"))


@each_driver
def test_without_a_word_who_is_outside_has_to_prove_its_name(driver: str) -> None:
    assert read(driver) == Tls("verify-full")
    assert read(driver, host="localhost") == Tls("prefer")


@each_driver
@pytest.mark.parametrize(
    ("query", "mode"),
    [
        ("sslmode=disable", "disable"),
        ("sslmode=allow", "allow"),
        ("sslmode=prefer", "prefer"),
        ("sslmode=require", "require"),
        ("sslmode=verify-full", "verify-full"),
        ("ssl=require", "require"),
        ("ssl=true", "verify-full"),
        ("ssl=0", "disable"),
        ("ssl_mode=VERIFY_IDENTITY", "verify-full"),
        ("ssl_mode=REQUIRED", "require"),
        ("ssl_disabled=true", "disable"),
        ("ssl_disabled=false", "verify-full"),
        ("ssl_check_hostname=true", "verify-full"),
        ("sslmode=prefer&sslmode=require", "require"),
        ("sslrootcert=system", "verify-full"),
    ],
)
def test_the_words_of_a_url_are_understood_on_every_driver(driver: str, query: str, mode: str) -> None:
    assert read(driver, query) == Tls(mode)


@each_driver
def test_files_are_understood_on_every_driver(driver: str, ca: str) -> None:
    files = f"sslrootcert={ca}&sslcert={ca}&sslkey=k&sslpassword=s"
    expected = Tls("verify-full", ca, ca, "k", "s")
    assert read(driver, files) == expected
    assert read(driver, f"ssl_ca={ca}&ssl_cert={ca}&ssl_key=k&ssl_key_password=s") == expected
    assert "'s'" not in repr(expected)
    # Who names an authority has the server looked at, even here.
    assert read(driver, files, host="localhost") == expected
    assert read(driver, f"sslmode=require&ssl_ca={ca}") == Tls("verify-ca", ca)
    assert read(driver, f"ssl_check_hostname=false&ssl_ca={ca}") == Tls("verify-ca", ca)
    assert read(driver, f"sslmode=prefer&sslrootcert={ca}") == Tls("prefer")


@each_driver
@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("sslmode=strict", "no TLS mode 'strict'"),
        ("sslmode=require&ssl=disable", "contradicts itself"),
        ("sslmode=verify-full&ssl_disabled=true", "contradicts itself"),
        ("sslrootcert=a&ssl_ca=b", "contradicts itself"),
        ("sslmode=verify-ca", "needs the file of an authority"),
        ("sslmode=require&sslrootcert=system", "does not go with sslrootcert=system"),
        ("sslrootcert=/nowhere/ca.pem", "no file '/nowhere/ca.pem'"),
        ("sslmode=require&sslcert=/nowhere/my.pem", "no file '/nowhere/my.pem'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_opened(driver: str, query: str, problem: str) -> None:
    kind: Any = AsyncDatabase if driver in {"postgresql+asyncpg", "mariadb+aiomysql"} else Database
    with pytest.raises(ConfigurationError, match=problem) as caught:
        kind(f"{driver}://u:p@{OUTSIDE}/app?{query}")
    assert "sslmode=verify-full" in caught.value.hint
    assert "sslrootcert=/path/to/ca.pem" in caught.value.hint


@each_driver
def test_nothing_about_tls_is_ignored(driver: str) -> None:
    if driver == "postgresql+psycopg":
        url = make_url(f"{driver}://u@{OUTSIDE}/app?sslcrl=x&sslmode=require")
        assert without_tls(url).query == {"sslcrl": "x"}  # libpq understands it
        return
    with pytest.raises(ConfigurationError, match="ssl_verify_cert, sslcrl in the database URL is not understood"):
        read(driver, "sslcrl=x&ssl_verify_cert=true&sslmode=require")


def test_the_environment_of_postgresql_is_read(tmp_path: Path, ca: str) -> None:
    assert read("postgresql+asyncpg", PGSSLMODE="prefer") == Tls("prefer")
    assert read("postgresql+asyncpg", "sslmode=require", PGSSLMODE="prefer") == Tls("require")
    assert read("mysql+pymysql", PGSSLMODE="prefer") == Tls("verify-full")
    assert read("postgresql+psycopg", PGSSLROOTCERT=ca) == Tls("verify-full", ca)
    assert read("postgresql+psycopg", host="localhost", PGSSLROOTCERT=ca) == Tls("prefer")
    assert read("postgresql+psycopg", host="localhost", PGSSLROOTCERT="system") == Tls("verify-full")
    for name in ("root.crt", "postgresql.crt", "postgresql.key"):
        (tmp_path / name).touch()
    found = Tls.of(make_url(f"postgresql+asyncpg://u@{OUTSIDE}/app"), {}, tmp_path)
    assert found == Tls("verify-full", *(str(tmp_path / f) for f in ("root.crt", "postgresql.crt", "postgresql.key")))


def test_a_socket_needs_none() -> None:
    assert read("mysql+pymysql", "unix_socket=/run/s") == Tls("disable")


def test_the_context_is_made_again_when_a_file_changes(tmp_path: Path) -> None:
    system = Path(ssl.get_default_verify_paths().cafile or "")
    if not system.is_file():
        pytest.skip("the system has no file of authorities")
    root = tmp_path / "ca.pem"
    root.write_bytes(system.read_bytes())
    tls = Tls("verify-full", str(root))
    first = tls.context()
    assert first.check_hostname
    assert first.verify_mode is ssl.CERT_REQUIRED
    assert first.cert_store_stats()["x509_ca"] > 0
    assert tls.context() is first
    os.utime(root, ns=(1, 1))
    assert tls.context() is not first


def test_a_weak_mode_looks_at_nothing() -> None:
    context = Tls("require").context()
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_NONE


def test_asyncpg_falls_back_to_no_tls_only_where_that_was_said() -> None:
    assert asyncpg_tls_arguments(Tls("disable")) == {"dsn": "postgresql://?sslmode=disable"}
    weak = Tls("prefer", certificate="my cert.pem")
    assert asyncpg_tls_arguments(weak) == {"dsn": "postgresql://?sslmode=prefer&sslcert=my+cert.pem"}
    assert isinstance(asyncpg_tls_arguments(Tls("require"))["ssl"], ssl.SSLContext)


def test_psycopg_is_told_where_the_systems_authorities_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths = ssl.DefaultVerifyPaths("", str(tmp_path), "", "", "", "")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    assert psycopg_tls_arguments(Tls("verify-full")) == {"sslmode": "verify-full", "sslrootcert": "system"}
    (tmp_path / "ca-certificates.crt").touch()
    assert psycopg_tls_arguments(Tls("verify-full"))["sslrootcert"] == str(tmp_path / "ca-certificates.crt")
    assert psycopg_tls_arguments(Tls("require")) == {"sslmode": "require"}
