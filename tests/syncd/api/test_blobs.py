"""Blobs over HTTP: checked against their hash, in ranges, cached for good."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest

from crdt_conv import Store, StoreFull
from syncd.api import blobs
from syncd.auth import Right
from tests.syncd.api.conftest import FakeGate

pytestmark = pytest.mark.anyio

DATA = bytes(range(256)) * 1000


def path_of(data: bytes) -> str:
    """Return where some bytes are."""
    return f"/api/blobs/{hashlib.sha256(data).hexdigest()}"


async def test_bytes_come_back(http: httpx.AsyncClient) -> None:
    """Put and got, byte for byte; put again it is here already."""
    put = await http.put(path_of(DATA), content=DATA)
    assert (put.status_code, put.json()["size"]) == (201, len(DATA))
    assert (await http.put(path_of(DATA), content=DATA)).status_code == 200
    got = await http.get(path_of(DATA))
    assert (got.content, got.headers["content-length"]) == (DATA, str(len(DATA)))
    assert got.headers["etag"] == f'"{hashlib.sha256(DATA).hexdigest()}"'
    assert "immutable" in got.headers["cache-control"]
    assert (got.headers["x-content-type-options"], "sandbox" in got.headers["content-security-policy"]) == (
        "nosniff",
        True,
    )


async def test_an_empty_blob_is_one(http: httpx.AsyncClient) -> None:
    """No bytes have a hash, too."""
    assert (await http.put(path_of(b""), content=b"")).status_code == 201
    assert (await http.get(path_of(b""))).content == b""
    assert (await http.get(path_of(b""), headers={"Range": "bytes=0-"})).status_code == 416


async def test_other_bytes_are_refused(http: httpx.AsyncClient, store: Store) -> None:
    """Nothing is kept: neither under the name that was said nor under the one that is right."""
    answer = await http.put(path_of(DATA), content=DATA + b"!")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "sha256")
    assert store.engine.connection.rows("select * from blobs") == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["x", "0" * 63, "A" * 64, "0" * 65, "../etc", "%00"])
@pytest.mark.parametrize("method", ["PUT", "GET"])
async def test_a_name_that_is_no_hash_is_refused(http: httpx.AsyncClient, method: str, name: str) -> None:
    """Before anything is read."""
    assert (await http.request(method, f"/api/blobs/{name.replace('/', '%2F')}")).status_code == 422


async def test_too_much_is_refused_before_it_has_come(http: httpx.AsyncClient, store: Store) -> None:
    """By its length where that is said, else as it comes; from memory it goes to a file meanwhile."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 1_000_000

    assert (await http.put(path_of(DATA), content=endless())).status_code == 413
    assert sent < 70
    large = b"x" * (blobs.BLOB_BYTES + 1)
    assert (await http.put(path_of(large), content=large)).status_code == 413
    assert not store.has_blob(hashlib.sha256(large).hexdigest())
    exact = b"y" * blobs.BLOB_BYTES
    assert (await http.put(path_of(exact), content=exact)).status_code == 201


RANGES = [
    ("bytes=0-9", 206, (0, 10)),
    ("bytes=10-", 206, (10, 256_000)),
    ("bytes=-5", 206, (255_995, 256_000)),
    ("bytes=-999999999", 206, (0, 256_000)),
    ("bytes=255999-999999999", 206, (255_999, 256_000)),
    ("bytes=256000-", 416, None),
    ("bytes=256000-256005", 416, None),
    ("bytes=-0", 416, None),
    # Ignored, as RFC 9110 allows: all of it comes.
    ("bytes=9-5", 200, (0, 256_000)),
    ("bytes=0-1,5-6", 200, (0, 256_000)),
    ("bytes=-", 200, (0, 256_000)),
    ("bytes=a-b", 200, (0, 256_000)),
    ("lines=0-1", 200, (0, 256_000)),
    ("bytes=" + "9" * 5000 + "-", 200, (0, 256_000)),
]


@pytest.mark.parametrize(("asked", "status", "span"), RANGES)
async def test_ranges(
    http: httpx.AsyncClient, store: Store, asked: str, status: int, span: tuple[int, int] | None
) -> None:
    """One range is answered as RFC 9110 says; what can't be is said with the size."""
    store.put_blob(DATA)
    answer = await http.get(path_of(DATA), headers={"Range": asked})
    assert answer.status_code == status
    if span is None:
        assert answer.headers["content-range"] == "bytes */256000"
        return
    assert answer.content == DATA[slice(*span)]
    assert answer.headers.get("content-range") == (
        f"bytes {span[0]}-{span[1] - 1}/256000" if status == 206 else None
    )


async def test_conditions(http: httpx.AsyncClient, store: Store) -> None:
    """A client that has it gets nothing; a range of another version is all of this one."""
    store.put_blob(DATA)
    etag = f'"{hashlib.sha256(DATA).hexdigest()}"'
    for tags in (etag, f"W/{etag}", f'"x", {etag}'):
        answer = await http.get(path_of(DATA), headers={"If-None-Match": tags})
        assert (answer.status_code, answer.content) == (304, b"")
    other = await http.get(path_of(DATA), headers={"Range": "bytes=0-1", "If-Range": '"x"'})
    same = await http.get(path_of(DATA), headers={"Range": "bytes=0-1", "If-Range": etag})
    assert (other.status_code, same.status_code) == (200, 206)


async def test_its_head_has_no_body(http: httpx.AsyncClient, store: Store) -> None:
    """Size and tag alone."""
    store.put_blob(DATA)
    answer = await http.head(path_of(DATA))
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "256000", b"")
    assert (await http.head(path_of(b"?"))).status_code == 404


async def test_a_damaged_blob_is_not_handed_out(http: httpx.AsyncClient, store: Store) -> None:
    """Bytes that are not what their name says are an error of the server."""
    store.put_blob(DATA)
    store.engine.connection.rows("update blobs set data = x'00'")  # type: ignore[attr-defined]
    assert (await http.get(path_of(DATA))).status_code == 500


async def test_a_full_disk_is_told(
    http: httpx.AsyncClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, with a time to come back, and no word of where the file is."""

    def full(_data: bytes) -> str:
        raise StoreFull(f"{store.path}: the disk is full")

    monkeypatch.setattr(store, "put_blob", full)
    answer = await http.put(path_of(DATA), content=DATA)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert str(store.path) not in answer.text


async def test_who_has_rights_in_one_conversation_names_it(
    http: httpx.AsyncClient, store: Store, gate: FakeGate
) -> None:
    """They put attachments there, and get those that its messages have, and no others."""
    gate.rights["ann"] = {"c": {Right.READ, Right.WRITE}}
    http.headers["Authorization"] = "Bearer ann"
    conversation = store.create(conversation_id="c")
    assert (await http.put(path_of(DATA), content=DATA)).status_code == 403
    assert (await http.put(path_of(DATA), content=DATA, params={"conversation": "d"})).status_code == 403
    assert (await http.put(path_of(DATA), content=DATA, params={"conversation": "c"})).status_code == 201
    assert (await http.get(path_of(DATA), params={"conversation": "c"})).status_code == 404
    conversation.append("user", parts=[conversation.attach_bytes(DATA, mime="x/y")])
    assert (await http.get(path_of(DATA), params={"conversation": "c"})).content == DATA
    assert (await http.get(path_of(DATA))).status_code == 403
