"""What comes too early: messages before their parents, updates before those they were made on."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from pycrdt import Doc, Map

from crdt_conv import Change, Conversation, HiddenField
from crdt_conv.document.document import Document
from crdt_conv.ids import now_ms
from crdt_conv.yjs.updates import merge_updates
from tests.crdt_conv import handmade as by_hand
from tests.replicas import Reader, reopened, replica, restarted

SOON = now_ms() + 3_600_000


def child_then_root() -> tuple[Conversation, list[Change]]:
    """Return a replica that got an answer from one device before the question from another."""
    conversation = replica()
    heard: list[Change] = []
    conversation.subscribe(heard.append)
    parents = by_hand.array(by_hand.string("root"))
    conversation.receive(by_hand.entry(7, "child", parents=parents, created=by_hand.double(SOON)))
    conversation.receive(by_hand.entry(8, "root"))
    return conversation, heard


def test_a_message_before_its_parent_reads_when_the_parent_comes() -> None:
    """Other devices' updates may arrive in any order."""
    conversation, _ = child_then_root()
    assert [message.id for message in conversation.log().messages] == ["root", "child"]
    assert not conversation.problems()


def test_the_clock_sees_a_message_that_had_waited() -> None:
    """What answers a message that had to wait still sorts after it."""
    conversation, _ = child_then_root()
    assert conversation.append("user", "and then").created > conversation.message("child").created


def test_a_change_names_the_messages_that_it_brought_into_the_log() -> None:
    """Whoever shows what a change names shows a message that had to wait, too."""
    _, heard = child_then_root()
    assert heard[1].messages == {"root", "child"}


def streamed() -> tuple[Conversation, list[bytes]]:
    """Return a conversation with a streamed answer, and its updates."""
    source = replica()
    updates: list[bytes] = []
    source.subscribe(lambda change: updates.append(change.update))
    source.append("user", "one")
    writer = source.stream()
    for piece in ("a", "b", "c"):
        writer.write(piece)
    writer.finish()
    return source, updates


@pytest.mark.parametrize("missing", range(6))
def test_a_gap_anywhere_closes_without_a_trace(missing: int) -> None:
    """Whichever update comes last, memory, log and source agree in the end."""
    source, updates = streamed()
    target = replica("c", "bob")
    for update in [*updates[:missing], *updates[missing + 1 :], updates[missing]]:
        target.receive(update)
    assert target.log() == restarted(target).log() == source.log()
    assert not target.problems()


def test_every_order_of_a_stream_reads_the_same() -> None:
    """A message that streams reads the same in whatever order its updates come, in memory and in the log."""
    source, updates = streamed()
    wrong = []
    for order in permutations(updates[1:]):
        target = replica("c", "bob")
        for update in (updates[0], *order):
            target.receive(update)
        if not target.log() == restarted(target).log() == source.log():
            wrong.append(order)
    assert wrong == []


@pytest.mark.parametrize("missing", range(6))
def test_a_gap_travels_and_closes_elsewhere(missing: int) -> None:
    """What a replica holds with a gap, encoded whole, lacks nothing but what is missing."""
    source, updates = streamed()
    gapped = replica("c", "bob")
    for update in [*updates[:missing], *updates[missing + 1 :]]:
        gapped.receive(update)
    third = replica("c", "eve")
    third.receive(restarted(gapped).encode())
    third.receive(updates[missing])
    assert third.log() == source.log()


def test_a_title_written_apart_beside_a_gap_is_taken_in() -> None:
    """Two devices' titles, one of them behind a gap, raise nothing, and subscribers hear of each update."""
    ann, bob = Doc[Map[Any]](client_id=2), Doc[Map[Any]](client_id=1)
    updates: list[bytes] = []
    for doc in (ann, bob):
        doc.observe(lambda event: updates.append(event.update))
    for key, value in (("a", ""), ("title", "1"), ("title", "2"), ("b", "")):
        ann.get("meta", type=Map)[key] = value
    bob.get("meta", type=Map)["title"] = "3"
    conversation, heard = replica(), list[Change]()
    conversation.subscribe(heard.append)
    for late in (2, 3, 1, 4, 0):
        conversation.receive(updates[late])
    assert (len(heard), conversation.title) == (5, Document(updates).read("meta", "title"))


def test_memory_reads_as_the_log_while_a_gap_is_open() -> None:
    """A restart in the middle of a gap changes nothing of what is read."""
    _, updates = streamed()
    target = replica("c", "bob")
    for update in updates[1:]:
        target.receive(update)
    assert target.problems() == restarted(target).problems()


def test_all_updates_merged_are_the_conversation() -> None:
    """One update made of all, in any order, reads like the source."""
    source, updates = streamed()
    merged = Reader([merge_updates(reversed(updates))])
    head = source.heads()[0].id
    assert (merged.document.is_pending, merged.graph.digest(head)) == (False, source.digest(head))


def test_what_is_written_into_a_message_from_behind_a_gap_is_told_and_shown() -> None:
    """Yjs says nothing of a change in what came before what it waits for; whoever listens hears of it."""
    source, updates, heard = replica(), list[bytes](), list[Change]()
    source.subscribe(lambda change: updates.append(change.update))
    source.title = "comes too late"
    # Usage makes it a change of the same Y.Doc.
    answer = source.append("assistant", "three", usage={"output_tokens": 3})
    target = replica("c", "bob")
    for update in updates[1:]:
        target.receive(update)
    target.subscribe(heard.append)
    target.add_hidden(answer.id, HiddenField("openai", "x", "id", "resp_1"))
    assert heard[-1].messages == {answer.id}
    assert target.message(answer.id).hidden_count == 1


def test_usage_that_is_written_from_behind_a_gap_is_told() -> None:
    """What no digest covers is a change like any other, for whoever listens while something waits."""
    source, updates, heard = replica(), list[bytes](), list[Change]()
    source.subscribe(lambda change: updates.append(change.update))
    answer = source.append("assistant", "three")
    for title in ("comes too late", "waits"):
        source.title = title
    target = replica("c", "bob")
    for update in (updates[0], updates[2]):
        target.receive(update)
    target.subscribe(heard.append)
    doc = Doc[Map[Any]]()
    doc.apply_update(updates[0])
    before, message = doc.get_state(), doc.get("messages", type=Map)[answer.id]
    message["usage"] = {"output_tokens": 3}
    target.receive(doc.get_update(before))
    assert target.document.is_pending
    assert heard[-1].messages == {answer.id}
    assert target.message(answer.id).usage == {"output_tokens": 3}


def test_what_had_waited_is_told_beside_an_odd_entry() -> None:
    """An entry of the wrong shape, or one that loses its shape, hides no message that was placed or lost."""
    conversation, heard = replica(), list[Change]()
    conversation.subscribe(heard.append)
    conversation.receive(by_hand.entry(7, "child", parents=by_hand.array(by_hand.string("root"))))
    odd = by_hand.entry(9, "odd", parents=by_hand.string("no list"))
    conversation.receive(merge_updates([by_hand.entry(8, "root"), odd]))
    assert heard[-1].messages == {"root", "child", "odd"}
    broken = by_hand.item(by_hand.values(by_hand.double(1.0)), (8, 0), "role")
    conversation.receive(by_hand.update(10, 0, [broken], by_hand.deletion(8, (1, 1))))
    assert set(heard[-1].messages) == {"root", "child"}
    assert len(conversation) == 0


def test_a_message_that_is_taken_away_beside_a_gap_is_told() -> None:
    """Whoever shows it hears that it is not there any more."""
    conversation, heard = replica(), list[Change]()
    for update in (by_hand.entry(8, "root"), by_hand.entry(7, "late", clock=3)):
        conversation.receive(update)
    conversation.subscribe(heard.append)
    conversation.receive(by_hand.only_deletes(by_hand.deletion(8, (0, 3))))
    assert set(heard[-1].messages) == {"root"}
    assert "root" not in conversation


def test_the_clock_sees_a_message_that_waits() -> None:
    """What is written now is behind nothing seen, also where it can't be placed yet, and after a restart."""
    conversation = replica()
    parents = by_hand.array(by_hand.string("root"))
    conversation.receive(by_hand.entry(7, "child", parents=parents, created=by_hand.double(SOON)))
    for reader in (restarted(conversation), reopened(conversation), conversation):
        assert reader.next_created() > SOON
