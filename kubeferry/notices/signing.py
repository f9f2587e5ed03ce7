"""A message's signature, as Standard Webhooks 1.0 has it (standardwebhooks.com), so that a receiver needs no code of
ours: HMAC-SHA256 over `id.timestamp.body`. The timestamp is signed: an old message that somebody sends again is known
by it; one that we send again is known by its id. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

SHORTEST_KEY = 24  # bytes, as the specification asks
PREFIX = "whsec_"


class BadKey(Exception):
    """What the environment holds is no key; the message says why, and not what."""


def key_of(secret: str) -> bytes:
    """The key that a secret stands for: `whsec_` and base64, or the text itself. Raises BadKey."""
    secret = secret.strip()
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True) if secret.startswith(PREFIX) else b""
    except binascii.Error:
        raise BadKey(f"behind {PREFIX} stands no base64") from None
    key = key or secret.encode()
    if len(key) < SHORTEST_KEY:
        raise BadKey(f"it is shorter than {SHORTEST_KEY} bytes")
    return key


def headers(key: bytes, ident: str, seconds: int, body: bytes) -> dict[str, str]:
    """The headers that go with a body which is sent at this time (seconds since 1970)."""
    digest = hmac.new(key, f"{ident}.{seconds}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": ident, "webhook-timestamp": str(seconds), "webhook-signature": signature}
