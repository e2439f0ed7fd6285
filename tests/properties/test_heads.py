"""Heads and the order of parents, against contract 1's own words, on random graphs."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from crdt_conv import Message
from crdt_conv.graph.digest import content_digest
from crdt_conv.graph.graph import Graph
from tests.replicas import message

STATUSES = ["complete", "complete", "streaming", "interrupted"]


@st.composite
def graphs(draw: st.DrawFn) -> list[Message]:
    """Draw a graph with alternatives, branches, ties of time, and hidden fields, parents before children."""
    drawn: list[Message] = []
    names = draw(st.permutations("abcdefghijkl"))
    for name in names[: draw(st.integers(1, 12))]:
        known = [entry.id for entry in drawn]
        parents = draw(st.lists(st.sampled_from(known), max_size=2, unique=True)) if known else []
        drawn.append(
            message(
                name,
                *parents,
                role=draw(st.sampled_from(["user", "assistant", "assistant"])),
                branch=draw(st.sampled_from(["main", "main", "plan"])),
                created=draw(st.integers(0, 4)),
                status=draw(st.sampled_from(STATUSES)),
                hidden=draw(st.integers(0, 1)),
            )
        )
    return drawn


CHOICES = st.dictionaries(st.sampled_from("abcdefghijkl"), st.sampled_from("abcdefghijkl"), max_size=4)


def is_alternative(known: list[Message], leaf: Message, choices: dict[str, str]) -> bool:
    """Say whether contract 1 takes a message without a child on its branch for no head."""
    if leaf.role != "assistant":
        return False
    replies = [
        other
        for other in known
        if (other.role, other.parents, other.branch, other.status)
        == ("assistant", leaf.parents, leaf.branch, "complete")
    ]
    chosen = [reply for reply in replies if leaf.parents and choices.get(leaf.parents[0]) == reply.id]
    oldest = sorted(replies, key=lambda reply: (reply.created, reply.id))
    return bool(replies) and leaf.id != [*chosen, *oldest][0].id


def naive_heads(known: list[Message], branch: str, choices: dict[str, str]) -> list[str]:
    """Contract 1: a branch's messages with no child on it, less alternatives, by (created, id)."""
    parents = {parent for child in known if child.branch == branch for parent in child.parents}
    leaves = [leaf for leaf in known if leaf.branch == branch and leaf.id not in parents]
    heads = [leaf for leaf in leaves if not is_alternative(known, leaf, choices)]
    return [head.id for head in sorted(heads, key=lambda head: (head.created, head.id))]


def shuffled(drawn: list[Message], seed: int) -> list[Message]:
    """Return the messages as another replica may get them."""
    return random.Random(seed).sample(drawn, len(drawn))


@given(graphs(), CHOICES, st.integers())
def test_heads_are_the_contract_s(drawn: list[Message], choices: dict[str, str], seed: int) -> None:
    """In whatever order messages came, a branch has the heads that the contract defines."""
    graph = Graph(shuffled(drawn, seed), content_digest)
    for branch in ("main", "plan"):
        assert [head.id for head in graph.heads(branch, choices)] == naive_heads(drawn, branch, choices)


@given(graphs(), st.integers(), st.data())
def test_heads_follow_a_reply_s_status(drawn: list[Message], seed: int, data: st.DataObject) -> None:
    """When a reply ends, heads are as if the graph were built anew."""
    graph = Graph(shuffled(drawn, seed), content_digest)
    ended = replace(data.draw(st.sampled_from(drawn)), status=data.draw(st.sampled_from(STATUSES)))
    assert graph.add(ended)
    known = [ended if entry.id == ended.id else entry for entry in drawn]
    for branch in ("main", "plan"):
        assert [head.id for head in graph.heads(branch, {})] == naive_heads(known, branch, {})


@given(graphs(), st.integers())
def test_the_first_parent_has_most_to_lose(drawn: list[Message], seed: int) -> None:
    """Parents of the next message: most answered turns with hidden fields first, then by (created, id)."""
    graph = Graph(shuffled(drawn, seed), content_digest)
    heads = graph.heads("main", {})

    def loss(head: Message) -> int:
        return sum(bool(seen.role == "assistant" and seen.hidden_count) for seen in graph.lin(head.id))

    expected = sorted(heads, key=lambda head: (-loss(head), head.created, head.id))
    assert graph.parents_for(reversed(heads)) == tuple(head.id for head in expected)


@given(graphs())
def test_no_head_is_empty_handed(drawn: list[Message]) -> None:
    """A branch that someone wrote on always has a head, and every head's log is in the view."""
    graph = Graph(drawn, content_digest)
    for branch in {entry.branch for entry in drawn}:
        heads = graph.heads(branch, {})
        assert heads
        view = {seen.id for seen in graph.lin(*(head.id for head in heads))}
        assert all({seen.id for seen in graph.lin(head.id)} <= view for head in heads)
