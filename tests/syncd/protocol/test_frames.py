"""Frames of the y-websocket dialect, against bytes written by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.protocol import LocalProtocolError, MalformedFrame
from syncd.protocol.frames import (
    MAX_MESSAGES,
    Awareness,
    Denied,
    Frame,
    QueryAwareness,
    SyncStep1,
    SyncStep2,
    Unknown,
    Update,
    decode_frame,
    decode_frames,
    encode_frame,
)

HELLO = bytes.fromhex("01010100040101740568656c6c6f00")

# What stock clients and servers were seen to send.
CAPTURED: list[tuple[str, Frame]] = [
    ("00 00 01 00", SyncStep1(b"\x00")),
    ("00 01 02 0000", SyncStep2(b"\x00\x00")),
    ("00 02 0f 01010100040101740568656c6c6f00", Update(HELLO)),
    ("01 06 01 01 00 02 7b7d", Awareness(b"\x01\x01\x00\x02{}")),
    ("02 00 04 6e6f7065", Denied("nope")),
    ("02 00 05 c3a9e6bca2", Denied("é漢")),
    ("03", QueryAwareness()),
    ("02 01 0a", Unknown(2, b"\x01\x0a")),
    ("04", Unknown(4, b"")),
    ("09 616263", Unknown(9, b"abc")),
    ("ac 02 00", Unknown(300, b"\x00")),
    ("00 02 ac02 " + "61" * 300, Update(b"a" * 300)),
]

MALFORMED = [
    "",  # nothing
    "00",  # a sync message without a kind
    "00 00",  # without a state vector
    "00 01 05 00",  # cut off
    "00 09",  # a kind of sync message that there is not
    "00 03 00",
    "01",  # presence without a length
    "01 ff",
    "02",  # auth without a kind
    "02 00 01 ff",  # no UTF-8
    "80",  # a type that is cut off
    "80 00 01 00",  # a padded type
    "00 00 81 00 00",  # a padded length
    "03 00",  # a second message, cut off
    "00 02 ff ff ff ff ff ff ff 0f",  # a length of 2**53 - 1
]

payloads = st.binary(max_size=200)
messages = st.one_of(
    st.builds(SyncStep1, payloads),
    st.builds(SyncStep2, payloads),
    st.builds(Update, payloads),
    st.builds(Awareness, payloads),
    st.builds(Denied, st.text(max_size=50)),
    st.just(QueryAwareness()),
)
frames = messages | st.builds(Unknown, st.integers(4, 2**53 - 1), payloads)
# Noise that begins like a frame gets further than noise alone.
noise = st.builds(lambda head, rest: bytes(head) + rest, st.lists(st.integers(0, 3), max_size=4), payloads)


@pytest.mark.parametrize(("encoded", "frame"), CAPTURED)
def test_captured_frames(encoded: str, frame: Frame) -> None:
    """Each of them is read, and written as the same bytes."""
    data = bytes.fromhex(encoded)
    assert decode_frame(data) == frame
    assert decode_frames(data) == [frame]
    assert encode_frame(frame) == data


@pytest.mark.parametrize("encoded", MALFORMED)
def test_malformed_frames_are_refused(encoded: str) -> None:
    """Whether one message is asked for or all of them."""
    for decode in (decode_frame, decode_frames):
        with pytest.raises(MalformedFrame):
            decode(bytes.fromhex(encoded))


def test_several_messages_in_a_frame_are_read_in_order() -> None:
    """As y-websocket 4 packs them; where one is asked for, they are refused."""
    data = bytes.fromhex("00 00 01 00 03 01 06 01 01 00 02 7b7d")
    assert decode_frames(data) == [SyncStep1(b"\x00"), QueryAwareness(), Awareness(b"\x01\x01\x00\x02{}")]
    with pytest.raises(MalformedFrame):
        decode_frame(data)


def test_an_unknown_message_takes_the_rest() -> None:
    """Nothing says where it ends, so what comes after it in the frame is part of it."""
    assert decode_frames(bytes.fromhex("03 09 03 03")) == [QueryAwareness(), Unknown(9, b"\x03\x03")]


def test_messages_in_a_frame_are_counted() -> None:
    """The limit itself is allowed, one more is not."""
    assert len(decode_frames(b"\x03" * MAX_MESSAGES)) == MAX_MESSAGES
    with pytest.raises(MalformedFrame):
        decode_frames(b"\x03" * (MAX_MESSAGES + 1))


@pytest.mark.parametrize("frame", [Denied("\ud800"), Unknown(-1, b""), Unknown(2**53, b"")])
def test_what_has_no_encoding_is_our_own_fault(frame: Frame) -> None:
    """Text that is no Unicode, a type that is no varUint."""
    with pytest.raises(LocalProtocolError):
        encode_frame(frame)


@given(frames)
def test_a_frame_that_was_written_is_read(frame: Frame) -> None:
    """Whatever it holds."""
    assert decode_frame(encode_frame(frame)) == frame


@given(st.lists(messages, min_size=1, max_size=5))
def test_packed_frames_are_taken_apart(packed: list[Frame]) -> None:
    """Several messages one behind the other are the same messages."""
    assert decode_frames(b"".join(map(encode_frame, packed))) == packed


@given(noise)
def test_noise_is_refused_or_canonical(data: bytes) -> None:
    """Any bytes at all either are our encoding of messages or are refused, and nothing else is raised."""
    try:
        decoded = decode_frames(data)
    except MalformedFrame:
        return
    assert b"".join(map(encode_frame, decoded)) == data


@given(messages, st.data())
def test_a_frame_that_is_cut_is_refused(frame: Frame, data: st.DataObject) -> None:
    """Wherever the cut is: no frame is the beginning of another."""
    encoded = encode_frame(frame)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(MalformedFrame):
        decode_frame(encoded[:cut])
