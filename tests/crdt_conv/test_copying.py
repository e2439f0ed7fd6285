"""Squash and cherry-pick: messages made from others."""

from __future__ import annotations

import pytest

from crdt_conv import (
    Author,
    Conversation,
    HiddenField,
    InvalidMessage,
    Message,
    UnknownBranch,
    UnknownMessage,
)
from tests.crdt_conv import handmade as by_hand
from tests.replicas import replica, restarted, texts


def planned() -> tuple[Conversation, list[Message]]:
    """Return a conversation with a branch of a question and an answer with hidden fields."""
    conversation = replica(name="ann")
    first = conversation.append("user", "Hello")
    question = conversation.append("user", "Where?", branch="plan", parents=[first.id])
    fields = [
        HiddenField("p", "s", "k", binding.encode(), binding) for binding in ("self", "prefix", "server")
    ]
    model = Author("model", name="smol")
    answer = conversation.append(
        "assistant", "Rome.", branch="plan", hidden=fields, author=model, model="smol", stop_reason="stop"
    )
    conversation.append("user", "Meanwhile")
    return conversation, [question, answer]


def test_a_squash_is_one_message_from_a_whole_branch() -> None:
    """It is a user's message with a transcript, names its sources, and leaves the branch as it is."""
    conversation, sources = planned()
    squashed = conversation.squash("plan")
    assert squashed is not None
    assert (squashed.role, squashed.branch, squashed.text) == ("user", "main", "ann: Where?\n\nsmol: Rome.")
    assert squashed.source == restarted(conversation).message(squashed.id).source
    assert squashed.source == tuple(message.id for message in sources)
    assert texts(conversation.log().messages) == ["Hello", "Meanwhile", squashed.text]
    assert texts(conversation.log("plan").messages) == ["Hello", "Where?", "Rome."]


def test_a_squash_says_what_it_is_told_to() -> None:
    """A summary may stand in the place of the transcript, in either direction."""
    conversation, _ = planned()
    squashed = conversation.squash("main", "plan", text="In short.")
    assert squashed is not None
    assert texts(conversation.log("plan").messages) == ["Hello", "Where?", "Rome.", "In short."]
    with pytest.raises(InvalidMessage):
        conversation.squash("plan", text="\ud800")


def test_a_squash_leaves_out_what_was_redacted() -> None:
    """Redacted messages are no sources; where nothing else is left there is no squash."""
    conversation, (question, answer) = planned()
    conversation.redact(question.id)
    squashed = conversation.squash("plan")
    assert squashed is not None
    assert (squashed.source, squashed.text) == ((answer.id,), "smol: Rome.")
    conversation.redact(answer.id)
    assert conversation.squash("plan") is None


def test_nothing_is_squashed_where_nothing_is_new() -> None:
    """A branch that the target holds adds nothing, and an unknown one is named."""
    conversation, _ = planned()
    conversation.merge("plan")
    seq = conversation.last_seq
    assert conversation.squash("plan") is None
    assert conversation.last_seq == seq
    for source, into in (("plam", "main"), ("plan", "mian")):
        with pytest.raises(UnknownBranch):
            conversation.squash(source, into)


def test_picked_messages_stand_on_each_other() -> None:
    """Copies are chained in the order given, on top of the branch, and name what they were copied from."""
    conversation, (question, answer) = planned()
    head = conversation.heads()[0]
    picked = conversation.cherry_pick([answer.id, question.id])
    assert texts(picked) == ["Rome.", "Where?"]
    assert [message.source for message in picked] == [(answer.id,), (question.id,)]
    assert [message.parents for message in picked] == [(head.id,), (picked[0].id,)]
    assert texts(conversation.log().messages) == ["Hello", "Meanwhile", "Rome.", "Where?"]
    assert conversation.log() == restarted(conversation).log()


def test_a_picked_message_is_like_its_source() -> None:
    """Role, author, parts, model and the reason it stopped come along; its id and nonce are its own."""
    conversation, (_, answer) = planned()
    (picked,) = conversation.cherry_pick([answer.id])
    for name in ("role", "author", "parts", "status", "model", "stop_reason"):
        assert getattr(picked, name) == getattr(answer, name)
    assert picked.id != answer.id
    assert picked.nonce != answer.nonce


def test_only_hidden_fields_that_hold_anywhere_are_picked() -> None:
    """Bound to a prefix or a server they would be wrong in another place."""
    conversation, (_, answer) = planned()
    (picked,) = conversation.cherry_pick([answer.id])
    assert [field.data for field in conversation.hidden(picked.id)] == [b"self"]
    assert picked.hidden_count == 1
    assert len(conversation.hidden(answer.id)) == 3


def test_a_picked_blob_is_kept_by_both() -> None:
    """A hidden blob and an attachment of a picked message belong to the copy, too."""
    conversation, _ = planned()
    photo = conversation.attach_bytes(b"photo", mime="image/png")
    large = HiddenField("p", "s", "k", b"x" * 70_000)
    source = conversation.append("user", "Look", parts=[photo], hidden=[large], branch="plan")
    (picked,) = conversation.cherry_pick([source.id])
    assert (picked.blobs, len(picked.blobs)) == (source.blobs, 2)
    assert conversation.hidden(picked.id)[0].data == b"x" * 70_000


def test_what_streams_is_picked_as_interrupted() -> None:
    """A copy does not grow with its source, and nobody waits for it to end."""
    conversation, _ = planned()
    writer = conversation.stream(branch="plan")
    writer.write("so far")
    (picked,) = conversation.cherry_pick([writer.message_id])
    writer.write(" and on")
    assert (picked.status, conversation.message(picked.id).text) == ("interrupted", "so far")


def test_a_message_with_a_stranger_s_empty_field_is_picked() -> None:
    """A hidden field without data has nothing to bring along, and keeps its message from nothing."""
    conversation = replica()
    empty = by_hand.mapping(provider=by_hand.string("p"))
    conversation.receive(by_hand.entry(7, "m", hidden=by_hand.array(empty)))
    (picked,) = conversation.cherry_pick(["m"])
    assert picked.source == ("m",)


def test_what_says_nothing_is_not_picked() -> None:
    """Merges and redacted messages are refused, and of what was picked beside them nothing is written."""
    conversation, (question, answer) = planned()
    merged = conversation.merge("plan")
    assert merged is not None
    conversation.redact(answer.id)
    seq = conversation.last_seq
    for silent in (merged.id, answer.id):
        with pytest.raises(InvalidMessage, match="nothing that could be picked"):
            conversation.cherry_pick([question.id, silent])
    with pytest.raises(UnknownMessage):
        conversation.cherry_pick([question.id, "nobody"])
    assert (conversation.last_seq, conversation.cherry_pick([])) == (seq, [])
