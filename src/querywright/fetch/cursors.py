"""Sign the cursors of pages, so that a client can neither forge nor change one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from weakref import WeakKeyDictionary

from sqlalchemy import Dialect, Engine

from querywright.errors import InvalidCursor

__all__ = ["open_cursor", "secret_of", "sign_cursor", "use_secret"]

_MAC_BYTES = 16
# By dialect, which engines with other execution options share.
_secrets: WeakKeyDictionary[Dialect, bytes] = WeakKeyDictionary()


def use_secret(engine: Engine, secret: str) -> None:
    """Sign the cursors of this engine's lists with a secret of its own."""
    _secrets[engine.dialect] = secret.encode()


def secret_of(engine: Engine) -> bytes:
    """Return what an engine's cursors are signed with.

    Without a secret of its own it is derived from the URL, password included: the same for all processes of a service.
    """
    url = engine.url.render_as_string(hide_password=False)
    return _secrets.get(engine.dialect) or hashlib.sha256(f"querywright cursor {url}".encode()).digest()


def sign_cursor(secret: bytes, order: str, values: str) -> str:
    """Make a cursor.

    Args:
        secret: What it is signed with.
        order: What tells the list and its order from any other.
        values: Where in the order it points, as JSON.
    """
    payload = values.encode()
    return base64.urlsafe_b64encode(_mac(secret, order, payload) + payload).decode().rstrip("=")


def open_cursor(secret: bytes, order: str, cursor: str) -> str:
    """Return the values that were signed.

    Raises:
        InvalidCursor: It was not made for this list, or was changed.
    """
    try:
        raw = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(secret, order, payload)):
        raise InvalidCursor("The cursor is not one of this list.", hint="Begin again at the first page.")
    return payload.decode()


def _mac(secret: bytes, order: str, payload: bytes) -> bytes:
    return hmac.digest(secret, order.encode() + b"\0" + payload, "sha256")[:_MAC_BYTES]
