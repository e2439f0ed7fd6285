"""Entries from strangers are read, or refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt_conv.errors import MalformedEntry
from crdt_conv.messages.message import parse_message
from crdt_conv.runs.run import parse_run

WHOLE = {
    "role": "assistant",
    "parents": ["p"],
    "branch": "plan",
    "created": 5,
    "author": {"kind": "model", "device": "d", "name": "smol"},
    "parts": [{"id": "1", "type": "text", "text": "Hi"}, {"id": "2", "type": "hologram", "depth": 3}],
    "status": "interrupted",
    "run": "r",
    "model": "smol",
    "usage": {"output_tokens": 1},
    "stop_reason": "length",
    "nonce": [1, 2, 255],
    "hidden": [{}],
    "mood": "sunny",
}

WRONG = [
    (3, "it is no Map"),
    ({}, "'role' is missing"),
    (WHOLE | {"role": 1}, "'role' is no str"),
    (WHOLE | {"parents": "p"}, "'parents' is no list"),
    (WHOLE | {"parents": [1]}, "'parents' holds something else than strings"),
    (WHOLE | {"branch": []}, "'branch' is no str"),
    (WHOLE | {"created": "now"}, "'created' is no time in milliseconds"),
    (WHOLE | {"created": -1}, "'created' is no time in milliseconds"),
    (WHOLE | {"created": 2**53}, "'created' is no time in milliseconds"),
    (WHOLE | {"created": True}, "'created' is no time in milliseconds"),
    (WHOLE | {"parts": ["Hi"]}, "a part is no Map with a 'type'"),
    (WHOLE | {"nonce": [256]}, "'nonce' is no bytes"),
    (WHOLE | {"author": "ann"}, "'author' is no dict"),
]


def test_a_whole_message_is_read() -> None:
    """Every key of the contract arrives, unknown parts and keys are kept or passed over."""
    message = parse_message("m", WHOLE)
    assert (message.text, message.author.name, message.nonce) == ("Hi", "smol", b"\x01\x02\xff")
    assert (message.parts[1].type, message.parts[1].content) == ("hologram", {"depth": 3})
    assert (message.status, message.hidden_count, message.usage) == ("interrupted", 1, {"output_tokens": 1})


def test_what_may_be_missing_has_a_default() -> None:
    """A role and parents are enough."""
    message = parse_message("m", {"role": "user", "parents": []})
    assert (message.branch, message.created, message.status, message.parts) == ("main", 0, "complete", ())


@pytest.mark.parametrize(("raw", "reason"), WRONG)
def test_a_wrong_shape_is_refused_with_a_reason(raw: object, reason: str) -> None:
    """The reason names the key."""
    with pytest.raises(MalformedEntry) as caught:
        parse_message("m", raw)
    assert str(caught.value) == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(WHOLE)), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_refused(raw: object) -> None:
    """Nothing else than MalformedEntry comes out of a stranger's entry."""
    for parse in (parse_message, parse_run):
        try:
            parse("x", raw)
        except MalformedEntry:
            continue
