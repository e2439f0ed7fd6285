"""
The token ids of a generated message, as hidden fields of that message. Pure.

Text that is tokenized again may give other ids than the model generated; then the
context it goes on from is not the one it had, and nothing that was computed for it
can be used. So the ids are kept, in fields of the kind ``token-ids`` in the key space
of the model's file: one for every few hundred tokens while the answer comes, so that
somebody else can go on in its middle, and one for the rest.

A field's data: a byte ``2``; 8 bytes of the SHA-256 over a salt and the tokens of the prompt
that was answered (little-endian 32-bit); the length of the visible content as far as this
field goes, in characters; 8 bytes of the SHA-256 over that content; the ids. Numbers
are unsigned LEB128, as in lib0. Content that was changed since does not match, and is
tokenized again. The salt is made of the nonces of the messages before the answer: when one
of them is redacted, nothing here lets anybody test guesses at it.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from crdt_conv import Part
from crdt_conv.messages.hidden import HiddenField

PROVIDER: Final = "llamacpp"
KIND: Final = "token-ids"
SEAL_EVERY: Final = 256
"""Tokens of one field while an answer comes."""

_VERSION = 2
_MAX_TOKEN = 2**31 - 1
_DIGEST = 8
_PART, _NAME = "\x1e", "\x1f"


@dataclass(frozen=True, slots=True)
class Chunk:
    """
    The ids of a stretch of an answer.

    ``prompt`` is the short digest of the tokens that were answered; ``end`` the length of the
    content as far as this chunk goes, in characters, and ``content`` its short digest.
    """

    prompt: bytes
    end: int
    content: bytes
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Generated:
    """What is known of the tokens of a message: ids, and as far as which content they go; see ``Chunk``."""

    prompt: bytes
    ids: tuple[int, ...]
    end: int
    content: bytes = b""


def digest_of(tokens: Iterable[int], salt: bytes = b"") -> bytes:
    """
    Return the short digest of a prompt's tokens.

    Example:
        >>> digest_of([1, 2]).hex()
        '34fb5c825de7ca4a'
    """
    return hashlib.sha256(salt + as_bytes(tokens)).digest()[:_DIGEST]


def as_bytes(tokens: Iterable[int]) -> bytes:
    """Return tokens as 32-bit numbers, the lowest byte first."""
    numbers = array("I", tokens)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


class Content:
    """
    The visible content of an answer in the order in which it came, as one text with a digest.

    Neighbours of one type are one, however they were written: two pieces of text are a text.
    """

    def __init__(self) -> None:
        self._last = ""
        self._pieces: list[str] = []
        self.length = 0

    def add(self, part_type: str, text: str) -> None:
        """Append to a ``text`` or ``reasoning``."""
        if part_type != self._last:
            self._append(f"{_PART}{part_type}{_NAME}")
        self._last = part_type
        self._append(text)

    def call(self, name: str, arguments: str) -> None:
        """Append a whole tool call."""
        self._last = "tool_call"
        self._append(f"{_PART}tool_call{_NAME}{name}{_NAME}{arguments}")

    def _append(self, text: str) -> None:
        self._pieces.append(text)
        self.length += len(text)

    @property
    def text(self) -> str:
        """All of it."""
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    @property
    def digest(self) -> bytes:
        """Its short digest."""
        return _content_digest(self.text)


def content_of(parts: Iterable[Part]) -> str:
    """Return a message's parts as ``Content`` writes them."""
    content = Content()
    for part in parts:
        if part.type == "tool_call":
            content.call(str(part.content.get("name", "")), str(part.content.get("arguments", "")))
        elif part.type in ("text", "reasoning"):
            content.add(part.type, part.text)
    return content.text


def encode_chunk(chunk: Chunk) -> bytes:
    """Return the data of a field."""
    numbers = bytearray((_VERSION,))
    numbers += chunk.prompt
    _write(numbers, chunk.end)
    numbers += chunk.content
    for token in chunk.ids:
        _write(numbers, token)
    return bytes(numbers)


def decode_chunk(data: object) -> Chunk | None:
    """Return what a field holds, or nothing where that is not ours or was cut off."""
    if not isinstance(data, bytes) or not data.startswith(bytes((_VERSION,))):
        return None
    try:
        place = 1 + _DIGEST
        end, place = _read(data, place)
        content, place = data[place : place + _DIGEST], place + _DIGEST
        ids = array("q")
        while place < len(data):
            token, place = _read(data, place)
            if token > _MAX_TOKEN:
                return None
            ids.append(token)
    except (IndexError, OverflowError):
        return None
    return Chunk(data[1 : 1 + _DIGEST], end, content, tuple(ids)) if len(content) == _DIGEST else None


def seal(chunk: Chunk, *, space: str, model: str, created: int = 0) -> HiddenField:
    """Return a chunk as a hidden field."""
    return HiddenField(PROVIDER, space, KIND, encode_chunk(chunk), model=model, created=created)


def generated(
    parts: Sequence[Part], fields: Iterable[HiddenField], space: str
) -> tuple[Generated | None, str]:
    """
    Return the ids that a message was generated with, as far as they still match what it says.

    Args:
        parts: The message's.
        fields: Its hidden fields, in order.
        space: The model's key space.

    Returns:
        What is known, and in words for people why it is not all (empty where it is).
    """
    ours = [field for field in fields if field.provider == PROVIDER and field.kind == KIND]
    if not ours:
        return None, "no token ids are kept with it"
    mine = [field for field in ours if field.space == space]
    if not mine:
        return None, "its token ids are another model's"
    chunks = [decode_chunk(field.data) for field in mine]
    content = content_of(parts)
    ids: list[int] = []
    known: Generated | None = None
    for chunk in chunks:
        if chunk is None:
            return known, "its token ids can't be read"
        if chunk.end > len(content) or _content_digest(content[: chunk.end]) != chunk.content:
            return known, "it does not say any more what its token ids say"
        ids += chunk.ids
        known = Generated(chunk.prompt, tuple(ids), chunk.end, chunk.content)
    assert known is not None
    return known, "" if known.end == len(content) else "its end has no token ids"


def rest_of(parts: Iterable[Part], start: int) -> str:
    """
    Return the text behind the first ``start`` characters of the content.

    Nothing, where another part or a call begins there: those are not written as they were generated.
    """
    rest = content_of(parts)[start:]
    return "" if _PART in rest else rest


def _content_digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_DIGEST]


def _write(numbers: bytearray, value: int) -> None:
    while value > 0x7F:
        numbers.append(0x80 | value & 0x7F)
        value >>= 7
    numbers.append(value)


def _read(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place
