"""
Digests of a request as far as a hidden field: what a provider binds that field to.

``chain([]) = SHA-256(JCS(head))`` and ``chain(items + [i]) = SHA-256(chain(items) || salt(i) ||
SHA-256(JCS(i)))``: head is system prompt and tools, an item is one message as it is sent, with the
hidden fields in it, both without cache markers. ``salt`` is made of the nonces of the messages that
an item was made from. A redaction removes them, so that no digest left behind lets anyone test
guesses at what was redacted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from adapters.exchange import Json
from crdt_conv import Message
from crdt_conv.graph.digest import jcs

_MARKERS = frozenset({"cache_control"})


class Chain:
    """The digest of a request that is put together from its front."""

    def __init__(self, head: Json) -> None:
        self._digest = hashlib.sha256(jcs(without_markers(head))).digest()

    @property
    def value(self) -> str:
        """The digest as far as the request goes now, in hex."""
        return self._digest.hex()

    def add(self, item: Json, messages: Iterable[Message]) -> None:
        """Add a message as it is sent, and the messages of the log that it was made from."""
        content = hashlib.sha256(jcs(without_markers(item))).digest()
        self._digest = hashlib.sha256(self._digest + salt_of(messages) + content).digest()


def salt_of(messages: Iterable[Message]) -> bytes:
    """Return a salt that is lost when any of these messages is redacted, 32 bytes."""
    return hashlib.sha256(b"".join(message.nonce for message in messages)).digest()


def without_markers(value: Json) -> Json:
    """Return a JSON value without cache markers, however deep they stand."""
    if isinstance(value, dict):
        return {key: without_markers(item) for key, item in value.items() if key not in _MARKERS}
    if isinstance(value, list | tuple):
        return [without_markers(item) for item in value]
    return value
