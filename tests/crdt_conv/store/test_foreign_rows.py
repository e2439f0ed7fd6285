"""
A file in which another program has written: columns of any type, any number, bytes that are no update.

SQLite holds whatever is put there. Each gives an error of ours, or is read; and what is sound is read,
written, checked, copied and recovered all the same.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from crdt_conv import CrdtConvError, HiddenField, Store, StoreCorrupt, recover
from crdt_conv.errors import MalformedUpdate
from crdt_conv.yjs.encoded import EncodedDocument
from crdt_conv.yjs.updates import EMPTY_UPDATE
from tests.replicas import Reader, texts

MAX_SEQ = 2**63 - 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the store goes."""
    return tmp_path / "chats.db"


def row(data: bytes) -> str:
    """Return a statement that gives one conversation's updates other bytes, with the right checksum."""
    crc = zlib.crc32(data)
    return f"update updates set data = x'{data.hex()}', crc = {crc} where conversation = 'ours'"


def snapshot(data: str, *, seq: str = "1", size: str = "9", crc: int = 0) -> str:
    """Return a statement that gives a conversation a snapshot."""
    return f"insert into snapshots values ('ours', {seq}, 1, {size}, {crc}, {data})"


RUBBISH = zlib.compress(b"\xff" * 50)

ROWS = {
    "a number below nothing": "update updates set seq = -seq where conversation = 'ours'",
    "the number nothing": "update updates set seq = 0 where seq = 1",
    "the last number": f"update updates set seq = {MAX_SEQ} where seq = 1",
    "an update that is text": "update updates set data = 'hello', crc = 0 where conversation = 'ours'",
    "an update that is a number": "update updates set data = 5 where conversation = 'ours'",
    "an update that is empty": row(b""),
    "an update that is none": row(b"\xff\xfenoise"),
    "a checksum that is text": "update updates set crc = 'x' where conversation = 'ours'",
    "a conversation by bytes": "update updates set conversation = x'ff' where conversation = 'ours'",
    "an origin by bytes": "update updates set origin = x'ff'",
    "an id in the list by bytes": "update conversations set id = x'ff' where id = 'ours'",
    "an id in the list that leads elsewhere": "update conversations set id = '../x' where id = 'ours'",
    "a title by bytes": "update conversations set title = x'ff00'",
    "a time that is text": "update conversations set created = 'x', updated = 'y'",
    "an origin in a circle": "update conversations set forked_from = id",
    "a blob that is text": "update blobs set data = 'abc'",
    "a blob that is another": "update blobs set data = x'00'",
    "a blob by a number": "update blobs set sha256 = 5",
    "a device by bytes": "update settings set value = x'ff' where key = 'device'",
    "a snapshot at a text": snapshot("x'00'", seq="'x'"),
    "a snapshot below nothing": snapshot("x'00'", seq="-5"),
    "a snapshot that is text": snapshot("'hey'"),
    "a snapshot of a size that is text": snapshot("x'00'", size="'y'"),
    "a snapshot that is not packed": snapshot("x'727562'", crc=zlib.crc32(b"rub")),
    "a snapshot of rubbish": snapshot(f"x'{RUBBISH.hex()}'", crc=zlib.crc32(RUBBISH)),
    "a peer by bytes": "insert into outbox values (x'ff', 'ours', 3, 0)",
    "a peer at a text": "insert into outbox values ('p', 'ours', 'x', 0)",
}


def written(path: Path) -> None:
    """Write a store with two conversations."""
    with Store(path) as store:
        ours = store.create("Ours", conversation_id="ours")
        ours.append("user", "hello")
        ours.append("assistant", "there", hidden=[HiddenField("p", "s", "k", b"x" * 70_000)])
        store.create("Other", conversation_id="other").append("user", "sound")


def change(path: Path, statement: str) -> None:
    """Write as another program does."""
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def attempt(act: Callable[[], object]) -> None:
    """Do something that may fail, with an error of ours."""
    with suppress(CrdtConvError):
        act()


@pytest.mark.parametrize("statement", ROWS.values(), ids=ROWS.keys())
def test_whatever_stands_in_a_row_gives_an_error_of_ours(statement: str, tmp_path: Path, path: Path) -> None:
    """Whatever is done with it; and the other conversation goes on, also in what is recovered."""
    written(path)
    change(path, statement)
    with Store(path) as store:
        attempt(lambda: store.open("ours").log())
        attempt(lambda: [store.open("ours").hidden(m.id) for m in store.open("ours").messages()])
        attempt(lambda: store.open("ours").append("user", "more"))
        attempt(lambda: store.search("hello"))
        attempt(lambda: store.open("ours").waiting("p"))
        attempt(store.compact)
        assert texts(store.open("other").log().messages) == ["sound"]
        store.check()
        store.list()
        store.backup(tmp_path / "copy.db")
    recover(path, tmp_path / "recovered.db")
    with Store(tmp_path / "recovered.db") as store:
        assert texts(store.open("other").log().messages) == ["sound"]


@pytest.mark.parametrize("number", ["-seq", "seq - 1"])
def test_updates_of_any_number_are_read_and_compacted(number: str, path: Path) -> None:
    """Numbers that we never give are numbers: a compaction loses none of what has them."""
    written(path)
    change(path, f"update updates set seq = {number} where conversation = 'ours'")
    with Store(path) as store:
        store.clear_index()
    for _ in range(2):
        with Store(path) as store:
            assert set(texts(store.open("ours").log().messages)) == {"hello", "there"}
            store.compact()


def test_a_file_whose_numbers_are_used_up_says_so(path: Path) -> None:
    """SQLite calls it a full disk, of which nobody could make more."""
    written(path)
    change(path, f"update updates set seq = {MAX_SEQ} where seq = 1")
    with Store(path) as store, pytest.raises(StoreCorrupt, match="last sequence number"):
        store.open("other").append("user", "more")


def test_a_room_is_served_beside_what_is_no_update(path: Path) -> None:
    """What another program put into a log keeps nobody from what we did; alone it is nothing."""
    written(path)
    with Store(path) as store:
        log = [update for _, update in store.read(store.open("ours").id)]
    beside = EncodedDocument([*log, b"\xff\xfenoise"])
    assert all(map(beside.has, log))
    assert len(Reader([beside.encode()]).graph) == 2
    alone = EncodedDocument([b"\xff\xfenoise"])
    assert (alone.encode(), alone.state_vector) == (EMPTY_UPDATE, b"\0")
    alone.add(log[0])
    assert alone.has(log[0])
    with pytest.raises(MalformedUpdate):
        alone.has(b"\xff\xfenoise")
