"""Updates encoded by hand to hurt: odd types, great numbers, deep nesting, and blame for others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crdt_conv import Conversation, MalformedUpdate
from crdt_conv.yjs.structs import DEEPEST_VALUE
from crdt_conv.yjs.updates import merge_updates, read_state_vector
from tests.crdt_conv import handmade as by_hand
from tests.replicas import copy_of, replica, restarted, texts

ODD = {
    "an XML element": by_hand.type_of(by_hand.XML_ELEMENT, "p"),
    "an XML fragment": by_hand.type_of(by_hand.XML_FRAGMENT),
    "an XML text": by_hand.type_of(by_hand.XML_TEXT),
    "an Array": by_hand.type_of(by_hand.ARRAY),
    "a Text": by_hand.type_of(by_hand.TEXT),
    "a string": (4, by_hand.words("hello")),
    "a number": by_hand.values(by_hand.double(5.0)),
    "not a number": by_hand.values(by_hand.double(float("nan"))),
    "a subdocument": (9, by_hand.words("guid") + by_hand.mapping()),
}

FIELDS = ("role", "parents", "parts", "hidden", "created", "nonce", "author", "mood")
ROOTS = ("messages", "choices", "branches", "runs", "meta", "drafts", "unheard of")


def malformed(conversation: Conversation) -> list[str]:
    """Return the keys of messages that are quarantined."""
    return [problem.key for problem in conversation.problems() if problem.code == "malformed"]


def survivor(update: bytes) -> Conversation:
    """Return a conversation that took in an update, or refused it, and must go on."""
    conversation = replica()
    conversation.append("user", "before")
    try:
        conversation.receive(update)
    except MalformedUpdate:
        assert conversation.last_seq == 1
    conversation.append("user", "after")
    return conversation


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_an_odd_entry_breaks_no_root(odd: by_hand.Content) -> None:
    """Whatever stands where an entry should, in any root: the rest reads on, also after a restart."""
    conversation = survivor(by_hand.update(7, 0, [by_hand.item(odd, root, "main") for root in ROOTS]))
    for reader in (conversation, restarted(conversation)):
        assert texts(reader.log().messages) == ["before", "after"]
        assert set(malformed(reader)) == {"main"}
        assert (reader.title, reader.runs.all(), reader.branches) == ("", [], ["main"])


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_an_odd_field_breaks_one_message_at_most(odd: by_hand.Content) -> None:
    """A message whose field is something else is read or quarantined, alone, and alike after a restart."""
    conversation = survivor(by_hand.entry(7, "whole"))
    for client, key in enumerate(FIELDS, 8):
        conversation.receive(by_hand.entry(client, key, 0, **{key: odd}))
    again = restarted(conversation)
    assert {"before", "after", ""} == set(texts(conversation.log().messages))
    assert again.log() == conversation.log()
    assert again.problems() == conversation.problems()
    assert set(malformed(conversation)) <= set(FIELDS) - {"mood"}


def test_what_can_t_be_encoded_is_served_from_the_log() -> None:
    """A struct without length behind a gap makes pycrdt panic: others get the conversation all the same."""
    conversation = survivor(by_hand.update(5, 1, [b"\0\0"]))
    with pytest.raises(MalformedUpdate, match="can't be encoded"):
        conversation.document.encode()
    copy = copy_of(conversation)
    assert texts(copy.log().messages) == ["before", "after"]
    conversation.append("user", "later")
    copy.receive(conversation.encode(copy.state_vector))
    assert texts(copy.log().messages) == ["before", "after", "later"]
    with pytest.raises(MalformedUpdate):
        conversation.encode(b"\xff")


@pytest.mark.parametrize("value", [by_hand.NULL, by_hand.UNDEFINED], ids=["null", "undefined"])
def test_an_entry_that_is_nothing_is_reported_alike(value: bytes) -> None:
    """An entry that holds null is the same problem before and after a restart."""
    conversation = survivor(by_hand.update(7, 0, [by_hand.item(by_hand.values(value), "messages", "m")]))
    assert restarted(conversation).problems() == conversation.problems()


def test_undefined_and_not_a_number_have_a_digest() -> None:
    """What JSON can't say becomes null, in the digest too."""
    part = by_hand.mapping(
        type=by_hand.string("text"),
        text=by_hand.string("odd"),
        x=by_hand.UNDEFINED,
        y=by_hand.double(float("nan")),
    )
    conversation = survivor(by_hand.entry(7, "m", parts=by_hand.array(part)))
    assert conversation.message("m").parts[0].content == {"text": "odd", "x": None, "y": None}
    assert conversation.digest("m") == restarted(conversation).digest("m")


GREAT = (10**9, 2**32, 2**64 - 1)
N = by_hand.number
BOMBS: dict[str, Callable[[int], bytes]] = {
    "list": lambda n: by_hand.entry(7, "m", x=b"\x75" + N(n)),
    "object": lambda n: by_hand.entry(7, "m", x=b"\x76" + N(n)),
    "string": lambda n: by_hand.entry(7, "m", x=b"\x77" + N(n)),
    "bytes": lambda n: by_hand.entry(7, "m", x=b"\x74" + N(n)),
    "values": lambda n: by_hand.entry(7, "m", x=(8, N(n))),
    "deleted": lambda n: by_hand.update(7, 0, [by_hand.item((1, N(n)), "messages", "m")]),
    "collected": lambda n: N(1) + N(1) + N(7) + N(0) + b"\0" + N(n) + b"\0",
    "skipped": lambda n: N(1) + N(1) + N(7) + N(0) + b"\x0a" + N(n) + b"\0",
    "clients": N,
    "structs": lambda n: N(1) + N(n) + N(7) + N(0),
    "clock": lambda n: by_hand.update(7, n, [by_hand.item(by_hand.type_of(by_hand.MAP), "messages", "m")]),
    "client": lambda n: by_hand.update(n, 0, [by_hand.item(by_hand.type_of(by_hand.MAP), "messages", "m")]),
    "deletes": lambda n: by_hand.only_deletes(N(n)),
    "ranges": lambda n: by_hand.only_deletes(N(1) + N(7) + N(n)),
    "range": lambda n: by_hand.only_deletes(by_hand.deletion(7, (0, n))),
}


@pytest.mark.parametrize("great", GREAT)
@pytest.mark.parametrize("bomb", BOMBS.keys())
def test_great_numbers_cost_nothing(bomb: str, great: int) -> None:
    """A length, count or clock that claims far too much is refused or harmless."""
    conversation = survivor(BOMBS[bomb](great))
    # 2**32 is read as 0, and the stranger's message with it.
    assert [text for text in texts(restarted(conversation).log().messages) if text] == ["before", "after"]
    assert conversation.encode()


@pytest.mark.parametrize("great", GREAT)
def test_a_state_vector_that_claims_much_costs_nothing(great: int) -> None:
    """A state vector is a stranger's too."""
    conversation = survivor(b"\0\0")
    for state_vector in (N(great), N(1) + N(7) + N(great), N(1) + N(great) + N(1), b"\xff\xff"):
        try:
            assert conversation.encode(state_vector)
        except MalformedUpdate:
            continue


@pytest.mark.parametrize("root", ["messages", "choices"])
def test_what_is_nested_within_reason_reads_on(root: str) -> None:
    """200 lists in each other are nothing special."""
    value = by_hand.values(by_hand.nested(200))
    conversation = survivor(by_hand.update(7, 0, [by_hand.item(value, root, "x")]))
    assert texts(restarted(conversation).log().messages) == ["before", "after"]


@pytest.mark.parametrize("depth", [DEEPEST_VALUE, DEEPEST_VALUE + 1, 1_500])
@pytest.mark.parametrize("root", ["messages", "choices", "branches", "runs", "meta"])
def test_what_is_nested_deeply_is_quarantined(root: str, depth: int) -> None:
    """500 lists in each other are quarantined, more of them refused; the conversation reads on."""
    value = by_hand.values(by_hand.nested(depth))
    conversation = survivor(by_hand.update(7, 0, [by_hand.item(value, root, "x")]))
    again = restarted(conversation)
    assert texts(again.log().messages) == ["before", "after"]
    assert (again.title, again.runs.all(), again.branches) == ("", [], ["main"])


def test_a_part_nested_deeply_leaves_the_log_readable() -> None:
    """600 lists in each other, which json.loads still takes, don't keep a log from being read."""
    part = by_hand.mapping(type=by_hand.string("text"), x=by_hand.nested(600))
    conversation = survivor(by_hand.entry(7, "m", parts=by_hand.array(part)))
    assert "after" in texts(conversation.log().messages)


def inside_what_comes(conversation: Conversation) -> list[bytes]:
    """Return updates that put items inside the next ones of whoever wrote a conversation."""
    [(client, clock)] = read_state_vector(conversation.state_vector).items()
    places = [(client, clock + ahead) for ahead in range(30)]
    null = by_hand.values(by_hand.NULL)
    return [by_hand.update(1000 + n, 0, [by_hand.item(null, place, "x")]) for n, place in enumerate(places)]


@pytest.mark.parametrize("sent", [list, lambda updates: [merge_updates(updates)]], ids=["singly", "merged"])
def test_nobody_is_refused_for_what_another_sent(sent: Callable[[list[bytes]], list[bytes]]) -> None:
    """Items placed inside what someone has yet to write don't keep that someone from writing it."""
    victim = replica()
    victim.append("user", "one")
    daemon = copy_of(victim)
    hostile = inside_what_comes(victim)
    for update in sent(hostile):
        daemon.receive(update, "hostile")
    victim.append("user", "two")
    daemon.receive(victim.encode(daemon.state_vector), "victim")
    for reader in (daemon, restarted(daemon), copy_of(daemon)):
        assert texts(reader.log().messages) == ["one", "two"]
        # What is meant for messages to come waits on.
        assert {problem.code for problem in reader.problems()} <= {"pending_update"}


def test_what_another_sent_comes_along_in_one_update() -> None:
    """Whoever gets honest updates merged with such items, as a daemon serves them, gets the honest ones."""
    victim = replica()
    victim.append("user", "one")
    hostile = inside_what_comes(victim)
    victim.append("user", "two")
    reader = replica()
    reader.receive(merge_updates([victim.encode(), *hostile]))
    assert texts(reader.log().messages) == texts(restarted(reader).log().messages) == ["one", "two"]


def test_whoever_is_the_victim_writes_on() -> None:
    """Items placed inside what we have yet to write don't keep us from writing it."""
    victim = replica()
    victim.append("user", "one")
    for update in inside_what_comes(victim):
        victim.receive(update)
    victim.append("user", "two")
    for reader in (victim, restarted(victim), copy_of(victim)):
        assert texts(reader.log().messages) == ["one", "two"]
        # What is meant for messages to come waits on.
        assert {problem.code for problem in reader.problems()} <= {"pending_update"}


HUGE = {
    "a text": {
        "parts": by_hand.array(
            by_hand.mapping(type=by_hand.string("text"), text=by_hand.string("x" * 5_000_000))
        )
    },
    "a role": {"role": by_hand.string("r" * 5_000_000)},
    "parents": {"parents": by_hand.array(*(by_hand.string(f"m{n}") for n in range(100_000)))},
    "keys": {"author": by_hand.mapping(**{f"k{n}": by_hand.NULL for n in range(100_000)})},
    "parts": {"parts": by_hand.array(*[by_hand.mapping(type=by_hand.string("text"))] * 100_000)},
}


@pytest.mark.parametrize("huge", HUGE.values(), ids=HUGE.keys())
def test_a_huge_value_is_one_message(huge: dict[str, bytes]) -> None:
    """Megabytes in one field, or 100,000 of something: shown or reported, also after a restart."""
    conversation = survivor(by_hand.entry(7, "m", 0, **huge))
    again = restarted(conversation)
    assert again.problems() == conversation.problems()
    assert again.log() == conversation.log()
    assert {"before", "after"} <= set(texts(again.log().messages))


def test_a_gap_sent_again_is_no_news() -> None:
    """An update that waits for another is logged once, however often it comes."""
    conversation = replica()
    gapped = by_hand.entry(7, "m", clock=9)
    assert [conversation.receive(gapped) for _ in range(3)] == [True, False, False]
    assert conversation.last_seq == 1


def test_deletes_of_a_client_named_twice_are_refused() -> None:
    """Nobody writes so, and pycrdt would forget the first of the deletes: no replica takes in half of it."""
    conversation = replica()
    conversation.receive(by_hand.entry(7, "a"))
    conversation.receive(by_hand.entry(7, "b", clock=3))
    twice = N(2) + by_hand.deletion(7, (3, 3))[1:] + by_hand.deletion(7, (0, 3))[1:]
    with_structs = by_hand.update(8, 0, [by_hand.item(by_hand.values(by_hand.NULL), "t")], twice)
    for update in (by_hand.only_deletes(twice), with_structs):
        with pytest.raises(MalformedUpdate, match="names a client twice"):
            conversation.receive(update)
    assert conversation.last_seq == 2
    assert conversation.is_news(by_hand.only_deletes(by_hand.deletion(7, (3, 3))))


def test_a_message_deleted_while_it_waits_is_gone() -> None:
    """Memory and log agree on a message that was deleted before its parent came."""
    conversation = replica()
    conversation.receive(by_hand.entry(7, "child", parents=by_hand.array(by_hand.string("root"))))
    conversation.receive(by_hand.only_deletes(by_hand.deletion(7, (0, 3))))
    conversation.receive(by_hand.entry(8, "root"))
    assert conversation.log() == restarted(conversation).log()


def test_a_bad_entry_that_was_deleted_is_no_problem() -> None:
    """Memory and log agree on an entry of the wrong shape that is gone."""
    conversation = replica()
    conversation.receive(by_hand.entry(7, "bad", role=by_hand.NULL))
    conversation.receive(by_hand.only_deletes(by_hand.deletion(7, (0, 3))))
    assert not conversation.problems()


def test_a_placed_message_that_a_stranger_deletes_is_reported() -> None:
    """Messages are never removed; where a stranger does it, what stood on it waits and is named."""
    conversation = replica()
    conversation.receive(by_hand.entry(7, "a"))
    conversation.receive(by_hand.entry(8, "b", parents=by_hand.array(by_hand.string("a"))))
    conversation.receive(by_hand.only_deletes(by_hand.deletion(7, (0, 3))))
    for reader in (conversation, restarted(conversation)):
        assert [(p.code, p.key, p.text) for p in reader.problems()] == [
            ("missing_parent", "b", "it waits for 1 parents: a")
        ]
