"""Digests that bind hidden fields to what stands before them."""

from __future__ import annotations

from adapters.prefix import Chain
from crdt_conv import Message, MessageId


def chain(*items: object, head: object = "s", nonce: bytes = b"n") -> str:
    """Return the digest of a request."""
    digest = Chain(head)
    for item in items:
        digest.add(item, [Message(MessageId("m"), "user", (), nonce=nonce)])
    return digest.value


A, B = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}


def test_everything_before_counts() -> None:
    """System and tools, the messages, their order and their bytes change it."""
    others = {chain(A, B, head="t"), chain(B, A), chain(A), chain(A, {**B, "content": "c"})}
    assert len(others | {chain(A, B)}) == 5


def test_cache_markers_do_not_count() -> None:
    """A cache point may move without losing what was sealed behind it."""
    marked = {**A, "cache_control": {"type": "ephemeral"}}
    assert chain(marked, B) == chain(A, B)


def test_the_order_of_keys_does_not_count() -> None:
    """Only what JSON means does."""
    assert chain(dict(reversed(A.items()))) == chain(A)


def test_a_lost_nonce_changes_it() -> None:
    """After a redaction nobody can test guesses at the text with a digest left behind."""
    assert chain(A, nonce=b"") != chain(A)
