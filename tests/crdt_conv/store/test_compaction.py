"""Snapshots in the place of the log: by themselves, and without losing anything."""

from __future__ import annotations

import random
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pycrdt import Array, Doc, Map

from crdt_conv import Conversation, ConversationId, HiddenField, Store, StoreReadOnly, UnknownConversation
from crdt_conv.document.document import Document
from crdt_conv.document.schema import ROOTS
from crdt_conv.engine import Row
from crdt_conv.store.compaction import LEAST_BYTES, Compactor, compact_log, is_due
from crdt_conv.yjs.updates import merge_updates, read_state_vector
from tests.crdt_conv import handmade as by_hand
from tests.replicas import copy_of, replica, restarted, sqlite_of

REFUSED = b"\xff\xff"
"""An update that no document can integrate."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store in a file."""
    return Store(tmp_path / "chats.db", name="ann")


def story(conversation: Conversation) -> None:
    """Write a fork, a merge, a stream, a run's worth of everything that may be lost."""
    first = conversation.append("user", "one", hidden=[HiddenField("p", "p", "sealed", b"x")])
    conversation.append("user", "aside", branch="plan", parents=[first.id])
    writer = conversation.stream()
    for token in ("to", "ken", "s"):
        writer.write(token)
    writer.finish(usage={"output": 3})
    conversation.merge("plan")
    conversation.set_draft("unsent")
    conversation.strip()


def read(conversation: Conversation) -> object:
    """Return what must be the same before and after."""
    # As numbers: the order of clients in the bytes is anybody's.
    return conversation.log(), conversation.drafts, read_state_vector(conversation.state_vector)


def test_nothing_is_lost(store: Store) -> None:
    """The document is the same before and after, in memory, from the snapshot, and for another replica."""
    with store:
        conversation = store.create("Trip")
        story(conversation)
        before = read(conversation)
        (done,) = store.compact()
        assert (done.reason, done.after.rows, done.before.rows > 5) == ("", 0, True)
        for reader in (conversation, restarted(conversation), copy_of(conversation)):
            assert read(reader) == before


def test_what_is_unknown_is_kept(store: Store) -> None:
    """Unknown roots, keys and quarantined entries of strangers stand in the snapshot."""
    doc: Doc[Map[object]] = Doc()
    doc.get("messages", type=Map)["bad"] = Map({"role": 5, "mood": "sour"})
    doc.get("elsewhere", type=Map)["x"] = Array([1, 2])
    with store:
        conversation = store.join("c")
        conversation.receive(doc.get_update())
        store.compact()
        copy: Doc[Map[object]] = Doc()
        copy.apply_update(store.read(conversation.id)[0][1])
        assert copy.get("messages", type=Map).to_py() == {"bad": {"role": 5, "mood": "sour"}}
        assert copy.get("elsewhere", type=Map).to_py() == {"x": [1, 2]}


def test_writing_goes_on_behind_a_snapshot(store: Store) -> None:
    """The live conversation and one that is read anew agree after more was written."""
    with store:
        conversation = store.create()
        for number in range(3):
            conversation.append("user", str(number))
            store.compact()
        conversation.stream().write("more")
        assert restarted(conversation).log() == conversation.log()
        assert len(store.read(conversation.id)) == 3


def test_what_waits_stays_in_the_log(store: Store) -> None:
    """An update that waits for another stays as it came; when the gap closes, it is in the snapshot."""
    one = replica()
    one.append("user", "one")
    other, updates = copy_of(one), [one.encode()]
    other.subscribe(lambda change: updates.append(change.update))
    other.add_hidden(other.heads()[0].id, HiddenField("p", "p", "sealed", b"x"))
    other.writer(other.heads()[0].id).write(" two")
    one.receive(other.encode())
    with store:
        conversation = store.join("c")
        conversation.receive(updates[2])
        for _ in range(2):
            assert "waits" in store.compact()[0].reason
            assert [update for _, update in store.read(conversation.id)] == [updates[2]]
        for update in (updates[0], updates[1]):
            conversation.receive(update)
        assert (store.compact()[0].reason, restarted(conversation).log()) == ("", one.log())


def test_an_open_gap_keeps_the_log_from_growing_no_longer(store: Store) -> None:
    """Whatever does not wait is compacted beside an update that waits for ever, and one that is no use."""
    with store:
        conversation = store.create()
        conversation.receive(by_hand.entry(7, "late", clock=3))
        writer = conversation.stream()
        for number in range(300):
            writer.write(f"token {number} ")
        writer.finish()
        before = conversation.log()
        done = store.compact()[0]
        assert ("waits" in done.reason, done.after.rows) == (True, 0)
        assert done.after.updates + done.after.snapshot < 8000 < done.before.updates
        assert restarted(conversation).log() == before
        conversation.receive(by_hand.entry(7, "late"))
        assert ("late" in conversation, store.compact()[0].after.rows) == (True, 0)


def test_a_refused_update_keeps_nothing_from_being_compacted(store: Store) -> None:
    """What can't be integrated stays as it came, and everything else is in the snapshot."""
    with store:
        conversation = store.create()
        conversation.append("user", "kept")
        store.append_many([Row(conversation.id, REFUSED, "peer")])
        done = store.compact()[0]
        assert ("integrated" in done.reason, done.after.rows) == (True, 1)
        assert store.read(conversation.id)[-1][1] == REFUSED
        assert [message.text for message in restarted(conversation).messages()] == ["kept"]


def told_by(seed: int) -> tuple[Conversation, list[bytes]]:
    """Return a conversation in which much was written, deleted and merged, and its updates."""
    chance, source = Random(seed), replica()
    updates: list[bytes] = []
    source.subscribe(lambda change: updates.append(change.update))
    for number in range(12):
        writer = source.stream("user", branch=chance.choice(source.branches))
        writer.write(f"{number} ")
        other = copy_of(source)
        writer.write("more ")
        other.writer(writer.message_id).write("from elsewhere ")
        source.receive(other.encode(source.state_vector))
        if chance.random() < 0.7:
            writer.finish()
        if chance.random() < 0.3:
            source.redact(chance.choice(source.messages()).id)
        if chance.random() < 0.3:
            source.edit(chance.choice(source.messages()).id, "otherwise")
        source.set_draft("x" * chance.randrange(9))
    return source, updates


@pytest.mark.parametrize("seed", range(12))
def test_a_compaction_at_any_gap_loses_nothing(store: Store, seed: int) -> None:
    """Updates come in any order, some for a long time not, and the log is compacted in between."""
    source, updates = told_by(seed)
    chance = Random(seed)
    chance.shuffle(updates)
    with store:
        conversation = store.join("c")
        for update in updates:
            store.append_many([Row(conversation.id, update, "peer")])
            if chance.random() < 0.2:
                compact_log(store.engine, conversation.id)
        compact_log(store.engine, conversation.id)
        (only,) = store.read(conversation.id)
        found = Document([only[1]]).state_vector
        assert read_state_vector(found) == read_state_vector(source.state_vector)
        assert [conversation.read(root) for root in ROOTS] == [source.read(root) for root in ROOTS]
        assert conversation.log() == source.log()


def test_a_delete_that_waits_is_not_lost(store: Store) -> None:
    """A pending delete stays in the log, since a snapshot would drop it."""
    with store:
        conversation = store.join("c")
        conversation.receive(by_hand.only_deletes(by_hand.deletion(7, (0, 3))))
        assert "waits" in store.compact()[0].reason
        conversation.receive(by_hand.entry(7, "m"))
        assert (store.compact()[0].reason, len(restarted(conversation))) == ("", 0)


def test_a_log_is_compacted_by_itself(store: Store) -> None:
    """A conversation that is streamed token by token stays within a small factor of its document."""
    with store:
        conversation = store.create()
        writer = conversation.stream()
        for number in range(6000):
            writer.write(f"token {number} ")
        writer.finish()
        store._compactor.wait()
        size = store.engine.size(conversation.id)
        assert (size.snapshot > 0, is_due(size), size.rows < 6000) == (True, False, True)
        assert restarted(conversation).log() == conversation.log()


def test_an_error_nobody_foresaw_hangs_nobody() -> None:
    """After a compaction that failed in its own way the next one is made, and waiting ends."""
    done: list[str] = []

    def compact(conversation: ConversationId) -> None:
        done.append(conversation)
        if conversation == "bad":
            raise ZeroDivisionError

    compactor = Compactor(compact)
    compactor.add(ConversationId("bad"))
    compactor.wait()
    compactor.add(ConversationId("good"))
    compactor.wait()
    compactor.close()
    assert done == ["bad", "good"]


def test_small_logs_are_left_alone() -> None:
    """Below 128 KiB, and below the size of the snapshot, there is nothing to gain."""
    size = Store(":memory:").engine.size("nobody")  # type: ignore[arg-type]
    assert not is_due(size._replace(updates=LEAST_BYTES))
    assert is_due(size._replace(updates=LEAST_BYTES + 1))
    assert not is_due(size._replace(snapshot=1_000_000, updates=1_000_000))


def test_one_update_is_as_good_as_a_snapshot() -> None:
    """What a peer sent at once is left as it came, until something is written behind it."""
    size = Store(":memory:").engine.size("nobody")._replace(updates=10 * LEAST_BYTES, rows=1)  # type: ignore[arg-type]
    assert not is_due(size)
    assert is_due(size._replace(rows=2))
    assert is_due(size._replace(snapshot=LEAST_BYTES))


def test_the_file_shrinks(store: Store) -> None:
    """What compaction frees is given back to the disk, the write-ahead log with it."""
    with store:
        conversation = store.create()
        writer = conversation.stream()
        for number in range(1500):
            writer.write(f"token {number} ")
        files = Path(store.path).parent
        before = sum(file.stat().st_size for file in files.iterdir())
        store.compact()
        assert sum(file.stat().st_size for file in files.iterdir()) < before / 3
        assert sqlite_of(store).execute("pragma freelist_count").fetchone() == (0,)


def test_the_write_ahead_log_stays_and_stays_small(store: Store) -> None:
    """By itself, compaction leaves a log to be overwritten, and what a large snapshot made of it goes."""
    log = Path(f"{store.path}-wal")
    with store:
        conversation = store.create()
        for _ in range(8):
            conversation.append("user", random.Random(1).randbytes(500_000).hex())
        store._compactor.wait()
        assert store.engine.size(conversation.id).snapshot > 1_000_000
        conversation.append("user", "one more")
        assert 1_000_000 < log.stat().st_size < 4_200_000


def test_a_reader_sees_all_while_it_is_compacted(store: Store) -> None:
    """A process that reads beside the writer has the log or its snapshot, never a part."""
    with store:
        conversation = store.create("Trip")
        story(conversation)
        with Store(store.path, read_only=True) as reader:
            assert reader.open(conversation.id).log() == conversation.log()
            store.compact()
            assert restarted(reader.open(conversation.id)).log() == conversation.log()
            with pytest.raises(StoreReadOnly):
                reader.compact()


def test_an_unknown_conversation_is_named(store: Store) -> None:
    """Only what is here can be compacted."""
    with store, pytest.raises(UnknownConversation):
        store.compact("nobody")


def test_a_gap_that_closes_while_a_snapshot_is_made_is_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had waited gets a new number though it is applied: the next start needs no document."""
    with Store(tmp_path / "chats.db") as store:
        conversation = store.create(conversation_id="c")
        conversation.receive(
            by_hand.update(7, 0, [by_hand.item(by_hand.values(by_hand.string("x")), (9, 0), "mood")])
        )
        replace = store.engine.replace

        def meanwhile(*args: Any, **kwargs: Any) -> None:
            conversation.receive(by_hand.entry(9, "early"))
            replace(*args, **kwargs)

        monkeypatch.setattr(store.engine, "replace", meanwhile)
        store.compact()
        assert conversation.last_seq == 4
    with Store(tmp_path / "chats.db") as store:
        conversation = store.open("c")
        assert {message.id for message in conversation.messages()} == {"early"}
        assert conversation._document is None


def test_an_open_gap_is_compacted_beside_again_and_again(store: Store) -> None:
    """What one client wrote behind a gap is in the snapshot, and keeps no later one from being made."""
    with store:
        conversation = store.create()
        late = by_hand.entry(7, "late", clock=3)
        conversation.receive(late)
        for number in range(3):
            conversation.append("user", str(number))
            done = store.compact()[0]
            assert ("waits" in done.reason, done.is_done, done.after.rows) == (True, True, 0)
            assert not restarted(conversation).receive(late)
        before = conversation.log()
        conversation.receive(by_hand.entry(7, "early"))
        assert {"early", "late"} < {message.id for message in restarted(conversation).messages()}
        assert (store.compact()[0].reason, conversation.problems()) == ("", [])
        assert {message.id for message in before.messages} < {
            message.id for message in conversation.messages()
        }


def test_of_what_waits_for_another_client_the_rest_is_kept(store: Store) -> None:
    """One struct of an update waits: that is kept alone, again and again, and read when it can be."""
    waiting = by_hand.item(by_hand.values(by_hand.string("good")), (9, 0), "mood")
    with store:
        conversation = store.join("c")
        conversation.receive(merge_updates([by_hand.entry(8, "m"), by_hand.update(8, 3, [waiting])]))
        kept = []
        for _ in range(2):
            conversation.append("user", "and on")
            done = store.compact()[0]
            assert (done.is_done, done.after.rows) == (True, 1)
            kept.append(store.read(conversation.id)[-1][1])
        assert kept[0] == kept[1]
        assert b"role" not in kept[0]
        conversation.receive(by_hand.entry(9, "other"))
        for reader in (conversation, restarted(conversation)):
            assert (reader.read("messages", "other")["mood"], reader.problems()) == ("good", [])


def test_a_skip_that_leads_back_is_read_and_encoded_without_it() -> None:
    """Yrs has encoded documents so that had a gap: as it stands, it would go on in every snapshot of them."""
    structs = [b"\x00\x01", b"\x00\x10", b"\x0a" + by_hand.number(2**32 - 14), b"\x00\x10"]
    update = b"\x01\x04\x07\x00" + b"".join(structs) + b"\x00"
    document = Document([update, by_hand.entry(9, "beside")])
    again = Document([document.encode_soundly()])
    assert (again.is_pending, read_state_vector(again.state_vector)) == (False, {7: 19, 9: 3})
