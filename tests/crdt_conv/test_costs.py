"""
What a stranger's document costs: no more than its length, counted in steps and not in seconds.

Each of these documents once cost the square of its length. What is counted is how often a message is
looked up, so that a busy machine fails no test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pycrdt import Doc, Map

from crdt_conv import Change, Conversation, Message, MessageId
from crdt_conv.garbage import MUCH_BYTES
from crdt_conv.graph.digest import content_digest
from crdt_conv.graph.graph import Graph
from crdt_conv.yjs.updates import covers
from tests.replicas import message, replica, restarted

LONG = 2_000
STEPS = 40
"""So often may each message be looked up, on average."""

LOOKED_UP = [0]
"""How often any message was looked up, or put into a set."""


class Counted(str):
    """An id that counts how often it is hashed."""

    __slots__ = ()

    def __hash__(self) -> int:
        LOOKED_UP[0] += 1
        return str.__hash__(self)


def counted(name: str, *parents: str, hidden: int = 0) -> Message:
    """Return a reply whose id, and those of its parents, count."""
    on = tuple(MessageId(Counted(parent)) for parent in parents)
    return Message(MessageId(Counted(name)), "assistant", on, hidden_count=hidden)


def ladder(length: int) -> Iterator[Message]:
    """Each on top of the two before it."""
    for n in range(length):
        yield counted(f"m{n}", *(f"m{above}" for above in (n - 1, n - 2) if above >= 0))


def joined_late(length: int) -> Iterator[Message]:
    """Each on top of a new root first, and then of the one before it."""
    for n in range(length // 2):
        yield counted(f"root{n}")
        yield counted(f"m{n}", f"root{n}", *([f"m{n - 1}"] if n else []))


def comb(length: int) -> Iterator[Message]:
    """A chain, with one more head on each of it."""
    for n in range(length // 2):
        yield counted(f"m{n}", *([f"m{n - 1}"] if n else []), hidden=n % 2)
        yield counted(f"head{n}", f"m{n}")


SHAPES = [ladder, joined_late, comb]


@pytest.fixture(params=SHAPES)
def graph(request: pytest.FixtureRequest) -> Graph[Message]:
    """Return a long graph of some shape, and count from now on."""
    made = Graph[Message](request.param(LONG), content_digest)
    LOOKED_UP[0] = 0
    return made


def test_a_log_and_its_digest_take_as_long_as_it_is(graph: Graph[Message]) -> None:
    """However its messages are merged."""
    heads = [head.id for head in graph.heads("main", {})]
    assert len(graph.lin_ids(*heads)) == LONG
    assert graph.digest_of(heads)
    assert LOOKED_UP[0] < STEPS * LONG


def test_parents_for_very_many_heads_take_as_long_as_the_graph_is(graph: Graph[Message]) -> None:
    """What each has to lose is counted once for what they share."""
    heads = graph.heads("main", {})
    assert len(graph.parents_for(heads)) == len(heads)
    assert LOOKED_UP[0] < STEPS * LONG


def test_what_a_head_has_to_lose_follows_what_is_sealed_later() -> None:
    """Also where it was counted before, and where the messages under it are many."""
    graph = Graph([message("a"), message("b"), message("x", "a"), message("y", "b")], content_digest)
    heads = graph.heads("main", {})
    assert graph.parents_for(heads) == ("x", "y")
    sealed = Graph(
        [message("a"), message("b", role="assistant"), message("x", "a"), message("y", "b")], content_digest
    )
    assert sealed.parents_for(sealed.heads("main", {})) == ("x", "y")
    assert sealed.add(message("b", role="assistant", hidden=1))
    assert sealed.parents_for(sealed.heads("main", {})) == ("y", "x")


def test_ranges_are_looked_up() -> None:
    """Of very many deletes each is found without walking over the others."""
    many = [(clock, 1) for clock in range(0, 40_000, 2)]
    assert covers({1: many[::-1]}, {1: many})
    assert not covers({1: many}, {1: [*many, (39_999, 1)]})


def long_update(count: int) -> bytes:
    """Return an update of so many messages, and one that is none, of more than a mebibyte."""
    doc: Doc[Map[object]] = Doc()
    messages = doc.get("messages", type=Map)
    with doc.transaction():
        for n in range(count):
            parts = [{"id": "1", "type": "text", "text": "x" * (2 * MUCH_BYTES // count)}]
            messages[f"m{n}"] = Map({"role": "user", "parents": [f"m{n - 1}"] if n else [], "parts": parts})
        messages["odd"] = Map({"role": "user", "parents": ["nowhere"]})
        doc.get("choices", type=Map)["m0"] = "m1"
        doc.get("runs", type=Map)["r"] = Map({"state": "requested"})
        doc.get("meta", type=Map)["title"] = "Long"
    return doc.get_update()


def empty() -> Conversation:
    """Return a conversation in which nothing is."""
    return replica()


def begun() -> Conversation:
    """Return a conversation in which something is."""
    conversation = replica()
    conversation.append("user", "first")
    return conversation


@pytest.mark.parametrize("begin", [empty, begun])
def test_an_update_that_is_most_of_a_conversation_is_told_of(begin: Callable[[], Conversation]) -> None:
    """It is read at once, and whoever listens hears of every message, run and root all the same."""
    conversation = begin()
    heard: list[Change] = []
    conversation.subscribe(heard.append)
    update = long_update(50)
    assert conversation.receive(update)
    [change] = heard
    assert change.messages == {f"m{n}" for n in range(50)}
    assert change.runs == {"r"}
    assert change.roots == {"meta", "choices"}
    assert conversation.title == "Long"
    assert conversation.log() == restarted(conversation).log()
    assert not conversation.receive(update)


def test_large_updates_are_not_each_a_reason_to_begin_anew() -> None:
    """However large an update is, what came before it is read again only where that is less."""
    doc: Doc[Map[object]] = Doc()
    updates: list[bytes] = []
    doc.observe(lambda event: updates.append(event.update))
    root = doc.get("unheard of", type=Map)
    for number in range(16):
        root[f"{number}"] = bytes(MUCH_BYTES + 1)
    conversation = replica()
    documents = []
    for update in updates:
        conversation.receive(update)
        documents.append(conversation.document)
    assert len({id(document) for document in documents}) <= 2
