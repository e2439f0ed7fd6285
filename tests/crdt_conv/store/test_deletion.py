"""Deleting a conversation: a tombstone stays, and nothing else, in any file."""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from crdt_conv import (
    Conversation,
    ConversationDeleted,
    ConversationId,
    HiddenField,
    MemoryEngine,
    Store,
    StoreError,
    StoreReadOnly,
    UnknownConversation,
    recover,
)
from crdt_conv.store import SqliteEngine
from crdt_conv.store.compaction import compact_log
from crdt_conv.store.sqlite.index import SqliteIndex
from tests.replicas import copy_of, sqlite_of, texts

WORD = "qzxjvwpk"
ATTACHED = b"attached vqxz " * 100
LARGE = b"sealed at length " * 5000
NEEDLES = {
    "the word": WORD.encode(),
    "the word's end": WORD[2:].encode(),
    "the title": b"Holidays",
    "the attachment": ATTACHED[:40],
    "the attachment's hash": hashlib.sha256(ATTACHED).hexdigest().encode(),
    "the sealed bytes": LARGE[:40],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the store goes, in a folder of its own."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder / "chats.db"


def written(store: Store, conversation_id: str = "c") -> Conversation:
    """Return a conversation with something to find in every place there is."""
    conversation = store.create("Holidays", conversation_id=conversation_id)
    attached = conversation.attach_bytes(ATTACHED, mime="text/plain")
    conversation.append("user", f"Say {WORD}", parts=[attached])
    conversation.append("assistant", "No.", hidden=[HiddenField("p", "s", "k", LARGE)])
    return conversation


def values(path: Path) -> Iterator[bytes]:
    """Yield every file of the store, and every value in its tables, also decompressed."""
    yield from (file.read_bytes() for file in path.parent.iterdir())
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        database.text_factory = bytes
        for (table,) in database.execute("select name from sqlite_master where type = 'table'").fetchall():
            for row in database.execute(f'select * from "{table.decode()}"'):
                for value in row:
                    if isinstance(value, bytes):
                        yield value
                        yield decompressed(value)


def decompressed(value: bytes) -> bytes:
    """Return what was compressed, or nothing."""
    try:
        return zlib.decompress(value)
    except zlib.error:
        return b""


def left(path: Path) -> set[str]:
    """Return what of a conversation is anywhere in the store."""
    everything = list(values(path))
    return {name for name, needle in NEEDLES.items() if any(needle in value for value in everything)}


def log_only(_store: Store) -> None:
    """Leave it in the log."""


def compacted(store: Store) -> None:
    """Have a snapshot, pages and a search index."""
    store.compact()


def written_on(store: Store) -> None:
    """Have a snapshot, and updates behind it."""
    store.compact()
    for number in range(100):
        store.open("c").append("user", f"Filler {number}")


@pytest.mark.parametrize("before", [log_only, Store.reindex, compacted, written_on])
def test_its_bytes_leave_the_file(path: Path, before: Callable[[Store], object]) -> None:
    """After the next compaction nothing of it is in any file, and another conversation is whole."""
    with Store(path) as store:
        written(store)
        other = store.create("Other")
        other.append("user", "Hello")
        before(store)
        assert left(path) == set(NEEDLES)
        store.delete("c")
        store.compact()
        assert left(path) == set()
        assert (store.search(WORD), store.search("filler"), texts(other.log().messages)) == (
            [],
            [],
            ["Hello"],
        )
        assert list(store.check()) == []


def test_it_is_erased_without_being_asked(path: Path) -> None:
    """The compaction follows by itself; closing waits for it."""
    with Store(path) as store:
        written(store)
        store.delete("c")
    assert left(path) == set()


def test_what_a_crash_left_is_erased_by_the_next_compaction(path: Path) -> None:
    """A deletion that nobody could erase, since somebody was reading, is made good later."""
    with Store(path) as store:
        written(store)
        with closing(sqlite3.connect(path)) as reader:
            reader.execute("begin")
            reader.execute("select * from updates").fetchall()
            store.delete("c")
            with pytest.raises(StoreError, match="another process reads"):
                store.compact()
        store._compactor._is_closed = True
    with Store(path) as store:
        store.compact()
    assert left(path) == set()


def test_several_are_erased_by_one_scrub(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is not written anew for each."""
    scrubs: list[SqliteEngine] = []
    original = SqliteEngine.scrub

    def scrub(engine: SqliteEngine) -> bool:
        scrubs.append(engine)
        return original(engine)

    monkeypatch.setattr(SqliteEngine, "scrub", scrub)
    with Store(path) as store:
        monkeypatch.setattr(store._compactor, "add", lambda _: None)
        for name in "abc":
            written(store, name)
            store.delete(name)
        store.compact()
    assert (len(scrubs), left(path)) == (1, set())


def test_attachments_that_others_have_stay(path: Path) -> None:
    """A fork is a document of its own: it keeps its text and its attachments."""
    with Store(path) as store:
        original = written(store)
        fork = store.fork(original.id)
        store.delete("c")
        store.compact()
        assert store.get_blob(hashlib.sha256(ATTACHED).hexdigest()) == ATTACHED
        assert [found.conversation for found in store.search(WORD)] == [fork.id]
        fork.redact(fork.log().messages[0].id)


def test_nobody_gets_it_back(path: Path) -> None:
    """It is told apart from what was never there, also after a restart and by who only reads."""
    with Store(path) as store:
        written(store)
        store.delete("c")
        for act in (store.open, store.join, store.delete, store.fork, store.compact):
            with pytest.raises(ConversationDeleted, match="was deleted"):
                act("c")
        with pytest.raises(ConversationDeleted):
            store.create(conversation_id="c")
        with pytest.raises(UnknownConversation) as unknown:
            store.delete("d")
        assert not isinstance(unknown.value, ConversationDeleted)
    with Store(path, read_only=True) as reader, pytest.raises(ConversationDeleted):
        reader.open("c")


def test_who_still_holds_it_is_told(path: Path) -> None:
    """Reading, writing and receiving say that it was deleted; nothing of that reaches the file."""
    with Store(path) as store:
        conversation = written(store)
        elsewhere = copy_of(conversation)
        elsewhere.append("user", "from afar")
        writer = conversation.stream()
        store.delete("c")
        for act in (
            lambda: conversation.append("user", "more"),
            lambda: conversation.receive(elsewhere.encode()),
            lambda: conversation.apply_logged(elsewhere.encode(), 99),
            lambda: writer.write("more"),
            conversation.log,
            conversation.encode,
        ):
            with pytest.raises(ConversationDeleted):
                act()
        conversation.save_index()
        store.flush()
    with Store(path) as store:
        assert (store.list(), store.search("more")) == ([], [])


def test_an_index_that_is_stored_late_is_not_kept(path: Path) -> None:
    """What another replica of this process still had in memory stays out of the file."""
    with Store(path) as store:
        held = Conversation(written(store).id, store, store._author)
        assert len(held.log().messages) == 2
        store.delete("c")
        held.save_index()
        store.compact()
        assert (left(path), store.search(WORD)) == (set(), [])


def test_subscribers_hear_of_it(path: Path) -> None:
    """Once, when it is durable; who stopped listening hears nothing."""
    heard: list[str] = []
    with Store(path) as store:
        stop = store.subscribe_deleted(lambda gone: heard.append(f"{gone} {store.engine.is_deleted(gone)}"))
        written(store)
        store.delete("c")
        stop()
        written(store, "d")
        store.delete("d")
    assert heard == ["c True"]


def test_who_only_reads_deletes_nothing(path: Path) -> None:
    """A store that was opened for reading refuses."""
    with Store(path) as store:
        written(store)
    with Store(path, read_only=True) as reader, pytest.raises(StoreReadOnly):
        reader.delete("c")


def test_a_deletion_that_fails_did_not_happen(path: Path) -> None:
    """All of it is there, or none of it."""
    with Store(path) as store:
        conversation = written(store)
        sqlite_of(store).execute(
            "create trigger no before insert on deleted begin select raise(fail, 'x'); end"
        )
        with pytest.raises(StoreError):
            store.delete("c")
        assert len(conversation.log().messages) == 2
        sqlite_of(store).execute("drop trigger no")
        store.delete("c")


def test_a_damaged_index_keeps_nothing_from_being_deleted(path: Path) -> None:
    """What is derived is thrown away where it can't be read; others are found again."""
    with Store(path) as store:
        written(store)
        written(store, "other")
        store.reindex()
    with Store(path) as store:
        sqlite_of(store).execute("update pages set data = x'00'")
        store.delete("c")
        assert [found.conversation for found in store.search(WORD)] == ["other"]
        assert list(store.check()) == []


def test_a_blob_stays_while_an_index_is_made_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that comes to be while blobs are collected hides no reference to one."""
    with Store(path) as store:
        written(store)
        written(store, "other")
        index = store.engine.index
        assert isinstance(index, SqliteIndex)
        index.clear()
        in_use = index.blobs_in_use

        def meanwhile() -> set[str]:
            used = in_use()
            store.open("other").index  # noqa: B018 - read from the document
            store.open("other").save_index()
            return used

        monkeypatch.setattr(index, "blobs_in_use", meanwhile)
        store.delete("c")
        store.compact()
        monkeypatch.undo()
        assert list(store.check()) == []


def test_a_recovered_store_knows_what_was_deleted(path: Path, tmp_path: Path) -> None:
    """Tombstones are canonical: they come through."""
    with Store(path) as store:
        written(store)
        written(store, "other")
        store.delete("c")
    recovery = recover(path, tmp_path / "new.db")
    assert recovery.recovered["deleted"] == 1
    with Store(tmp_path / "new.db") as store:
        assert [info.id for info in store.list()] == ["other"]
        with pytest.raises(ConversationDeleted):
            store.open("c")


def test_a_compaction_that_finds_it_gone_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleted between being measured and being read, it has no log to compact."""
    engine = MemoryEngine()
    with Store(engine=engine) as store:
        conversation = written(store).id
        read = engine.read

        def delete_and_read(name: ConversationId) -> list[tuple[int, bytes]]:
            engine.delete(name, at_ms=0)
            return read(name)

        monkeypatch.setattr(engine, "read", delete_and_read)
        assert compact_log(engine, conversation).reason == "there is nothing behind the snapshot"
