"""
The acceptance suite of the seam: every engine behind a ``Store`` passes it.

Subclass ``EngineSuite`` in a test module, say how an engine is made, and let
pytest collect it (nothing here needs pytest)::

    class TestMyEngine(EngineSuite):
        def make(self) -> Engine:
            return MyEngine(...)

An engine that outlives its process also says how to open the same one again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crdt_conv.engine import Engine, Listed, Row
from crdt_conv.errors import ConversationDeleted, StoreError
from crdt_conv.ids import ConversationId, now_ms
from crdt_conv.store.compaction import compact_log
from crdt_conv.store.store import Store

C = ConversationId("c")
D = ConversationId("d")


class EngineSuite:
    """What ``crdt_conv.engine`` promises, as tests."""

    def make(self) -> Engine:
        """Return a new, empty engine."""
        raise NotImplementedError

    def again(self, engine: Engine) -> Engine:
        """Close an engine and return it opened again; the same one, where nothing outlives it."""
        return engine

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """Yield a new engine, closed at the end."""
        engine = self.make()
        try:
            yield engine
        finally:
            engine.close()

    # The log

    def test_updates_are_read_in_sequence(self) -> None:
        """A conversation's updates come back byte for byte, in the order of their growing numbers."""
        with self.engine() as engine:
            seqs = engine.append([Row(C, b"1"), Row(D, b"2"), Row(C, b"3", "peer")], at_ms=5)
            assert seqs == sorted(set(seqs))
            assert engine.read(C) == [(seqs[0], b"1"), (seqs[2], b"3")]
            assert engine.read(C, seqs[0]) == [(seqs[2], b"3")]
            assert engine.read(C, seqs[2]) == engine.read(ConversationId("nobody")) == []

    def test_what_was_appended_outlives_the_engine(self) -> None:
        """Opened again, everything is there: log, snapshot, blobs, leases, what peers have, settings."""
        with self.engine() as engine:
            engine.append([Row(C, b"1")], at_ms=5)
            engine.replace(C, engine.last_seq(C), b"snapshot")
            (last,) = engine.append([Row(C, b"2")], at_ms=6)
            sha256 = engine.put_blob(b"blob")
            engine.acquire_lease("run", "ann", at_ms=0, until_ms=10)
            engine.acknowledge("peer", C, last)
            engine.set_setting("key", "value")
            again = self.again(engine)
            assert [update for _, update in again.read(C)] == [b"snapshot", b"2"]
            assert (again.last_seq(C), again.get_blob(sha256)) == (last, b"blob")
            assert again.acquire_lease("run", "bob", at_ms=5, until_ms=20) is None
            assert (again.acknowledged("peer", C), again.setting("key")) == (last, "value")
            if again is not engine:
                again.close()

    def test_a_number_is_never_given_twice(self) -> None:
        """Not after its update was discarded, nor after a snapshot took its place."""
        with self.engine() as engine:
            (first,) = engine.append([Row(C, b"1")], at_ms=5)
            engine.discard(first)
            (second,) = engine.append([Row(C, b"2")], at_ms=5)
            engine.replace(C, second, b"s")
            (third,) = engine.append([Row(C, b"3")], at_ms=5)
            assert first < second < third
            assert engine.read(C) == [(second, b"s"), (third, b"3")]

    def test_appending_is_safe_from_several_threads(self) -> None:
        """Threads that append at the same time get different numbers, and nothing is lost."""
        with self.engine() as engine:
            threads = [threading.Thread(target=_append_many, args=(engine, bytes([n]), 50)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            seqs = [seq for seq, _ in engine.read(C)]
            assert (len(set(seqs)), seqs) == (200, sorted(seqs))

    def test_a_closed_engine_refuses(self) -> None:
        """After close, appending and reading raise an error of ours."""
        engine = self.make()
        engine.close()
        for act in (lambda: engine.append([Row(C, b"1")], at_ms=5), lambda: engine.read(C)):
            assert _is_refused(act)

    # Snapshots

    def test_a_snapshot_stands_for_what_it_replaced(self) -> None:
        """It has the number of the last update it replaced; later updates and others' stay."""
        with self.engine() as engine:
            seqs = engine.append([Row(C, b"1"), Row(C, b"2"), Row(D, b"3"), Row(C, b"4")], at_ms=5)
            engine.replace(C, seqs[1], b"snapshot")
            assert engine.read(C) == [(seqs[1], b"snapshot"), (seqs[3], b"4")]
            assert engine.read(C, seqs[0]) == [(seqs[1], b"snapshot"), (seqs[3], b"4")]
            assert engine.read(C, seqs[1]) == [(seqs[3], b"4")]
            assert engine.read(D) == [(seqs[2], b"3")]

    def test_a_later_snapshot_replaces_an_earlier_one(self) -> None:
        """There is one snapshot a conversation, and last_seq never goes back."""
        with self.engine() as engine:
            for _ in range(2):
                engine.append([Row(C, b"1")], at_ms=5)
                engine.replace(C, engine.last_seq(C), b"s%d" % engine.last_seq(C))
            assert engine.read(C) == [(engine.last_seq(C), b"s%d" % engine.last_seq(C))]

    def test_an_older_snapshot_takes_nothing_away(self) -> None:
        """One that was begun before another and ends behind it is not kept."""
        with self.engine() as engine:
            seqs = engine.append([Row(C, b"1"), Row(C, b"2"), Row(C, b"3")], at_ms=5)
            engine.replace(C, seqs[1], b"both")
            engine.replace(C, seqs[0], b"one")
            assert engine.read(C) == [(seqs[1], b"both"), (seqs[2], b"3")]

    def test_what_a_snapshot_has_not_is_kept_behind_it(self) -> None:
        """It gets new numbers, in its order; who had everything has everything, and others lack it still."""
        with self.engine() as engine:
            rows = [Row(C, b"1"), Row(C, b"2", "peer"), Row(C, b"3"), Row(D, b"4"), Row(C, b"5")]
            seqs = engine.append(rows, at_ms=5)
            engine.acknowledge("all", C, seqs[4])
            engine.acknowledge("half", C, seqs[2])
            engine.replace(C, seqs[2], b"snapshot", kept={seqs[2]: b"3", seqs[1]: b"half"})
            read = engine.read(C)
            assert [update for _, update in read] == [b"snapshot", b"5", b"half", b"3"]
            numbers = [seq for seq, _ in read]
            assert (numbers[:2], numbers == sorted(set(numbers))) == ([seqs[2], seqs[4]], True)
            assert [engine.waiting(peer, C) for peer in ("all", "half", "peer", "new")] == [0, 3, 3, 4]
            assert engine.acknowledged("all", C) == engine.last_seq(C) == numbers[-1]
            assert [update for _, update in engine.read(D)] == [b"4"]

    def test_a_snapshot_lets_go_of_blobs(self) -> None:
        """What its log named and it does not is collected however new it is, unless it is in use."""
        with self.engine() as engine:
            (seq,) = engine.append([Row(C, b"1")], at_ms=5)
            kept, gone, other = engine.put_blob(b"kept"), engine.put_blob(b"gone"), engine.put_blob(b"other")
            engine.replace(C, seq, b"snapshot", dropped=[kept, gone, "0" * 64])
            assert engine.collect_blobs([kept], before_ms=1) == 1
            assert [engine.has_blob(sha256) for sha256 in (kept, gone, other)] == [True, False, True]

    def test_sizes_are_told(self) -> None:
        """The size of a log is that of its snapshot as encoded, and of what stands behind it."""
        with self.engine() as engine:
            assert engine.size(C) == (0, 0, 0)
            engine.append([Row(C, b"12"), Row(C, b"345")], at_ms=5)
            assert engine.size(C) == (0, 5, 2)
            engine.replace(C, engine.last_seq(C), b"snapshot")
            assert engine.size(C) == (8, 0, 0)

    # Conversations

    def test_conversations_are_listed_latest_first(self) -> None:
        """A conversation is there from its first update, with the title and origin it was given."""
        with self.engine() as engine:
            assert not engine.has("c")
            engine.append([Row(C, b"1")], at_ms=1000)
            engine.append([Row(D, b"1")], at_ms=2000)
            engine.describe(C, Listed("Trip", D, is_archived=True))
            assert [info.id for info in engine.conversations()] == [D, C]
            engine.append([Row(C, b"2")], at_ms=3000)
            assert engine.conversations()[0] == (C, "Trip", 1000, 3000, D, True)
            engine.append([Row(D, b"2", None, Listed("Elsewhere"))], at_ms=4000)
            assert engine.conversations()[0] == (D, "Elsewhere", 2000, 4000, None, False)
            assert engine.has("c")

    # Deletion

    def test_a_deleted_conversation_leaves_a_tombstone(self) -> None:
        """All of it is gone, and what else there is stays; the tombstone outlives the engine."""
        with self.engine() as engine:
            engine.append([Row(C, b"1", "peer"), Row(D, b"2")], at_ms=5)
            engine.replace(C, engine.last_seq(C), b"snapshot")
            engine.append([Row(C, b"3")], at_ms=6)
            engine.acknowledge("peer", C, 1)
            engine.delete(C, at_ms=7)
            again = self.again(engine)
            assert (again.read(C), again.last_seq(C), again.size(C)) == ([], 0, (0, 0, 0))
            assert (again.acknowledged("peer", C), again.waiting("peer", C)) == (0, 0)
            assert ([info.id for info in again.conversations()], again.has("c")) == ([D], False)
            assert (again.is_deleted("c"), again.is_deleted("d"), again.tombstones()) == (True, False, [C])
            assert [update for _, update in again.read(D)] == [b"2"]
            if again is not engine:
                again.close()

    def test_nothing_is_appended_to_a_tombstone(self) -> None:
        """An update for it is refused with all that came in one group; the others come again."""
        with self.engine() as engine:
            engine.append([Row(C, b"1")], at_ms=5)
            engine.delete(C, at_ms=5)
            for rows in ([Row(C, b"2")], [Row(D, b"3"), Row(C, b"4")]):
                assert _is_refused(lambda rows=rows: engine.append(rows, at_ms=5), ConversationDeleted)  # type: ignore[misc]
            assert (engine.read(C), engine.read(D), engine.conversations()) == ([], [], [])
            (seq,) = engine.append([Row(D, b"3")], at_ms=5)
            assert engine.read(D) == [(seq, b"3")]

    def test_no_snapshot_brings_back_what_was_deleted(self) -> None:
        """A compaction that was under way leaves nothing; nor does a description, or deleting again."""
        with self.engine() as engine:
            (seq,) = engine.append([Row(C, b"1")], at_ms=5)
            engine.delete(C, at_ms=5)
            engine.replace(C, seq, b"snapshot")
            engine.describe(C, Listed("Trip"))
            engine.delete(C, at_ms=6)
            assert (engine.read(C), engine.conversations(), engine.tombstones()) == ([], [], [C])

    def test_what_was_never_here_can_be_deleted(self) -> None:
        """A tombstone that another device tells of keeps a conversation out."""
        with self.engine() as engine:
            engine.delete(C, at_ms=5)
            assert _is_refused(lambda: engine.append([Row(C, b"1")], at_ms=5), ConversationDeleted)

    def test_a_deletion_lets_go_of_blobs(self) -> None:
        """What it names is collected however new it is, unless it is in use."""
        with self.engine() as engine:
            engine.append([Row(C, b"1")], at_ms=5)
            kept, gone, other = engine.put_blob(b"kept"), engine.put_blob(b"gone"), engine.put_blob(b"other")
            engine.delete(C, at_ms=5, blobs=[kept, gone, "0" * 64])
            assert engine.collect_blobs([kept], before_ms=1) == 1
            assert [engine.has_blob(sha256) for sha256 in (kept, gone, other)] == [True, False, True]

    # Blobs

    def test_blobs_are_kept_under_their_hash(self) -> None:
        """Bytes come back byte for byte; put twice they are one blob."""
        data = bytes(range(256)) * 1000
        with self.engine() as engine:
            sha256 = engine.put_blob(data)
            assert engine.put_blob(data) == sha256 == hashlib.sha256(data).hexdigest()
            assert engine.get_blob(sha256) == data
            assert (engine.get_blob("0" * 64), engine.has_blob("0" * 64)) == (None, False)
            assert engine.has_blob(sha256)

    def test_blobs_that_nobody_uses_are_collected(self) -> None:
        """What is in use, or newer than asked, stays."""
        with self.engine() as engine:
            kept, gone = engine.put_blob(b"kept"), engine.put_blob(b"gone")
            assert engine.collect_blobs([kept], before_ms=0) == 0
            assert engine.collect_blobs([kept], before_ms=now_ms() + 1) == 1
            assert (engine.get_blob(kept), engine.get_blob(gone)) == (b"kept", None)

    # Leases

    def test_a_lease_has_one_owner_at_a_time(self) -> None:
        """Another owner gets it when it has ended, with a higher epoch; renewing keeps the epoch."""
        with self.engine() as engine:
            assert engine.acquire_lease("run", "ann", at_ms=0, until_ms=10) == 1
            assert engine.acquire_lease("run", "bob", at_ms=9, until_ms=20) is None
            assert engine.acquire_lease("run", "ann", at_ms=9, until_ms=20) == 1
            assert engine.acquire_lease("run", "bob", at_ms=20, until_ms=30) == 2
            assert engine.acquire_lease("run", "ann", at_ms=20, until_ms=30) is None

    def test_a_released_lease_is_free_at_once(self) -> None:
        """Its owner gives it back, and nobody else can; the epoch goes on."""
        with self.engine() as engine:
            engine.acquire_lease("run", "ann", at_ms=0, until_ms=10)
            engine.release_lease("run", "bob")
            assert engine.acquire_lease("run", "bob", at_ms=1, until_ms=10) is None
            engine.release_lease("run", "ann")
            assert engine.acquire_lease("run", "bob", at_ms=1, until_ms=10) == 2

    def test_one_of_many_gets_a_lease(self) -> None:
        """Of threads that ask at the same time, one is granted it."""
        with self.engine() as engine:
            granted: list[int] = []

            def ask(owner: str) -> None:
                epoch = engine.acquire_lease("run", owner, at_ms=0, until_ms=10)
                granted.extend([] if epoch is None else [epoch])

            threads = [threading.Thread(target=ask, args=(str(n),)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert granted == [1]

    # What peers have

    def test_what_a_peer_lacks_is_counted(self) -> None:
        """Its own updates don't count, and acknowledging never goes backwards."""
        with self.engine() as engine:
            seqs = engine.append([Row(C, b"1"), Row(C, b"2", "peer"), Row(C, b"3", "other")], at_ms=5)
            assert engine.waiting("peer", C) == 2
            engine.acknowledge("peer", C, seqs[0])
            engine.acknowledge("peer", C, 0)
            assert (engine.acknowledged("peer", C), engine.waiting("peer", C)) == (seqs[0], 1)
            assert engine.peers() == ["peer"]
            engine.acknowledge("peer", C, seqs[2])
            assert engine.waiting("peer", C) == 0

    def test_a_snapshot_counts_what_it_replaced(self) -> None:
        """Compaction makes nothing look acknowledged: not to known peers, and not to new ones."""
        with self.engine() as engine:
            rows = [Row(C, b"1"), Row(C, b"2"), Row(C, b"3", "peer"), Row(C, b"4")]
            seqs = engine.append(rows, at_ms=5)
            engine.acknowledge("peer", C, seqs[0])
            for last in (seqs[1], seqs[3]):
                engine.replace(C, last, b"snapshot")
                assert (engine.waiting("peer", C), engine.waiting("new", C)) == (2, 4)
            engine.append([Row(C, b"5")], at_ms=5)
            assert (engine.waiting("peer", C), engine.waiting("new", C)) == (3, 5)
            engine.acknowledge("peer", C, seqs[3])
            assert engine.waiting("peer", C) == 1

    # Settings

    def test_settings_are_kept(self) -> None:
        """A setting that nobody wrote is empty."""
        with self.engine() as engine:
            assert engine.setting("key") == ""
            assert engine.set_setting("key", "one") == "one"
            engine.set_setting("key", "two")
            assert engine.setting("key") == "two"

    # Behind a store

    def test_a_store_works_over_it(self) -> None:
        """A conversation is written, compacted, read again and redacted."""
        engine = self.make()
        with Store(engine=engine, name="ann") as store:
            conversation = store.create("Trip")
            secret = conversation.append("user", "secret")
            conversation.append("assistant", "answer")
            assert [done.reason for done in store.compact()] == [""]
            conversation.redact(secret.id)
            store.compact()
            assert b"secret" not in b"".join(update for _, update in engine.read(conversation.id))
            assert [message.text for message in conversation.log().messages] == ["", "answer"]

    def test_a_store_deletes_over_it(self) -> None:
        """A conversation is deleted while its log is compacted; nobody gets it back."""
        engine = self.make()
        with Store(engine=engine) as store:
            conversation = store.create("Trip")
            update = store.create("Other").encode()
            thread = threading.Thread(
                target=lambda: [compact_log(engine, conversation.id) for _ in range(20)]
            )
            thread.start()
            for number in range(20):
                conversation.append("user", str(number))
            store.delete(conversation.id)
            thread.join()
            for act in (store.open, store.join, lambda name: store.create(conversation_id=name)):
                assert _is_refused(lambda act=act: act(conversation.id), ConversationDeleted)  # type: ignore[misc]
            assert _is_refused(lambda: conversation.receive(update), ConversationDeleted)
            assert (engine.read(conversation.id), [info.title for info in store.list()]) == ([], ["Other"])

    def test_a_snapshot_is_made_while_others_write(self) -> None:
        """Updates that come while a snapshot is made stand behind it."""
        engine = self.make()
        with Store(engine=engine) as store:
            conversation = store.create()
            thread = threading.Thread(target=lambda: [compact_log(engine, conversation.id) for _ in range(5)])
            thread.start()
            for number in range(100):
                conversation.append("user", str(number))
            thread.join()
            again = [message.text for message in store.open(conversation.id).log().messages]
            assert again == [str(number) for number in range(100)]


def _append_many(engine: Engine, update: bytes, count: int) -> None:
    for _ in range(count):
        engine.append([Row(C, update)], at_ms=5)


def _is_refused(act: Callable[[], object], error: type[StoreError] = StoreError) -> bool:
    try:
        act()
    except error:
        return True
    return False
