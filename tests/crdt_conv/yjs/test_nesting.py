"""What stands too deep, or in no type, is left out; the same on every replica, whatever came first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pycrdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt_conv.document.document import DEEPEST_UNSEEN, Document
from crdt_conv.yjs.nesting import DEEPEST_TYPE, deepest, most_types, shape_of, whole_clocks, without_harm
from crdt_conv.yjs.updates import merge_updates, read_state_vector
from tests.crdt_conv import handmade as by_hand
from tests.replicas import copy_of, replica, restarted, texts

MAP, ARRAY = by_hand.type_of(by_hand.MAP), by_hand.type_of(by_hand.ARRAY)
NULL = by_hand.values(by_hand.NULL)
BEHIND = 0x80


def beside(content: by_hand.Content, left: tuple[int, int]) -> bytes:
    """Return an item behind another one."""
    kind, body = content
    return bytes([kind | BEHIND]) + by_hand.number(left[0]) + by_hand.number(left[1]) + body


def chain(depth: int, content: by_hand.Content = MAP, key: str | None = "k") -> bytes:
    """Return types in each other."""
    return by_hand.update(7, 0, by_hand.nest("choices", content, depth, key))


def depth_of(document: Document) -> int:
    """Return how many Maps of a chain a document shows."""
    value, depth = document.read("choices").get("nest"), 0
    while isinstance(value, dict):
        value, depth = value.get("k"), depth + 1
    return depth


@pytest.mark.parametrize("depth", [1, 4, DEEPEST_TYPE, DEEPEST_TYPE + 1, DEEPEST_TYPE * 5])
def test_the_limit_is_exact(depth: int) -> None:
    """So many types in each other are kept, one more is not, and updates without harm stay as they are."""
    update = chain(depth)
    shown = min(depth, DEEPEST_TYPE)
    assert deepest([update]) == depth
    assert deepest([without_harm(update)]) == shown
    assert (without_harm(update) == update) == (depth <= DEEPEST_TYPE)
    assert depth_of(Document([update])) == shown
    assert depth <= most_types(update)


PIECES = by_hand.in_pieces(by_hand.nest("choices", MAP, DEEPEST_TYPE + 50, "k"), 90)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_every_order_leaves_out_the_same(order: Sequence[int]) -> None:
    """A chain that comes in pieces is cut at the same place, and a restart cuts it there too."""
    conversation = replica()
    conversation.append("user", "before")
    for piece in order:
        conversation.receive(PIECES[piece])
    conversation.append("user", "after")
    for reader in (conversation, restarted(conversation), copy_of(conversation)):
        assert depth_of(reader.document) == DEEPEST_TYPE
        assert texts(reader.log().messages) == ["before", "after"]


def test_a_chain_grows_where_nobody_looks() -> None:
    """In a root that we don't read, a few types an update: the document stays shallow enough."""
    conversation = replica()
    for update in by_hand.in_pieces(by_hand.nest("unheard of", MAP, 2 * DEEPEST_UNSEEN, "k"), 50):
        conversation.receive(update)
        assert deepest([conversation.document.encode()]) <= DEEPEST_UNSEEN + DEEPEST_TYPE
    assert deepest([restarted(conversation).document.encode()]) == DEEPEST_TYPE


def test_what_stands_beside_no_type_counts() -> None:
    """An Array in an Array behind a plain value, over and over, is a chain."""
    items = [by_hand.item(ARRAY, "choices", "nest")]
    for level in range(DEEPEST_TYPE):
        items += [by_hand.item(NULL, (7, 2 * level)), beside(ARRAY, (7, 2 * level + 1))]
    update = by_hand.update(7, 0, items)
    assert deepest([update]) == DEEPEST_TYPE + 1
    assert deepest([without_harm(update)]) == DEEPEST_TYPE


def test_what_stands_within_a_text_is_left_out() -> None:
    """An item whose parent is a letter of a text is collected, as Yjs does it; the rest is there."""
    text = by_hand.item(by_hand.type_of(by_hand.TEXT), "drafts", "d")
    inside = [by_hand.item((4, by_hand.words("héllo")), (7, 0)), by_hand.item(NULL, (7, 3), "x")]
    document = Document([by_hand.update(7, 0, [text, *inside])])
    assert (document.read("drafts"), document.refused) == ({"d": "héllo"}, 0)


def test_items_that_wait_for_each_other_wait_on() -> None:
    """Parents that lead round in a circle end no walk."""
    circle = [by_hand.item(MAP, (7, 1), "k"), by_hand.item(MAP, (7, 0), "k")]
    assert deepest([by_hand.update(7, 0, circle)]) <= 1


KINDS: dict[str, Callable[[], Any]] = {
    "map": pycrdt.Map,
    "array": pycrdt.Array,
    "text": pycrdt.Text,
    "value": lambda: 5,
}
STEPS = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(list(KINDS))), max_size=40)


@given(STEPS)
def test_the_depth_is_that_of_the_document(steps: list[tuple[int, str]]) -> None:
    """However types stand in each other, as counted they are at least as deep as pycrdt has them."""
    document: pycrdt.Doc[Any] = pycrdt.Doc()
    places: list[tuple[Any, int]] = [(document.get("root", type=pycrdt.Array), 0)]
    deep = 0
    for number, (at, kind) in enumerate(steps):
        inside, depth = places[at % len(places)]
        value = KINDS[kind]()
        if isinstance(inside, pycrdt.Map):
            inside[str(number)] = value
        else:
            inside.insert(at % (len(inside) + 1), value)
        deep = max(deep, depth + (kind != "value"))
        if kind in {"map", "array"}:
            places.append((value, depth + 1))
    update = document.get_update()
    assert deep <= deepest([update])
    assert without_harm(update) == update


def test_a_log_with_a_gap_that_is_closed_later_is_not_applied_as_it_stands() -> None:
    """Whether the gap is between two updates or within one; in sequence, and said twice, it is harmless."""
    first, second, third = (by_hand.entry(7, name, clock) for name, clock in (("a", 0), ("b", 3), ("c", 6)))
    assert shape_of([first, second, second, first, third]) == (True, True, {7: 9})
    assert shape_of([first, third, second]) == (True, False, {7: 9})
    assert shape_of([merge_updates([first, third]), second]) == (True, False, {7: 9})


@given(st.lists(st.sampled_from(range(8)), unique=True), st.integers(0, 300))
def test_clocks_of_an_update_are_its_state_vector(taken: list[int], length: int) -> None:
    """Up to the first gap of each client, as pycrdt reads them."""
    texts = [
        by_hand.entry(n % 2 + 5, "x" * length, 6 * (n // 2), text=(4, by_hand.words("\U0001f600x")))
        for n in range(8)
    ]
    update = merge_updates([texts[n] for n in taken])
    known = read_state_vector(pycrdt.get_state(update))
    assert whole_clocks(update) == {client: clock for client, clock in known.items() if clock}
