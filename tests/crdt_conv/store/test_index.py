"""The stored index: it says what the document says, it is used, and it may be thrown away."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from crdt_conv import Conversation, Store
from crdt_conv.document import index as index_module
from crdt_conv.document.document import Document
from crdt_conv.engine import Row
from crdt_conv.store import SqliteEngine, keeper
from tests.crdt_conv import handmade as by_hand
from tests.replicas import copy_of, restarted


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a store may be made."""
    return tmp_path / "chats.db"


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what lets no Y.Doc be loaded from then on."""
    return lambda: monkeypatch.setattr(Document, "_load", lambda *_: pytest.fail("the document was loaded"))


def written(path: Path) -> str:
    """Write a conversation with forks and odd entries; returns its id."""
    with Store(path, name="ann") as store:
        conversation = store.create("Trip")
        for number in range(100):
            conversation.append("user" if number % 2 == 0 else "assistant", f"message {number}")
        first = conversation.messages()[0]
        conversation.edit(first.id, "otherwise")
        conversation.merge("main-2")
        conversation.receive(by_hand.entry(7, "bad", role=by_hand.NULL))
        conversation.receive(by_hand.entry(8, "waits", parents=by_hand.array(by_hand.string("nobody"))))
        return conversation.id


def seen(conversation: Conversation) -> object:
    """Return what can be read without the document."""
    return (
        [conversation.log(branch) for branch in conversation.branches],
        sorted((node.id, conversation.digest(node.id)) for node in conversation.graph),
        conversation.title,
        sorted(conversation.index.quarantined),
        [waiting.message.id for waiting in conversation.graph.waiting()],
    )


def test_it_says_what_the_document_says(path: Path) -> None:
    """Read from the index, everything is as it is read from the log."""
    conversation_id = written(path)
    with Store(path) as store:
        conversation = store.open(conversation_id)
        from_index = seen(conversation)
        assert conversation._document is None
        assert from_index == seen(restarted(conversation))


@pytest.mark.parametrize("last", [0, 1, 5, 64, 1000, None])
def test_reading_needs_no_document(path: Path, last: int | None, forbid: Callable[[], None]) -> None:
    """The end of a branch, or all of it, is read without loading the Y.Doc."""
    texts = [str(number) for number in range(100)]
    with Store(path) as store:
        conversation = store.create()
        for text in texts:
            conversation.append("user", text)
        expected = conversation.log(last=last)
    forbid()
    with Store(path) as store:
        log = store.open(conversation.id).log(last=last)
    assert (log, log.length) == (expected, 100)
    shown = 100 if last is None else min(last, 100)
    assert [message.text for message in log.messages] == texts[100 - shown :]


def test_one_more_message_needs_no_document(path: Path, forbid: Callable[[], None]) -> None:
    """Appending reads the index alone, and another process reads what was appended."""
    with Store(path) as store:
        conversation_id = store.create().id
        first = store.open(conversation_id).append("user", "one")
    forbid()
    with Store(path) as store:
        assert store.open(conversation_id).append("assistant", "two").parents == (first.id,)
    with Store(path, read_only=True) as reader:
        assert [m.text for m in reader.open(conversation_id).log(last=2).messages] == ["one", "two"]


def test_thrown_away_it_is_made_again(path: Path) -> None:
    """Derived state can be deleted at any time: everything reads as before, and it is stored anew."""
    conversation_id = written(path)
    with Store(path) as store:
        before = seen(store.open(conversation_id))
        assert isinstance(store.engine, SqliteEngine)
        store.engine.index.clear()
    with Store(path) as store:
        assert seen(store.open(conversation_id)) == before
        assert store.engine.index is not None
        store.flush()
        assert store.engine.index.behind() == []


def test_after_a_crash_it_is_behind_and_not_believed(path: Path, tmp_path: Path) -> None:
    """A file whose writer ended without closing has every message, and a new index."""
    copy = tmp_path / "copy.db"
    with Store(path) as store:
        conversation = store.create()
        for number in range(keeper.UNSAVED_MESSAGES + 10):
            conversation.append("user", str(number))
        for suffix in ("", "-wal", "-shm"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
        expected = conversation.log()
    with Store(copy) as store:
        assert isinstance(store.engine, SqliteEngine)
        assert store.engine.index.behind() == [conversation.id]
        assert store.open(conversation.id).log() == expected


def test_an_update_that_is_not_applied_keeps_it_from_being_stored(path: Path) -> None:
    """An index never claims an update that stands in the log and not in the index."""
    with Store(path) as store:
        conversation = store.create()
        other = copy_of(conversation)
        theirs = other.append("user", "theirs")
        update = other.encode(conversation.state_vector)
        (seq,) = store.append_many([Row(conversation.id, update, "peer")])
        conversation.append("user", "ours, behind it")
        store.flush()
        assert store.engine.index is not None
        assert store.engine.index.behind() == [conversation.id]
        conversation.apply_logged(update, seq, "peer")
        store.flush()
        assert (store.engine.index.behind(), theirs.id in conversation) == ([], True)


def test_little_stays_in_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contents beyond the latest leave memory when they are stored, and are read again."""
    monkeypatch.setattr(index_module, "KEPT", 16)
    with Store(path) as store:
        conversation = store.create()
        for number in range(300):
            conversation.append("user", str(number))
        store.flush()
        assert len(conversation.index._kept) <= 16 + keeper.UNSAVED_MESSAGES
        one_by_one = [conversation.message(node.id).text for node in conversation.graph]
        assert one_by_one == [message.text for message in conversation.log().messages]
        assert len(conversation.index._kept) <= 16 + keeper.UNSAVED_MESSAGES


def test_two_processes_agree_on_what_is_new(path: Path) -> None:
    """A reader that loaded the index before more was written does not mix the two."""
    with Store(path) as store:
        conversation = store.create()
        conversation.append("user", "one")
        store.flush()
        with Store(path, read_only=True) as reader:
            view = reader.open(conversation.id)
            assert len(view) == 1
            conversation.append("user", "two")
            assert view.hidden(view.messages()[0].id) == []
            assert view.document is not None
            assert [m.text for m in view.log().messages] == ["one", "two"]
