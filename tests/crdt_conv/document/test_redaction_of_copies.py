"""A redaction reaches what squash and cherry-pick made of a message, and what an error quotes of it."""

from __future__ import annotations

import pytest

from crdt_conv import Conversation, HiddenField, Target
from tests.replicas import copy_of, exchange, reopened, replica, restarted

SECRET = "qzxjvwpk"


def copied() -> tuple[Conversation, str]:
    """Return a conversation with a secret, a squash that quotes it, and a copy of a copy of it."""
    conversation = replica()
    first = conversation.append("user", "Hello")
    sealed = HiddenField("p", "s", "k", f"sealed {SECRET}".encode(), binding="self")
    secret = conversation.append("assistant", f"It is {SECRET}.", hidden=[sealed])
    conversation.fork("side", first.id)
    conversation.append("user", "Aside", branch="side")
    assert conversation.squash("main", "side") is not None
    (copy,) = conversation.cherry_pick([secret.id], "side")
    conversation.cherry_pick([copy.id], "side")
    conversation.append("user", "Thanks", branch="side")
    return conversation, secret.id


def statuses(conversation: Conversation, message_id: str) -> list[str]:
    """Return the statuses of a message's copies."""
    return [copy.status for copy in conversation.copies(message_id)]


def assert_gone(*replicas: Conversation) -> None:
    """Check that the secret is on none of them, in memory or read again, nor in what they hand over."""
    for one in replicas:
        for reader in (one, restarted(one), reopened(one)):
            said = [message.as_json() for message in reader.messages()]
            hidden = [reader.hidden(message.id) for message in reader.messages()]
            runs = [run.as_json() for run in reader.runs.all()]
            assert SECRET not in str([said, hidden, runs])
            assert SECRET.encode() not in reader.encode()


def test_copies_are_named() -> None:
    """A squash, a copy and its copy are told, parents first, also by a replica that read its stored index."""
    conversation, secret = copied()
    expected = [message.id for message in conversation.log("side").messages[2:5]]
    for reader in (conversation, restarted(conversation), reopened(conversation)):
        assert [copy.id for copy in reader.copies(secret)] == expected
        assert reader.copies(expected[-1]) == []


def test_copies_are_redacted_with_the_message() -> None:
    """Nothing of it is left anywhere; what stands around it is."""
    conversation, secret = copied()
    conversation.redact(secret)
    assert_gone(conversation)
    said = [message.text for message in conversation.log("side").messages]
    assert said == ["Hello", "Aside", "", "", "", "Thanks"]


def test_a_copy_alone_is_redacted_alone() -> None:
    """What was copied from it goes, and what it was copied from stays."""
    conversation, secret = copied()
    squashed, copy, _ = conversation.copies(secret)
    conversation.redact(copy.id)
    assert statuses(conversation, secret) == [squashed.status, "redacted", "redacted"]
    assert conversation.message(secret).text == f"It is {SECRET}."


def test_copies_stay_where_that_is_asked_for() -> None:
    """With ``copies=False`` they are as they were, on every device, until they are asked for after all."""
    conversation, secret = copied()
    other = copy_of(conversation)
    conversation.redact(secret, copies=False)
    exchange(conversation, other)
    for reader in (conversation, other, restarted(other), reopened(other)):
        assert reader.message(secret).status == "redacted"
        assert statuses(reader, secret) == ["complete"] * 3
    other.redact(secret)
    exchange(conversation, other)
    assert_gone(conversation, other)


@pytest.mark.parametrize("how", ["squash", "cherry_pick"])
def test_a_copy_that_was_made_meanwhile_is_redacted(how: str) -> None:
    """Who hears of both empties the copy, whichever came first, and tells the others."""
    conversation = replica()
    first = conversation.append("user", "Hello")
    secret = conversation.append("user", SECRET).id
    conversation.fork("side", first.id)
    other, third = copy_of(conversation), copy_of(conversation)
    conversation.redact(secret)
    if how == "squash":
        other.squash("main", "side")
    else:
        other.cherry_pick([secret], "side")
    exchange(other, third)
    exchange(conversation, third)
    exchange(third, other)
    exchange(other, conversation)
    assert statuses(conversation, secret) == ["redacted"]
    assert_gone(conversation, other, third)


def test_sources_that_lead_in_a_circle_end() -> None:
    """Messages of another program that name each other as sources are redacted together, once."""
    conversation = replica()
    one, other = conversation.append("user", SECRET), conversation.append("user", SECRET)
    with conversation.writing() as document:
        for message, source in ((one, other), (other, one)):
            entry = document.entry("messages", message.id)
            assert entry is not None
            entry["source"] = [source.id, source.id, "nobody"]
    conversation.redact(one.id)
    assert_gone(conversation)


@pytest.mark.parametrize("redacted", ["asked", "answered"])
def test_an_error_that_may_quote_it_keeps_its_type_alone(redacted: str) -> None:
    """What a provider said of a request goes with any message of the request, or with its answer."""
    conversation = replica()
    asked = conversation.append("user", "Hello")
    run = conversation.runs.request(Target("openai"))
    answered = conversation.append("assistant", "It")
    error = {"type": "invalid_request", "message": f"bad input: {SECRET}", "body": {"echo": SECRET}}
    conversation.runs.update(run.id, output=answered.id, state="failed", error=error)
    conversation.redact(asked.id if redacted == "asked" else answered.id)
    assert conversation.runs[run.id].error == {"type": "invalid_request"}
    assert_gone(conversation)


def test_an_error_of_another_request_stays() -> None:
    """A run that was asked for before the message was there can't quote it."""
    conversation = replica()
    conversation.append("user", "Hello")
    run = conversation.runs.request(Target("openai"))
    conversation.runs.update(run.id, state="failed", error={"type": "x", "message": "kept"})
    later = conversation.append("user", SECRET)
    conversation.redact(later.id)
    assert conversation.runs[run.id].error == {"type": "x", "message": "kept"}


def test_an_error_goes_where_the_redaction_arrives() -> None:
    """A device that wrote the error down while another redacted takes it out again."""
    conversation = replica()
    asked = conversation.append("user", "Hello")
    run = conversation.runs.request(Target("openai"))
    other = copy_of(conversation)
    conversation.redact(asked.id)
    other.runs.update(run.id, state="failed", error={"type": "x", "message": SECRET})
    exchange(conversation, other)
    exchange(conversation, other)
    assert_gone(conversation, other)
