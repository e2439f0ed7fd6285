"""Strangers write anything they like into any root; what people wrote reads on, alike after a restart."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text

from crdt_conv import Conversation
from crdt_conv.document.schema import ROOTS
from crdt_conv.yjs.nesting import DEEPEST_TYPE
from crdt_conv.yjs.updates import merge_updates, read_state_vector
from tests.crdt_conv import handmade as by_hand
from tests.replicas import exchange, replica, restarted, texts

OF_MESSAGES = [
    "role",
    "parents",
    "branch",
    "created",
    "author",
    "parts",
    "status",
    "nonce",
    "hidden",
    "usage",
]
OF_OTHERS = [
    "target",
    "state",
    "claims",
    "outputs",
    "cancel",
    "title",
    "forked_at",
    "type",
    "text",
    "id",
    "mood",
]
KEYS = st.sampled_from([*OF_MESSAGES, *OF_OTHERS])
NAMES = st.sampled_from(["a", "b", "main", "title", ""])
# Numbers within what pycrdt can write; None stands apart, see the tests of hostile updates.
PLAIN = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner | st.none(), max_size=3) | st.dictionaries(KEYS, inner | st.none(), max_size=4)
    ),
    max_leaves=8,
)
ROLES = st.sampled_from(["user", "assistant", "merge", "wizard"])
NEARLY = st.fixed_dictionaries(
    {"role": ROLES, "parents": st.lists(NAMES, max_size=2)},
    optional={
        "created": st.integers(0, 2**53 - 2) | st.floats(),
        "branch": NAMES,
        "status": st.text(max_size=3),
    },
)


def shared(value: Any, *, as_types: bool) -> Any:
    """Return a plain value as shared types, or as it is."""
    if not as_types:
        return value
    if isinstance(value, dict):
        return Map({key: shared(item, as_types=True) for key, item in value.items()})
    if isinstance(value, list):
        return Array([shared(item, as_types=True) for item in value])
    return Text(value) if isinstance(value, str) and len(value) > 3 else value


WRITES = st.lists(
    st.tuples(st.sampled_from(ROOTS), NAMES, PLAIN | NEARLY, st.booleans()), min_size=1, max_size=6
)


def updates_of(writes: list[tuple[str, str, Any, bool]]) -> list[bytes]:
    """Return one update a write, by one stranger."""
    doc: Doc[Map[Any]] = Doc(client_id=7)
    updates = []
    for root, name, value, as_types in writes:
        state = doc.get_state()
        doc.get(root, type=Map)[name] = shared(value, as_types=as_types)
        updates.append(doc.get_update(state))
    return updates


def read_all(conversation: Conversation) -> object:
    """Read whatever can be read: nothing of it may raise."""
    graph = conversation.graph
    return (
        {message.id: (message, conversation.digest(message.id)) for message in graph},
        {message.branch: conversation.heads(message.branch) for message in graph},
        conversation.log(),
        [(run, run.epoch, run.as_json()) for run in conversation.runs.all()],
        (conversation.title, conversation.branches),
        conversation.problems(),
    )


@given(WRITES)
def test_strangers_break_nothing(writes: list[tuple[str, str, Any, bool]]) -> None:
    """After each of their writes all can be read, as after a restart, and people write on."""
    conversation = replica()
    conversation.append("user", "before")
    for update in updates_of(writes):
        conversation.receive(update, "stranger")
        again = restarted(conversation)
        assert read_all(again) == read_all(conversation)
    conversation.append("user", "after")
    assert {"before", "after"} <= set(texts(conversation.log().messages))


@given(WRITES)
def test_strangers_don_t_part_replicas(writes: list[tuple[str, str, Any, bool]]) -> None:
    """Replicas that got a stranger's writes in different ways read the same."""
    one, other = replica("c", "ann"), replica("c", "bob")
    one.append("user", "here")
    for update in updates_of(writes):
        one.receive(update, "stranger")
    for update in reversed(updates_of(writes)):
        other.receive(update, "stranger")
    exchange(one, other)
    assert read_all(one) == read_all(other)


KINDS = st.sampled_from(
    [
        (by_hand.type_of(by_hand.MAP), "parts"),
        (by_hand.type_of(by_hand.ARRAY), None),
        (by_hand.type_of(by_hand.XML_ELEMENT, "p"), None),
    ]
)
DEPTHS = st.sampled_from([1, 3, DEEPEST_TYPE, DEEPEST_TYPE + 1, DEEPEST_TYPE * 2])
NESTS = st.tuples(st.sampled_from([*ROOTS, "unheard of"]), KINDS, DEPTHS, st.integers(60, 500))
INSIDE = st.tuples(st.integers(0, 40), st.booleans())


@settings(max_examples=30)
@given(
    nests=st.lists(NESTS, max_size=3),
    inside=st.lists(INSIDE, max_size=4),
    chance=st.randoms(use_true_random=False),
)
def test_nests_don_t_part_replicas(
    nests: list[tuple[str, tuple[by_hand.Content, str | None], int, int]],
    inside: list[tuple[int, bool]],
    chance: Random,
) -> None:
    """Types nested too deep, items inside what is no type: replicas read the same, and what people wrote."""
    one, other = replica("c", "ann"), replica("c", "bob")
    one.append("user", "before")
    [(client, _)] = read_state_vector(one.state_vector).items()
    updates = []
    for number, (root, (kind, key), depth, each) in enumerate(nests, 7):
        updates += by_hand.in_pieces(by_hand.nest(root, kind, depth, key, client=number), each, client=number)
        updates.append(by_hand.only_deletes(by_hand.deletion(number, (depth // 2, 1))))
    for number, (clock, is_type) in enumerate(inside, 70):
        content = by_hand.type_of(by_hand.MAP) if is_type else by_hand.values(by_hand.NULL)
        updates.append(by_hand.update(number, 0, [by_hand.item(content, (client, clock), "x")]))
    for update in updates:
        one.receive(update, "stranger")
    one.append("user", "after")
    chance.shuffle(updates)
    cut = chance.randrange(len(updates) + 1)
    for update in (*updates[:cut], merge_updates([*updates[cut:], one.encode()])):
        other.receive(update, "stranger")
    exchange(one, other)
    assert read_all(one) == read_all(other) == read_all(restarted(other))
    assert {"before", "after"} <= set(texts(other.log().messages))
