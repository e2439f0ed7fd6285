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
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import rfc8785

from crdt_conv.messages.fields import Json
from crdt_conv.messages.message import Author, Message

EMPTY: Final = bytes(32)

_SAFE_INTEGER: Final = 2**53 - 1
# Made once: json.dumps makes one anew for every message.
_plain_json: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
_quoted: Final = json.JSONEncoder(ensure_ascii=False).encode


def content_digest(message: Message) -> bytes:
    """Return SHA-256 over the message's canonical visible content."""
    # Put together by hand, keys in their order: a document has very many messages.
    parts = ",".join(_jcs_text(part.as_json()) for part in message.parts)
    parents = ",".join(map(_quoted, message.parents))
    visible = (
        f'{{"author":{_author(message.author)},"branch":{_quoted(message.branch)},"created":{message.created:d}'
        f',"id":{_quoted(message.id)},"nonce":"{message.nonce.hex()}","parents":[{parents}]'
        f',"parts":[{parts}],"role":{_quoted(message.role)},"status":{_quoted(message.status)}}}'
    )
    return hashlib.sha256(visible.encode()).digest()


@lru_cache(maxsize=64)
def _author(author: Author) -> str:
    # A conversation has few of them, each in very many messages.
    return _plain_json(author.as_json())


def jcs(value: Json) -> bytes:
    """Return the RFC 8785 form of a JSON value; integers that no JSON reader keeps exactly as strings."""
    return _jcs_text(value).encode()


def _jcs_text(value: Json) -> str:
    # The same, many times faster: the two differ only in floats and in how they sort rare keys.
    return _plain_json(value) if _is_plain(value) else rfc8785.dumps(_canonical(value)).decode()


def _is_plain(value: Json) -> bool:
    if value is None or isinstance(value, str | bool):
        return True
    if isinstance(value, int):
        return abs(value) <= _SAFE_INTEGER
    if isinstance(value, Mapping):
        return all(key.isascii() and _is_plain(item) for key, item in value.items())
    return isinstance(value, list | tuple) and all(map(_is_plain, value))


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
