"""Removing hidden fields for good: the conversation still works, and nothing of them is printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from crdt_conv import (
    Conversation,
    HiddenField,
    Message,
)
from tests.crdt_conv import handmade as by_hand
from tests.crdt_conv.messages.test_hidden import FIELD, GOOD, data_of, with_hidden
from tests.replicas import copy_of, exchange, replica, restarted, texts


def sealed_twice() -> tuple[Conversation, list[Message]]:
    """Return a conversation whose answers have hidden fields of two providers."""
    conversation = replica()
    both = [FIELD, replace(FIELD, provider="anthropic", data={"a": 1}), FIELD]
    messages = [conversation.append("user", "Where?"), conversation.append("assistant", "Rome.", hidden=both)]
    conversation.add_hidden(messages[0].id, FIELD)
    return conversation, messages


def test_without_its_hidden_fields_a_conversation_still_works() -> None:
    """It reads, is written on and exchanged as before, and its digest is the same."""
    conversation, (question, answer) = sealed_twice()
    other, before = copy_of(conversation), conversation.log()
    assert (conversation.strip(), conversation.strip()) == (4, 0)
    assert data_of(conversation, question.id) == data_of(conversation, answer.id) == []
    assert conversation.log().digest == before.digest == other.log().digest
    assert b"sealed" not in conversation.encode()
    conversation.append("user", "When?")
    other.append("user", "Why?", branch="plan", parents=[answer.id])
    exchange(conversation, other)
    assert conversation.merge("plan") == other.merge("plan")
    assert sorted(texts(conversation.log().messages)) == ["", "Rome.", "When?", "Where?", "Why?"]
    assert data_of(other, answer.id) == []


def test_some_fields_are_stripped() -> None:
    """Where says which go; the others stay in their order."""
    conversation, (question, answer) = sealed_twice()
    assert conversation.strip(lambda field: field.provider == "openai") == 3
    assert data_of(restarted(conversation), answer.id) == [{"a": 1}]
    assert (conversation.message(question.id).hidden_count, conversation.message(answer.id).hidden_count) == (
        0,
        1,
    )
    assert conversation.strip(lambda field: field.provider == "nobody") == 0


def test_what_is_stripped_and_what_is_sealed_meanwhile() -> None:
    """A field that another device adds while all are stripped is not among them."""
    conversation, (_, answer) = sealed_twice()
    other = copy_of(conversation)
    conversation.strip()
    other.add_hidden(answer.id, replace(FIELD, data=b"late"))
    exchange(conversation, other)
    assert data_of(conversation, answer.id) == data_of(other, answer.id) == [b"late"]


@pytest.mark.parametrize(("where", "removed"), [(None, 2), (lambda field: field.kind == "ours", 1)])
def test_of_a_stranger_s_array_the_right_fields_go(
    where: Callable[[HiddenField], bool] | None, removed: int
) -> None:
    """What is no field is stripped with all, and stays where only some are."""
    conversation = replica()
    conversation.receive(with_hidden(by_hand.string("odd"), GOOD))
    assert conversation.strip(where) == removed
    assert conversation.message("m").hidden_count == 2 - removed


@pytest.mark.parametrize(
    ("where", "removed"), [(None, 2), (lambda field: field.kind == "ours", 1), (lambda _: False, 0)]
)
def test_of_a_stranger_s_plain_list_the_right_fields_go(
    where: Callable[[HiddenField], bool] | None, removed: int
) -> None:
    """A plain list is stripped as an Array is: what ``where`` does not name stays, and all are counted."""
    conversation = replica()
    other = by_hand.mapping(kind=by_hand.string("theirs"), data=by_hand.string("x"))
    conversation.receive(by_hand.entry(7, "m", hidden=by_hand.array(GOOD, other)))
    assert conversation.strip(where) == removed
    assert conversation.message("m").hidden_count == 2 - removed


def test_hidden_fields_are_no_part_of_what_is_printed() -> None:
    """The JSON of a message shows none of them."""
    conversation, (_, answer) = sealed_twice()
    assert "sealed" not in json.dumps(conversation.message(answer.id).as_json())
