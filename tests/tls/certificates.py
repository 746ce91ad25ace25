"""Certificates for one run of the tests, made by the program ``openssl`` where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Certificates", "missing_program"]

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = ("-days", "2")


def missing_program() -> str:
    """Say what is not installed; empty if everything is."""
    return "" if shutil.which("openssl") else "openssl not found: apt-get install openssl"


@dataclass(frozen=True)
class Certificates:
    """An authority, and what it vouches for.

    Attributes:
        folder: Where the files are, readable for every account.
    """

    folder: Path

    @property
    def authority(self) -> Path:
        """The certificate of the authority."""
        return self.folder / "authority.pem"

    def certificate(self, name: str) -> Path:
        """The certificate of a name that was issued."""
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        """Its key."""
        return self.folder / f"{name}.key"

    def make_authority(self) -> None:
        """Make an authority that nobody knows yet."""
        out = ("-keyout", str(self.key("authority")), "-out", str(self.authority))
        self._openssl("req", "-x509", *_KEY, *_DAYS, *out, "-subj", "/CN=authority of a test")

    def issue(self, name: str, *alternatives: str) -> None:
        """Make a key and a certificate.

        Args:
            name: Its common name.
            alternatives: What servers are looked at for, as ``IP:127.0.0.1``.
        """
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.cnf"
        self._openssl("req", *_KEY, "-keyout", str(self.key(name)), "-out", str(request), "-subj", f"/CN={name}")
        extensions.write_text(f"subjectAltName={','.join(alternatives)}\n" if alternatives else "")
        authority = ("-CA", str(self.authority), "-CAkey", str(self.key("authority")), "-CAcreateserial")
        files = ("-in", str(request), "-extfile", str(extensions), "-out", str(self.certificate(name)))
        self._openssl("x509", "-req", *authority, *_DAYS, *files)

    def _openssl(self, *arguments: str) -> None:
        command = ["openssl", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a test's own
        assert done.returncode == 0, done.stderr
