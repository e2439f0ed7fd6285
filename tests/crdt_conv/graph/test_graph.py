"""The graph by tables that were written by hand, and against contract 1's own words."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt_conv import Message, UnknownMessage
from crdt_conv.graph.digest import content_digest
from crdt_conv.graph.graph import Graph
from tests.replicas import message

# Every graph as "id: parents", in an order in which parents may come late.
LOGS = [
    ("a", "a", "a"),
    ("a; b a; c b", "c", "a b c"),
    ("c b; b a; a", "c", "a b c"),
    ("a; b a; c a; d b c", "d", "a b c d"),
    ("a; b a; c a; d c b", "d", "a c b d"),
    ("a; b; c a b", "c", "a b c"),
    # Runs stay together: a question of one device is never torn from its answer.
    ("q; q1 q; r1 q1; q2 q; r2 q2; m r1 r2", "m", "q q1 r1 q2 r2 m"),
    # Criss-cross: each of two merges saw the other's order.
    ("a; b a; c a; d b c; e c b; f d e", "f", "a b c d e f"),
    ("a; b a; c a; d b c; e c b; f e d", "f", "a c b e d f"),
    # A third parent adds only what is not there yet.
    ("a; b a; c a; d a; e b c; f e d c", "f", "a b c e d f"),
]


def build(table: str) -> Graph[Message]:
    """Return the graph of a table."""
    return Graph((message(*entry.split()) for entry in table.split("; ")), content_digest)


def ids(log: list[Message]) -> str:
    """Return the ids of a log in a line."""
    return " ".join(entry.id for entry in log)


@pytest.mark.parametrize(("table", "head", "expected"), LOGS)
def test_lin_is_what_a_person_would_write_down(table: str, head: str, expected: str) -> None:
    """Each log reads as its row says."""
    assert ids(build(table).lin(head)) == expected


@st.composite
def dags(draw: st.DrawFn) -> list[Message]:
    """Draw a random graph, parents before children."""
    drawn: list[Message] = []
    for number in range(draw(st.integers(1, 14))):
        known = [entry.id for entry in drawn]
        parents = draw(st.lists(st.sampled_from(known), max_size=3, unique=True)) if known else []
        drawn.append(message(f"m{number}", *parents))
    return drawn


def naive_lin(known: dict[str, Message], head: str) -> list[str]:
    """Contract 1, word for word."""
    first, *further = known[head].parents or [None]
    log = naive_lin(known, first) if first else []
    for parent in further:
        log += [entry for entry in naive_lin(known, str(parent)) if entry not in log]
    return [*log, head]


@given(dags(), st.randoms(use_true_random=False))
def test_lin_is_the_contract_s_definition(drawn: list[Message], random: object) -> None:
    """On any graph, taken in in any order, every log is the one that the contract defines."""
    known: dict[str, Message] = {entry.id: entry for entry in drawn}
    shuffled = list(drawn)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    graph = Graph(shuffled, content_digest)
    for name in known:
        assert [entry.id for entry in graph.lin(name)] == naive_lin(known, name)


@given(dags())
def test_digest_is_the_fold_over_lin(drawn: list[Message]) -> None:
    """Each digest folds the contents of its own log, one after another."""
    graph = Graph(drawn, content_digest)
    for entry in drawn:
        folded = bytes(32)
        for seen in graph.lin(entry.id):
            folded = hashlib.sha256(folded + content_digest(seen)).digest()
        assert graph.digest(entry.id) == folded


@given(dags(), st.data())
def test_digests_follow_a_change_of_content(drawn: list[Message], data: st.DataObject) -> None:
    """After a message in the middle changed, every digest is as if the graph were built anew."""
    graph = Graph(drawn, content_digest)
    for entry in drawn:
        graph.digest(entry.id)
    place = data.draw(st.integers(0, len(drawn) - 1))
    old = drawn[place]
    changed = message(old.id, *old.parents, status="redacted")
    assert graph.add(changed)
    fresh = Graph([*drawn[:place], changed, *drawn[place + 1 :]], content_digest)
    assert [graph.digest(entry.id) for entry in drawn] == [fresh.digest(entry.id) for entry in drawn]


@given(dags())
def test_the_digest_under_heads_covers_their_log(drawn: list[Message]) -> None:
    """The digest of a diverged branch is the fold over what is shown."""
    graph = Graph(drawn, content_digest)
    heads = [entry.id for entry in graph.heads("main", {})]
    folded = bytes(32)
    for seen in graph.lin(*heads):
        folded = hashlib.sha256(folded + content_digest(seen)).digest()
    assert graph.digest_of(heads) == folded


# Replies "id: parents created status"; what is chosen; the heads.
HEADS = [
    ([("a", 1, "complete"), ("b", 2, "complete")], {}, "a"),
    ([("a", 2, "complete"), ("b", 1, "complete")], {}, "b"),
    ([("b", 1, "complete"), ("a", 1, "complete")], {}, "a"),
    ([("a", 1, "complete"), ("b", 2, "complete")], {"q": "b"}, "b"),
    ([("a", 1, "complete"), ("b", 2, "complete")], {"q": "nobody"}, "a"),
    ([("a", 1, "interrupted"), ("b", 2, "complete")], {}, "b"),
    ([("a", 1, "interrupted"), ("b", 2, "complete")], {"q": "a"}, "b"),
    ([("a", 1, "streaming"), ("b", 2, "failed")], {}, "a b"),
]


@pytest.mark.parametrize(("replies", "choices", "expected"), HEADS)
def test_one_of_several_replies_is_the_head(
    replies: list[tuple[str, int, str]], choices: dict[str, str], expected: str
) -> None:
    """The chosen complete reply, else the oldest; what is not complete gives way."""
    drawn = [message(n, "q", role="assistant", created=at, status=status) for n, at, status in replies]
    graph = Graph([message("q"), *drawn], content_digest)
    assert ids(graph.heads("main", choices)) == expected


def test_a_continued_alternative_stays_in_the_log() -> None:
    """What was written on top of an alternative is never lost."""
    replies = [message(name, "q", role="assistant", created=at) for name, at in (("a", 1), ("b", 2))]
    graph = Graph([message("q"), *replies, message("u", "b", created=3)], content_digest)
    assert ids(graph.heads("main", {})) == "a u"


def test_a_child_on_another_branch_leaves_the_head() -> None:
    """Only children on the same branch take a head away."""
    graph = Graph([message("a"), message("b", "a", branch="plan")], content_digest)
    assert (ids(graph.heads("main", {})), ids(graph.heads("plan", {}))) == ("a", "b")


def test_the_first_parent_has_most_to_lose() -> None:
    """Heads are ordered by answered turns with hidden fields, then by created and id."""
    answered = message("r", "b", role="assistant", created=5, hidden=1)
    graph = Graph(
        [message("q"), message("a", "q", created=1), message("b", "q", created=2), answered], content_digest
    )
    assert graph.parents_for(graph.heads("main", {})) == ("r", "a")


def test_a_message_waits_for_its_parents() -> None:
    """A message with a missing parent, and all above it, is reported until the parent comes."""
    graph = build("c b; b a")
    assert [(w.message.id, w.missing) for w in graph.waiting()] == [("b", ("a",)), ("c", ("b",))]
    graph.add(message("a"))
    assert ids(graph.lin("c")) == "a b c"
    assert graph.waiting() == []


@pytest.mark.parametrize("table", ["a a", "a b; b a", "a b; b c; c a; d a"])
def test_a_cycle_is_quarantined(table: str) -> None:
    """A cycle is reported and never placed; the rest reads on."""
    graph = build(f"x; {table}; y x")
    assert ids(graph.lin("y")) == "x y"
    assert len(graph.waiting()) == len(table.split("; "))
    with pytest.raises(UnknownMessage):
        graph.lin("a")


def test_a_changed_place_is_reported() -> None:
    """Who changes parents, role, branch or created gets a new graph built, not a broken one."""
    graph = build("a; b a")
    assert not graph.add(message("b"))
    assert graph.add(message("b", "a", status="redacted"))


def test_a_long_chain_needs_no_deep_stack() -> None:
    """100,000 messages one after another read like ten."""
    graph = Graph(
        [message("m0"), *(message(f"m{n}", f"m{n - 1}") for n in range(1, 100_000))], content_digest
    )
    assert len(graph.lin("m99999")) == 100_000
