"""Pure functions over update bytes."""

from __future__ import annotations

import random
from typing import Any

import pycrdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt_conv.errors import MalformedUpdate
from crdt_conv.yjs.updates import (
    MERGED_AT_ONCE,
    check_update,
    covers,
    merge_updates,
    read_deletes,
    read_state_vector,
)

COVERED = [
    ({}, {}, True),
    ({1: [(0, 5)]}, {1: [(0, 5)]}, True),
    ({1: [(0, 5)]}, {1: [(1, 3)]}, True),
    ({1: [(0, 5)]}, {1: [(4, 2)]}, False),
    ({1: [(0, 5)]}, {2: [(0, 1)]}, False),
    ({1: [(3, 2), (0, 3)]}, {1: [(0, 5)]}, True),
    ({1: [(0, 2), (3, 2)]}, {1: [(0, 5)]}, False),
]


@pytest.mark.parametrize(("known", "asked", "expected"), COVERED)
def test_ranges_cover_or_do_not(
    known: dict[int, list[tuple[int, int]]], asked: dict[int, list[tuple[int, int]]], *, expected: bool
) -> None:
    """Every clock that is asked for must be in some known range."""
    assert covers(known, asked) is expected


def test_state_vectors_and_deletes_are_read() -> None:
    """Two encodings written by hand, with a number of two bytes."""
    assert read_state_vector(b"\x02\x01\x05\xac\x02\x07") == {1: 5, 300: 7}
    assert read_deletes(b"\x00\x01\x09\x02\x00\x03\x05\x01") == {9: [(0, 3), (5, 1)]}


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x01\x80", b"\x00\x00\x00", b"\xff" * 12])
def test_cut_numbers_are_refused(data: bytes) -> None:
    """A state vector that is cut off, or goes on, is none."""
    with pytest.raises(MalformedUpdate):
        read_state_vector(data)


@given(st.binary(max_size=40))
def test_noise_never_raises_anything_else(noise: bytes) -> None:
    """Any bytes are read, or refused with MalformedUpdate."""
    for read in (check_update, read_state_vector, read_deletes, lambda data: merge_updates([data, data])):
        try:
            read(noise)
        except MalformedUpdate:
            continue


def test_merging_nothing_is_the_empty_update() -> None:
    """No updates merge into the one that says nothing."""
    assert merge_updates([]) == b"\x00\x00"


@pytest.mark.parametrize("count", [1, MERGED_AT_ONCE, MERGED_AT_ONCE + 1, MERGED_AT_ONCE**2 + 1])
def test_many_updates_are_merged_as_at_once(count: int) -> None:
    """Groups of them lose none, in whatever order they come, also where one is missing and the rest waits."""
    made: list[bytes] = []
    document: pycrdt.Doc[Any] = pycrdt.Doc()
    text: pycrdt.Text = document.get("text", type=pycrdt.Text)
    subscription = document.observe(lambda event: made.append(event.update))
    while len(made) < count:
        text += f"{len(made)} "
        if len(made) % 7 == 0:
            made.pop()
            del text[0]
    document.unobserve(subscription)
    random.Random(count).shuffle(made)
    assert merge_updates(made) == pycrdt.merge_updates(*made)


def test_one_that_is_none_among_many_is_refused() -> None:
    """Wherever it stands."""
    for at in (0, MERGED_AT_ONCE, 3 * MERGED_AT_ONCE):
        several = [b"\x00\x00"] * (3 * MERGED_AT_ONCE + 1)
        several[at] = b"\x01"
        with pytest.raises(MalformedUpdate):
            merge_updates(several)
