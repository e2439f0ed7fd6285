"""Updates read without pycrdt: quickly and the long way, which must say the same."""

from __future__ import annotations

import subprocess
import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt_conv import MalformedUpdate
from crdt_conv.yjs.structs import SHORT, TYPE, Structs, split_id
from crdt_conv.yjs.updates import check_update
from tests.crdt_conv import handmade as by_hand
from tests.crdt_conv.yjs.test_claims import HARMLESS
from tests.fuzz import examples
from tests.fuzz.mutation import mutate
from tests.replicas import replica

LONG = "a long text, ending in \U0001f600 é" * 40


def written() -> bytes:
    """Return a conversation as it is written by us."""
    conversation = replica()
    for text in ("short", LONG, "\U0001f600"):
        message = conversation.append("user", text)
    conversation.redact(message.id)
    conversation.title = "t"
    return conversation.encode()


def in_two_places(content: by_hand.Content) -> bytes:
    """Return an update with items in a root and in another item."""
    return by_hand.update(7, 3, [by_hand.item(content, "t"), by_hand.item(content, (5, 300), "key")])


EXAMPLES = [
    written(),
    *examples.UPDATES,
    *(in_two_places(content) for content in HARMLESS.values()),
    # What follows the first block looks like one more struct of it.
    by_hand.number(2) + by_hand.update(9, 5, [by_hand.item(by_hand.values(by_hand.NULL), "t")] * 3)[1:-1]
    + by_hand.update(8, 0x28, [by_hand.item(by_hand.type_of(by_hand.MAP), "t", "k")])[1:],
]  # fmt: skip


@pytest.mark.parametrize("short", [0, SHORT])
@pytest.mark.parametrize("update", EXAMPLES)
def test_both_ways_say_the_same(update: bytes, short: int) -> None:
    """Every struct of an example, its place, and what is left behind it."""
    reader = Structs(update, short=short)
    structs = by_hand.one_by_one(update)
    assert list(reader.all()) == structs
    types = [struct[:6] for struct in structs if struct.kind == TYPE and (struct.inside or struct.beside)]
    assert [struct[:6] for struct in Structs(update, short=short).nested_types()] == types
    Structs(update, short=short).check()
    assert update.endswith(reader.rest)


@given(st.integers(0, 2**32))
def test_both_ways_refuse_the_same(seed: int) -> None:
    """Of changed examples, what pycrdt takes both ways read alike; others they may refuse."""
    chance = Random(seed)
    update = mutate(EXAMPLES, chance)
    try:
        check_update(update)
    except MalformedUpdate:
        return
    try:
        structs = by_hand.one_by_one(update)
    except MalformedUpdate:
        with pytest.raises(MalformedUpdate):
            list(Structs(update, short=0).all())
        return
    assert list(Structs(update, short=0).all()) == structs


@given(st.integers(0, 2**53), st.integers(0, 2**32))
def test_an_id_is_split_as_it_was_put_together(client: int, clock: int) -> None:
    """A client's and a clock's numbers stand behind each other."""
    assert split_id(by_hand.number(client) + by_hand.number(clock)) == (by_hand.number(client), clock)


def test_a_short_update_needs_no_expressions() -> None:
    """The first words of a new daemon don't wait until expressions for long updates are made."""
    update = by_hand.only_deletes(by_hand.deletion(7, (0, 1)))
    code = (
        "from crdt_conv.yjs import structs, updates\n"
        f"updates.check_update(bytes.fromhex('{update.hex()}'))\n"
        "assert structs._patterns.cache_info().currsize == 0\n"
        # Many of them do.
        f"for _ in range(structs.SPARED): updates.check_update(bytes.fromhex('{update.hex()}'))\n"
        "assert structs._patterns.cache_info().currsize == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
