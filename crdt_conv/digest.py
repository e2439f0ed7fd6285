"""
Digests: equal digests mean that two replicas saw the same log.

``content(m) = SHA-256(JCS(visible content of m))`` and
``digest(log) = fold(log)`` with ``fold([]) = 32 zero bytes`` and
``fold(log + [m]) = SHA-256(fold(log) || content(m))``. JCS is RFC 8785. Hidden
fields, usage and the run are no part of it; the nonce is, so that no digest
left behind lets anyone test guesses at a redacted text.
"""

from __future__ import annotations

import hashlib
from typing import Final

import rfc8785

from crdt_conv.fields import Json
from crdt_conv.message import Message

EMPTY: Final = bytes(32)

_SAFE_INTEGER: Final = 2**53 - 1


def content_digest(message: Message) -> bytes:
    """Return SHA-256 over the message's canonical visible content."""
    visible: Json = {
        "id": message.id,
        "role": message.role,
        "parents": list(message.parents),
        "branch": message.branch,
        "created": message.created,
        "author": message.author.as_json(),
        "status": message.status,
        "nonce": message.nonce.hex(),
        "parts": [_canonical(part.as_json()) for part in message.parts],
    }
    return hashlib.sha256(rfc8785.dumps(visible)).digest()


def fold(previous: bytes, content: bytes) -> bytes:
    """Return the digest of a log that ends with one more message."""
    return hashlib.sha256(previous + content).digest()


def _canonical(value: Json) -> Json:
    """Replace integers that no JSON reader keeps exactly by their digits, as RFC 8785 advises."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _SAFE_INTEGER:
        return str(value)
    return value
