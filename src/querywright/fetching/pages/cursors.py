"""Write the cursors of pages: sealed with a secret that was given, or else open, with nothing that clients do not see.

A sealed one is encrypted, then authenticated together with the name of its list. Both are done with HMAC-SHA256, which
is a pseudorandom function: of a counter it makes the key stream, of the result the tag; each has a key of its own.
Derivation of keys: RFC 5869. Encrypt-then-MAC: https://doi.org/10.1007/s00145-008-9026-x
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from functools import lru_cache
from weakref import WeakKeyDictionary

from sqlalchemy import Dialect, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from querywright.errors import ConfigurationError, InvalidCursor
from querywright.settings import LEAST_SECRET, RANDOM_TEXT

__all__ = ["LONGEST", "Seal", "foreign", "named", "read_open", "seal_of", "use_cursor_secret", "write_open"]

# Of characters; what carries a cursor, the line of a request, is cut off earlier by most servers.
LONGEST = 2**16
_NONCE, _TAG, _NAME = 16, 16, 6
_BLOCK = hashlib.sha256().digest_size
# So that the length of a cursor tells nothing of a number or a time, and little of a text.
_PADDED = 64


@dataclass(frozen=True)
class Seal:
    """Seals cursors.

    Attributes:
        encrypting: The key of what hides them.
        authenticating: The key of what tells them from forged ones.
    """

    encrypting: bytes = field(repr=False)
    authenticating: bytes = field(repr=False)

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, secret: str) -> Seal:
        """Derive the keys of a secret."""
        extracted = hmac.digest(b"querywright", secret.encode(), "sha256")
        return cls(*(hmac.digest(extracted, use + b"\1", "sha256") for use in (b"cursor: encrypt", b"cursor: sign")))

    def close(self, name: str, text: str) -> str:
        """Make a cursor that nobody without the secret can read or change.

        Args:
            name: What tells the list and its order from any other.
            text: JSON, which takes no harm of spaces at its end.
        """
        plain = text.encode()
        nonce = secrets.token_bytes(_NONCE)
        hidden = self._covered(nonce, plain.ljust(-(-len(plain) // _PADDED) * _PADDED))
        return _written(nonce + hidden + self._tag(name, nonce, hidden))

    def open(self, name: str, cursor: str) -> str:
        """Return the text that was sealed.

        Raises:
            InvalidCursor: It was not made for this list, or was changed.
        """
        raw = _read(cursor)
        nonce, hidden, tag = raw[:_NONCE], raw[_NONCE:-_TAG], raw[-_TAG:]
        if not hmac.compare_digest(tag, self._tag(name, nonce, hidden)):
            raise foreign()
        return self._covered(nonce, hidden).decode()

    def _covered(self, nonce: bytes, text: bytes) -> bytes:
        """Add the key stream; once more takes it away."""
        blocks = range(-(-len(text) // _BLOCK))
        stream = b"".join(hmac.digest(self.encrypting, nonce + block.to_bytes(8, "big"), "sha256") for block in blocks)
        return bytes(one ^ other for one, other in zip(text, stream, strict=False))

    def _tag(self, name: str, nonce: bytes, hidden: bytes) -> bytes:
        listed = name.encode()
        whole = len(listed).to_bytes(8, "big") + listed + nonce + hidden
        return hmac.digest(self.authenticating, whole, "sha256")[:_TAG]


# By dialect, which engines with other execution options share.
_seals: WeakKeyDictionary[Dialect, Seal] = WeakKeyDictionary()


def use_cursor_secret(engine: Engine | AsyncEngine, secret: str) -> None:
    """Encrypt and sign the cursors of pages that are fetched with a plain engine of SQLAlchemy.

    A database of Querywright does so with its setting ``cursor_secret``.

    Args:
        engine: The engine; it holds for all that are made of it by ``execution_options()``, and for their sessions.
        secret: At least 16 characters, the same for all workers.

    Raises:
        ConfigurationError: The secret is short enough to be guessed.

    Example:
        >>> from sqlalchemy import create_engine
        >>> use_cursor_secret(create_engine("sqlite://"), "9R6rV2mXq0JbYc8wKzT4dNfH1sLpGuEo")
    """
    if len(secret) < LEAST_SECRET:
        message = f"A cursor_secret has at least {LEAST_SECRET} characters."
        raise ConfigurationError(message, hint=f"Make one by: {RANDOM_TEXT}")
    _seals[engine.dialect] = Seal.of(secret)


def seal_of(engine: Engine) -> Seal | None:
    """Return what an engine's cursors are sealed with; ``None`` if it was given no secret."""
    return _seals.get(engine.dialect)


def write_open(name: str, text: str) -> str:
    """Make a cursor that anybody can read, and forge."""
    return _written(named(name) + text.encode())


def read_open(name: str, cursor: str) -> str:
    """Return what stands in an open cursor; nothing of it can be trusted.

    Raises:
        InvalidCursor: It says of itself that it belongs to another list, or cannot be read.
    """
    raw = _read(cursor)
    try:
        if raw[:_NAME] == named(name):
            return raw[_NAME:].decode()
    except UnicodeDecodeError:
        pass
    raise foreign()


def named(name: str) -> bytes:
    """Shorten the name of a list; for mistakes only, as anybody can do that."""
    return hashlib.sha256(name.encode()).digest()[:_NAME]


def foreign() -> InvalidCursor:
    """Make the error of a cursor that was not made for a list."""
    return InvalidCursor("The cursor is not one of this list.", hint="Begin again at the first page.")


def _written(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _read(cursor: str) -> bytes:
    if len(cursor) > LONGEST:
        raise foreign()
    try:
        raw = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise foreign() from None
    # Another last character may stand for the same bytes.
    if _written(raw) != cursor:
        raise foreign()
    return raw
