"""Documents as bytes over HTTP."""

from __future__ import annotations

import base64

import httpx
import pytest

from crdt_conv import Store
from tests.replicas import copy_of, replica, texts

pytestmark = pytest.mark.anyio

PATH = "/api/conversations/c/update"


def text_of(state_vector: bytes, *, padded: bool = False) -> str:
    """Return a state vector for a URL."""
    text = base64.urlsafe_b64encode(state_vector).decode()
    return text if padded else text.rstrip("=")


async def test_another_replica_catches_up(http: httpx.AsyncClient, store: Store) -> None:
    """All of it at first, then what its state vector lacks, which is little."""
    conversation = store.create(conversation_id="c")
    conversation.append("user", "one" * 1000)
    other = replica("c")
    whole = await http.get(PATH)
    assert whole.headers["content-type"] == "application/octet-stream"
    other.receive(whole.content)
    conversation.append("user", "two")
    for padded in (True, False):
        rest = await http.get(PATH, params={"sv": text_of(other.state_vector, padded=padded)})
        assert len(rest.content) < 500
    other.receive(rest.content)
    assert texts(other.log().messages) == ["one" * 1000, "two"]
    nothing = await http.get(PATH, params={"sv": text_of(other.state_vector)})
    assert nothing.content == b"\x00\x00"


async def test_what_waits_is_handed_on(http: httpx.AsyncClient, store: Store) -> None:
    """An update behind a gap is part of the answer: who asks may have what is missing."""
    source = replica("c")
    source.append("user", "one")
    source.title = "first"
    first, known = source.encode(), source.state_vector
    source.title = "later"
    missing, state_vector = source.encode(known), source.state_vector
    source.title = "last"
    conversation = store.join("c")
    conversation.receive(source.encode(state_vector))
    assert conversation.document.is_pending
    other = replica("c")
    other.receive(first)
    other.receive((await http.get(PATH)).content)
    other.receive(missing)
    assert (other.title, texts(other.log().messages)) == ("last", ["one"])


@pytest.mark.parametrize("sv", ["!", "AA AA", "AP8", "/w==", "AAAA", "_w", "A", "%FF", "AQ"])
async def test_rubbish_is_refused(http: httpx.AsyncClient, store: Store, sv: str) -> None:
    """What is no state vector is a bad request."""
    store.create(conversation_id="c")
    assert (await http.get(f"{PATH}?sv={sv}")).status_code == 400


async def test_the_document_is_as_the_store_has_it(http: httpx.AsyncClient, store: Store) -> None:
    """Snapshot and what stands behind it are one update."""
    conversation = store.create(conversation_id="c")
    conversation.append("user", "one")
    store.compact()
    conversation.append("user", "two")
    copy = replica("c")
    copy.receive((await http.get(PATH)).content)
    assert copy.log().digest == conversation.log().digest == copy_of(conversation).log().digest
