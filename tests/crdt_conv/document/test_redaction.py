"""Redaction on one device and on several: nothing of the words is left, whoever writes meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path

import pytest
from pycrdt import Array, Doc, Map, Text

from crdt_conv import (
    Change,
    Conversation,
    HiddenField,
    InvalidMessage,
    Store,
    Target,
    UnknownMessage,
    new_part,
)
from crdt_conv.yjs.updates import merge_updates
from tests.crdt_conv import handmade as by_hand
from tests.replicas import copy_of, exchange, reopened, replica, restarted, texts

SECRET = "qzxjvwpk"
SEALED = HiddenField("p", "s", "k", f"sealed {SECRET}".encode())


def asked_and_answered() -> tuple[Conversation, str, str]:
    """Return a conversation, a message in its middle that holds a secret in every place, and the last one."""
    conversation = replica()
    conversation.append("user", "Hello")
    parts = [
        new_part("reasoning", text=SECRET),
        new_part("tool_call", call_id="1", name=SECRET, arguments=f'{{"x": "{SECRET}"}}'),
        new_part("tool_result", call_id="1", content=[SECRET]),
    ]
    secret = conversation.append("assistant", f"It is {SECRET}.", parts=parts, hidden=[SEALED])
    last = conversation.append("user", "Thanks")
    return conversation, secret.id, last.id


def raw_message(conversation: Conversation, message_id: str) -> dict[str, object]:
    """Return a message as it stands in the document."""
    raw: dict[str, object] = conversation.read("messages", message_id)
    return raw


def everywhere(conversation: Conversation) -> Iterator[bytes]:
    """Yield all that a replica would hand over, in memory and after a restart."""
    for reader in (conversation, restarted(conversation), reopened(conversation)):
        yield reader.encode()
        yield str([message.as_json() for message in reader.messages()]).encode()
        yield str([reader.hidden(message.id) for message in reader.messages()]).encode()


def assert_gone(*replicas: Conversation) -> None:
    """Check that the secret is on none of them."""
    for one in replicas:
        assert not any(SECRET.encode() in given for given in everywhere(one))


# On one device


def test_what_a_message_said_and_hid_is_gone() -> None:
    """Parts, hidden fields and nonce are empty; nothing else of the conversation is."""
    conversation, secret, _ = asked_and_answered()
    redacted = conversation.redact(secret)
    assert (redacted.status, redacted.parts, redacted.hidden_count, redacted.nonce) == (
        "redacted",
        (),
        0,
        b"",
    )
    assert (redacted.text, conversation.hidden(secret)) == ("", [])
    assert texts(conversation.log().messages) == ["Hello", "", "Thanks"]
    assert_gone(conversation)


def test_its_place_stays() -> None:
    """Role, parents, author and time are kept, the log has the same ids, and it can be written on."""
    conversation, secret, last = asked_and_answered()
    before, log = conversation.message(secret), [message.id for message in conversation.lin(last)]
    redacted = conversation.redact(secret)
    for name in ("id", "role", "parents", "branch", "created", "author"):
        assert getattr(redacted, name) == getattr(before, name)
    assert [message.id for message in conversation.lin(last)] == log
    assert conversation.append("user", "more", parents=[secret]).parents == (secret,)
    assert not conversation.problems()


def test_digests_behind_it_change_and_those_before_do_not() -> None:
    """No digest that is left lets anyone test guesses at the text."""
    conversation, secret, last = asked_and_answered()
    first = conversation.log().messages[0].id
    before = {message_id: conversation.digest(message_id) for message_id in (first, secret, last)}
    conversation.redact(secret)
    for reader in (conversation, restarted(conversation), reopened(conversation)):
        changed = {message_id for message_id in before if reader.digest(message_id) != before[message_id]}
        assert changed == {secret, last}
        assert reader.digest(last) == conversation.digest(last)


def test_redacting_again_writes_nothing() -> None:
    """Once is enough."""
    conversation, secret, _ = asked_and_answered()
    first, seq = conversation.redact(secret), conversation.last_seq
    assert (conversation.redact(secret), conversation.last_seq) == (first, seq)


def test_a_change_names_what_is_redacted() -> None:
    """Whoever derived something from the message hears that it must go, here and elsewhere."""
    conversation, secret, _ = asked_and_answered()
    other, heard = copy_of(conversation), list[Change]()
    for device in (conversation, other):
        device.subscribe(heard.append)
    conversation.redact(secret)
    other.receive(conversation.encode(other.state_vector), "peer")
    assert [change.redacted for change in heard] == [{secret}] * 2


def test_what_is_not_here_can_t_be_redacted() -> None:
    """An unknown id is named."""
    with pytest.raises(UnknownMessage, match="nobody"):
        replica().redact("nobody")


REFUSED: dict[str, Callable[[Conversation, str], object]] = {
    "words": lambda c, m: c.writer(m).write("x"),
    "a part": lambda c, m: c.writer(m).add(new_part("opaque")),
    "an end": lambda c, m: c.writer(m).finish(),
    "a field": lambda c, m: c.add_hidden(m, SEALED),
    "a sealed end": lambda c, m: c.writer(m).seal(SEALED),
}


@pytest.mark.parametrize("write", REFUSED.values(), ids=REFUSED.keys())
def test_nothing_is_written_into_a_redacted_message(write: Callable[[Conversation, str], object]) -> None:
    """Whoever streams is told by an error, and can ask first."""
    conversation, secret, _ = asked_and_answered()
    assert not conversation.writer(secret).is_redacted
    conversation.redact(secret)
    seq = conversation.last_seq
    assert conversation.writer(secret).is_redacted
    with pytest.raises(InvalidMessage, match="was redacted"):
        write(conversation, secret)
    assert conversation.last_seq == seq


# On several


def write_and_end(conversation: Conversation, message_id: str) -> None:
    """Write the last words of a stream."""
    conversation.writer(message_id).write(SECRET)
    conversation.writer(message_id).finish("interrupted")


CONCURRENT: dict[str, Callable[[Conversation, str], object]] = {
    "nothing": lambda *_: None,
    "words in the last part": lambda c, m: c.writer(m).write(SECRET),
    "words in a new part": lambda c, m: c.writer(m).write(SECRET, "reasoning"),
    "a part": lambda c, m: c.writer(m).add(new_part("opaque", data=SECRET)),
    "a field": lambda c, m: c.add_hidden(m, SEALED),
    "an end": lambda c, m: c.writer(m).finish("complete", stop_reason="stop"),
    "words and an end": write_and_end,
    "no fields": lambda c, _: c.strip(),
    "the same": lambda c, m: c.redact(m),
}


def streaming(*, is_empty: bool) -> tuple[list[Conversation], str]:
    """Return three devices that see a message stream, and its id."""
    conversation = replica(name="ann")
    conversation.append("user", "Hello")
    writer = conversation.stream()
    if not is_empty:
        writer.write(f"It is {SECRET}")
        writer.seal(SEALED)
    conversation.append("user", "Stop", parents=[writer.message_id])
    return [conversation, copy_of(conversation), copy_of(conversation, "eve")], writer.message_id


@pytest.mark.parametrize("is_empty", [False, True])
@pytest.mark.parametrize("meanwhile", CONCURRENT.values(), ids=CONCURRENT.keys())
def test_what_another_device_writes_meanwhile_is_gone_too(
    meanwhile: Callable[[Conversation, str], object], *, is_empty: bool
) -> None:
    """Whatever it writes into the message, all devices end with the same empty message and one digest."""
    devices, secret = streaming(is_empty=is_empty)
    before = devices[0].log().digest
    devices[0].redact(secret)
    meanwhile(devices[1], secret)
    exchange(*devices)
    exchange(*devices)
    assert {device.message(secret).status for device in devices} == {"redacted"}
    assert_gone(*devices)
    digests = {reader.log().digest for device in devices for reader in (device, restarted(device))}
    assert len(digests) == 1
    assert before not in digests


@pytest.mark.parametrize("is_empty", [False, True])
def test_two_who_write_while_a_third_redacts(*, is_empty: bool) -> None:
    """Both streams end empty, however often they go on before they hear of it."""
    devices, secret = streaming(is_empty=is_empty)
    for piece in (f"1 {SECRET}", f"2 {SECRET}"):
        for device in devices[1:]:
            device.writer(secret).write(piece)
    devices[0].redact(secret)
    exchange(*devices)
    exchange(*devices)
    assert_gone(*devices)
    assert len({device.log().digest for device in devices}) == 1


def updates_of_a_redacted_stream() -> tuple[Conversation, list[bytes]]:
    """Return a conversation whose stream was redacted, and its updates one by one."""
    source, updates = replica(), list[bytes]()
    source.subscribe(lambda change: updates.append(change.update))
    writer = source.stream()
    writer.write(SECRET)
    writer.write(SECRET, "reasoning")
    source.redact(writer.message_id)
    return source, updates


def test_in_whatever_order_it_comes_it_is_gone() -> None:
    """A redaction that arrives before what it redacts is one, too."""
    source, updates = updates_of_a_redacted_stream()
    for order in permutations(updates):
        target = replica("c", "bob")
        for update in order:
            target.receive(update)
        assert SECRET.encode() not in target.encode()
        assert target.log() == source.log()


def test_words_that_come_beside_a_gap_are_gone() -> None:
    """While an unrelated update waits for another, what a peer writes into a redacted message is emptied."""
    devices, secret = streaming(is_empty=True)
    devices[0].redact(secret)
    devices[1].writer(secret).write(SECRET)
    devices[0].receive(by_hand.entry(7, "m", clock=9))
    devices[0].receive(devices[1].encode(devices[0].state_vector))
    assert devices[0].message(secret).status == "redacted"
    assert_gone(devices[0])


def test_a_stream_that_goes_on_and_on_is_emptied_each_time() -> None:
    """A device that never hears of the redaction writes in vain."""
    devices, secret = streaming(is_empty=False)
    devices[0].redact(secret)
    for _ in range(3):
        devices[1].writer(secret).write(SECRET, "reasoning")
        devices[0].receive(devices[1].encode(devices[0].state_vector))
        assert_gone(devices[0])


# Strangers


def strange(values: dict[str, object]) -> Conversation:
    """Return a conversation with a message of another program's: unknown keys, odd parts."""
    doc: Doc[Map[object]] = Doc()
    doc.get("messages", type=Map)["m"] = Map({"role": "user", "parents": [], **values})
    conversation = replica()
    conversation.receive(doc.get_update())
    return conversation


STRANGE: dict[str, dict[str, object]] = {
    "an unknown key": {"quote": SECRET},
    "an unknown Map": {"quotes": Map({"a": Array([Text(SECRET)])})},
    "a plain list of parts": {"parts": [{"type": "text", "text": SECRET}]},
    "plain parts in an Array": {"parts": Array([{"type": "text", "text": SECRET}])},
    "parts of a later version": {"parts": Array([Map({"type": "hologram", "beam": Text(SECRET)})])},
    "a plain list of fields": {"hidden": [{"data": SECRET}]},
    "odd fields": {"hidden": Array([SECRET, [SECRET], Map({"data": Text(SECRET)})])},
}


@pytest.mark.parametrize("values", STRANGE.keys())
def test_what_another_program_wrote_is_gone(values: str) -> None:
    """Keys that we don't know may quote what was said, so they go, too."""
    conversation = strange(STRANGE[values])
    assert SECRET.encode() in conversation.encode()
    conversation.redact("m")
    assert_gone(conversation)


def test_a_bare_message_is_redacted() -> None:
    """A message with nothing but role and parents."""
    conversation = strange({})
    assert conversation.redact("m").status == restarted(conversation).message("m").status == "redacted"


def by_another_program(conversation: Conversation, message_id: str, values: dict[str, object]) -> bytes:
    """Return the update of another program that sets keys of a message."""
    doc: Doc[Map[object]] = Doc()
    doc.apply_update(conversation.encode())
    state = doc.get_state()
    entry = doc.get("messages", type=Map)[message_id]
    assert isinstance(entry, Map)
    for key, value in values.items():
        entry[key] = value
    return doc.get_update(state)


BACK: dict[str, dict[str, object]] = {
    "the status": {"status": "complete"},
    "the mark": {"redacted": False},
    "an unknown key": {"quote": SECRET},
    "parts": {"parts": Array([Map({"type": "text", "text": Text(SECRET)})])},
    "status and parts": {"status": "complete", "parts": [{"type": "text", "text": SECRET}]},
}


@pytest.mark.parametrize("what", BACK.keys())
def test_a_stranger_who_sets_something_back_does_not_undo_it(what: str) -> None:
    """The message is redacted again on every device, and says nothing meanwhile."""
    conversation, secret, _ = asked_and_answered()
    other = copy_of(conversation)
    conversation.redact(secret)
    digest = conversation.log().digest
    conversation.receive(by_another_program(conversation, secret, BACK[what]))
    assert (conversation.message(secret).status, conversation.message(secret).text) == ("redacted", "")
    exchange(conversation, other)
    assert_gone(conversation, other)
    assert conversation.log().digest == other.log().digest == digest
    assert raw_message(other, secret)["status"] == "redacted"


def test_a_status_from_a_stranger_is_a_redaction() -> None:
    """Another program may only write the status: we empty what it left."""
    conversation, secret, _ = asked_and_answered()
    conversation.receive(by_another_program(conversation, secret, {"status": "redacted"}))
    assert conversation.message(secret).status == "redacted"
    assert_gone(conversation)


def plain_object() -> Conversation:
    """Return a conversation with a message and a run that another program wrote as plain objects."""
    doc: Doc[Map[object]] = Doc()
    part, field = {"id": "p", "type": "text", "text": SECRET}, {"provider": "p", "data": SECRET}
    message = {
        "role": "user",
        "parents": [],
        "created": 5,
        "parts": [part],
        "hidden": [field],
        "quote": SECRET,
    }
    run = {"parents": ["m"], "target": {"adapter": "a"}, "error": {"type": "rejected", "text": SECRET}}
    doc.get("messages", type=Map)["m"] = message
    doc.get("runs", type=Map)["r"] = {"branch": "main", "state": "failed", **run}
    conversation = replica()
    conversation.receive(doc.get_update())
    return conversation


def test_a_plain_object_is_redacted_as_a_map_is() -> None:
    """What another program wrote whole is read, and so it must be possible to take it out again."""
    conversation = plain_object()
    other = copy_of(conversation)
    digest = conversation.digest("m")
    assert conversation.message("m").text == SECRET
    conversation.redact("m")
    other.redact("m")
    exchange(conversation, other)
    assert_gone(conversation, other)
    assert conversation.digest("m") == other.digest("m") != digest
    assert (conversation.message("m").created, conversation.runs["r"].error) == (5, {"type": "rejected"})


def test_a_plain_object_that_is_marked_is_emptied() -> None:
    """A redaction that another program wrote as a plain object takes out what stands beside the mark."""
    doc: Doc[Map[object]] = Doc()
    marked = {
        "role": "user",
        "parents": [],
        "status": "redacted",
        "parts": [{"type": "text", "text": SECRET}],
    }
    doc.get("messages", type=Map)["m"] = marked
    conversation = replica()
    conversation.receive(doc.get_update())
    assert_gone(conversation)
    last = conversation.last_seq
    assert not conversation.receive(conversation.encode())
    assert (conversation.last_seq, conversation.message("m").status) == (last, "redacted")


def test_what_came_in_one_update_with_a_gap_is_handed_to_nobody() -> None:
    """Of an update of which something waits, the rest is integrated, and can be redacted."""
    source, stranger, target = replica(), replica("c", "eve"), replica("c", "bob")
    updates: list[bytes] = []
    stranger.subscribe(lambda change: updates.append(change.update))
    secret = source.append("user", SECRET)
    for title in ("comes too late", "waits"):
        stranger.title = title
    target.receive(merge_updates([source.encode(), updates[1]]))
    target.redact(secret.id)
    assert target.document.is_pending
    assert_gone(target)
    target.receive(updates[0])
    assert (target.title, target.document.is_pending) == ("waits", False)


def failed_after_redaction(store: Store) -> Conversation:
    """Return a conversation in which a run failed, with words of its provider, after a redaction."""
    conversation = store.create("Trip")
    said = conversation.append("user", "a secret")
    conversation.append("user", "go on")
    conversation.redact(said.id)
    run = conversation.runs.request(Target("a"))
    conversation.runs.claim(run.id, "executor", epoch=1)
    conversation.runs.update(run.id, state="failed", error={"type": "t", "message": "it said so"})
    return conversation


def test_a_reader_reads_what_it_can_t_sweep(tmp_path: Path) -> None:
    """A run that may quote what was redacted is emptied by who can write: to read needs no writing."""
    with Store(tmp_path / "chats.db") as store:
        conversation = failed_after_redaction(store)
        store.clear_index()
        copy = tmp_path / "copy.db"
        store.backup(copy)
    with Store(copy) as store:
        store.clear_index()
    with Store(copy, read_only=True) as store:
        read = store.open(conversation.id)
        assert (read.verify(), len(read.log().messages)) == ([], 2)
        assert list(store.check()) == []
