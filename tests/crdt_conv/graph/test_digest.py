"""Digests by canonical JSON that was written by hand: another implementation must get the same."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from crdt_conv.graph.digest import EMPTY, content_digest, fold
from crdt_conv.graph.graph import Graph
from crdt_conv.ids import MessageId
from crdt_conv.messages.message import Author, Message, Part
from tests.replicas import message

MESSAGE = Message(
    id=MessageId("m"),
    role="assistant",
    parents=(MessageId("p"), MessageId("q")),
    branch="main",
    created=1795477982736,
    author=Author("model", "d", "smöl"),
    parts=(Part("1", "text", {"text": 'Hi "you"\n'}), Part("2", "tool_result", {"content": [1, 2.5, None]})),
    status="complete",
    nonce=b"\x01\xff",
)

CANONICAL = (
    '{"author":{"device":"d","kind":"model","name":"smöl"},"branch":"main","created":1795477982736,'
    '"id":"m","nonce":"01ff","parents":["p","q"],"parts":[{"id":"1","text":"Hi \\"you\\"\\n","type":"text"},'
    '{"content":[1,2.5,null],"id":"2","type":"tool_result"}],"role":"assistant","status":"complete"}'
)

VISIBLE = {
    "id": MessageId("other"),
    "role": "user",
    "parents": (MessageId("q"), MessageId("p")),
    "branch": "plan",
    "created": 5,
    "author": Author("human", "d", "smöl"),
    "parts": (),
    "status": "interrupted",
    "nonce": b"",
}

INVISIBLE = {"run": "r", "model": "m", "usage": {"tokens": 1}, "stop_reason": "stop", "hidden_count": 3}


def content_of(**content: object) -> bytes:
    """Return the content digest of a message with one part."""
    return content_digest(replace(MESSAGE, parts=(Part("1", "x", content),)))


def test_the_digest_covers_canonical_json() -> None:
    """The content digest is SHA-256 over RFC 8785 JSON in UTF-8."""
    assert content_digest(MESSAGE) == hashlib.sha256(CANONICAL.encode()).digest()


@pytest.mark.parametrize("key", VISIBLE)
def test_what_is_visible_is_covered(key: str) -> None:
    """Any change that a person could see, and the nonce, change the digest."""
    assert content_digest(replace(MESSAGE, **{key: VISIBLE[key]})) != content_digest(MESSAGE)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", INVISIBLE)
def test_what_is_not_visible_is_left_out(key: str) -> None:
    """Hidden fields, the run and its figures are no part of the digest."""
    assert content_digest(replace(MESSAGE, **{key: INVISIBLE[key]})) == content_digest(MESSAGE)  # type: ignore[arg-type]


def test_a_log_is_folded_from_nothing() -> None:
    """A log's digest starts with 32 zero bytes, and each message is hashed onto it."""
    root = replace(MESSAGE, parents=())
    graph = Graph([root], content_digest)
    assert EMPTY == bytes(32) == graph.digest_of([])
    assert fold(EMPTY, b"x") == hashlib.sha256(bytes(32) + b"x").digest()
    assert graph.digest("m") == fold(EMPTY, content_digest(root))


def test_numbers_are_equal_as_javascript_writes_them() -> None:
    """One device stores 5 as an integer, another as a float: the log is the same."""
    assert content_of(n=5) == content_of(n=5.0) != content_of(n=6)


def test_numbers_beyond_exactness_are_told_apart() -> None:
    """Integers that no double holds are covered by their digits."""
    assert content_of(n=2**53) != content_of(n=2**53 + 1)
    assert content_of(n=[{"deep": 2**60}]) != content_of(n=[{"deep": 2**60 + 1}])


def test_keys_are_sorted_as_javascript_sorts_them() -> None:
    """Keys are ordered by UTF-16 code units: an emoji before a ligature, where UTF-8 has it behind."""
    one = replace(MESSAGE, parts=(Part("1", "x", {"\ufb33": 1, "\U0001f600": 2}),))
    written = CANONICAL[: CANONICAL.index('"parts"')]
    written += (
        '"parts":[{"id":"1","type":"x","\U0001f600":2,"\ufb33":1}],"role":"assistant","status":"complete"}'
    )
    assert content_digest(one) == hashlib.sha256(written.encode()).digest()


def test_a_redaction_in_the_middle_changes_what_follows() -> None:
    """Digests of a message and of all above it change with its content; those below stay."""
    chain = [message("a"), message("b", "a"), message("c", "b")]
    graph = Graph(chain, content_digest)
    before = [graph.digest(name) for name in "abc"]
    assert graph.add(replace(chain[1], status="redacted"))
    after = [graph.digest(name) for name in "abc"]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False]
