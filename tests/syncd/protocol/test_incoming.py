"""What a client's frames mean to the server in the y-websocket dialect, against bytes written by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.protocol import (
    AwarenessQueried,
    AwarenessReceived,
    DiffRequested,
    Event,
    MalformedFrame,
    UpdateReceived,
    read_events,
)

HELLO = "01010100040101740568656c6c6f00"
UPDATE = bytes.fromhex(HELLO)

STEP_1, AN_UPDATE = "00 00 01 00", f"00 02 0f {HELLO}"
PRESENCE, PAYLOAD = "01 06 01 01 00 02 7b7d", b"\x01\x01\x00\x02{}"

ARRIVALS: list[tuple[str, list[Event]]] = [
    (STEP_1, [DiffRequested(b"\x00")]),
    ("00 01 02 0000", []),
    (f"00 01 0f {HELLO}", [UpdateReceived(UPDATE, is_diff=True)]),
    (AN_UPDATE, [UpdateReceived(UPDATE)]),
    ("00 02 02 0000", []),
    (PRESENCE, [AwarenessReceived(PAYLOAD)]),
    ("03", [AwarenessQueried()]),
    ("02 00 04 6e6f7065", []),
    ("09 616263", []),
    (f"{STEP_1} {AN_UPDATE}", [DiffRequested(b"\x00"), UpdateReceived(UPDATE)]),
]


@pytest.mark.parametrize(("encoded", "events"), ARRIVALS)
def test_what_arrives(encoded: str, events: list[Event]) -> None:
    """Each frame says what the table tells."""
    assert read_events(bytes.fromhex(encoded)) == events


@given(st.binary(max_size=60))
def test_noise_is_read_or_refused(data: bytes) -> None:
    """Any bytes at all are events, or no frame."""
    try:
        read_events(data)
    except MalformedFrame:
        return
