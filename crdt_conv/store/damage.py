"""What a check or a recovery finds wrong, and how bytes are told to be whole."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from crdt_conv.errors import MalformedUpdate
from crdt_conv.yjs.updates import check_update

Progress: TypeAlias = Callable[[int, int], None]
"""Is told how much is done, of how much."""


@dataclass(frozen=True, slots=True)
class Damage:
    """
    One thing that is damaged, or not there.

    ``what`` is ``update``, ``snapshot`` or ``blob`` (canonical; the rest is saved by
    ``recover``), ``file`` (pages of it, also by ``recover``), ``list`` (the next new
    title mends it), or ``index`` (derived, and costs nothing: it is made anew where it
    is met, and by ``Store.clear_index``). ``key`` is a sequence number, a SHA-256, a message's id, or empty.
    """

    what: str
    conversation: str | None
    key: str
    text: str

    @property
    def is_derived(self) -> bool:
        """Whether nothing is lost by it: it is made anew from what is not damaged."""
        return self.what in {"index", "list"}


def is_whole(crc: object, data: object) -> bool:
    """Whether bytes have a CRC."""
    return isinstance(data, bytes) and zlib.crc32(data) == crc


def is_named(sha256: object, data: object) -> bool:
    """Whether bytes have a SHA-256, in hexadecimal digits."""
    return isinstance(data, bytes) and hashlib.sha256(data).hexdigest() == sha256


def update_damage(conversation: str, seq: int, update: bytes) -> Iterator[Damage]:
    """Say whether an update can't be decoded."""
    try:
        check_update(update)
    except MalformedUpdate:
        yield Damage("update", conversation, str(seq), f"the update {seq} is no update")
