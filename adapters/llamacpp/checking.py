"""
Whether token ids say what their message says: whoever can write a document can write both.

Ids of another's making could put words before the model that nobody sees, or be of no
vocabulary at all. So before they are used, the server turns them into text, that is read
as an answer is, and what comes of it has to be the message's content. It is done once
for each answer, and remembered while the program runs.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Protocol, TypeAlias

from adapters.errors import AdapterError
from adapters.llamacpp.reading import Called, Reader
from adapters.llamacpp.tokens import Content, as_bytes

Json: TypeAlias = Any
MAX_REMEMBERED = 100_000


class Detokenizer(Protocol):
    """What is asked of a server."""

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""

    async def tokenize_mixed(
        self, content: Sequence[str | int], *, add_special: bool, parse_special: bool
    ) -> list[int]:
        """Return the ids of texts one after another."""


async def without_forged(
    body: Mapping[str, Json], space: str, server: Detokenizer, remembered: MutableMapping[bytes, bool]
) -> dict[str, Json]:
    """
    Return a request's body without ids that say something else than their message.

    Args:
        body: The request's.
        space: The key space whose ids are used.
        server: What knows the vocabulary.
        remembered: What was found before, by digest; it is added to.

    Raises:
        AdapterError: The server is away.
    """
    new = {key: known for key, known in _known(body, space) if key not in remembered}
    if len(remembered) > MAX_REMEMBERED:
        remembered.clear()
    for (key, known), text in zip(new.items(), await _texts(server, list(new.values())), strict=True):
        remembered[key] = text is not None and says(text, bytes.fromhex(known["content"]))
    forged = {key for key, _ in _known(body, space) if not remembered.get(key, False)}
    if not forged:
        return dict(body)
    messages = [
        {**message, "turns": [_cleaned(turn, space, forged) for turn in message["turns"]]}
        if "turns" in message
        else message
        for message in body["messages"]
    ]
    return {**body, "messages": messages}


def says(text: str, digest: bytes) -> bool:
    """Whether the raw text of an answer reads as content with this digest, in any way that it may be read."""
    for has_tools, has_reasoning, is_thinking in itertools.product((False, True), repeat=3):
        reader = Reader(has_reasoning=has_reasoning, has_tools=has_tools, is_thinking=is_thinking)
        content = Content()
        for piece in (*reader.feed(text), *reader.end()):
            if isinstance(piece, Called):
                content.call(piece.name, piece.arguments)
            else:
                content.add(piece.type, piece.text)
        if content.digest == digest:
            return True
    return False


async def _texts(server: Detokenizer, answers: Sequence[Mapping[str, Json]]) -> list[str | None]:
    """Return the text of each answer's ids, or nothing where they are none of the vocabulary."""
    if not answers:
        return []
    mark = f"@{secrets.token_hex(8)}@"
    between = await server.tokenize_mixed([mark], add_special=False, parse_special=False)
    ids = [token for known in answers for token in (*between, *known["ids"])]
    found = await _text(server, ids)
    texts = found.split(mark)[1:] if found is not None else []
    if len(texts) == len(answers):
        return list(texts)
    # One of them is no token, or has the mark: each by itself.
    return [await _alone(server, between, mark, known["ids"]) for known in answers]


async def _alone(server: Detokenizer, between: Sequence[int], mark: str, ids: Sequence[int]) -> str | None:
    text = await _text(server, [*between, *ids])
    return text.partition(mark)[2] if text is not None else None


async def _text(server: Detokenizer, ids: Sequence[int]) -> str | None:
    try:
        return await server.detokenize(ids)
    except AdapterError as error:
        # llama-server has 500 for a token that it does not know.
        if error.status is None:
            raise
        return None


def _known(body: Mapping[str, Json], space: str) -> Iterator[tuple[bytes, Mapping[str, Json]]]:
    for message in body["messages"]:
        for turn in message.get("turns", ()):
            if (known := turn["tokens"].get(space)) is not None:
                yield _key(known), known


def _key(known: Mapping[str, Json]) -> bytes:
    return hashlib.sha256(bytes.fromhex(known["content"]) + as_bytes(known["ids"])).digest()


def _cleaned(turn: Mapping[str, Json], space: str, forged: set[bytes]) -> Mapping[str, Json]:
    known = turn["tokens"].get(space)
    if known is None or _key(known) not in forged:
        return turn
    return {**turn, "tokens": {}, "why": "its token ids say something else than it does"}
