"""The short way to read an update says what the long way says, or nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncd.protocol import UpdateReceived, read_events, read_update
from syncd.protocol.hocuspocus.codec import Sync, encode
from syncd.protocol.hocuspocus.server import CollabSession, Told
from syncd.protocol.ysync import EMPTY_UPDATE, SyncStep2, Update, encode_sync

ADDRESSES = ("c", "conversation-1", "é" * 63, "c\0session", "n" * 200)
UPDATES = st.one_of(st.binary(max_size=300), st.just(EMPTY_UPDATE), st.just(b"x" * 17_000))


def changed(frames: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Return frames as they are, cut, and with more behind them."""
    cut = st.tuples(frames, st.integers(0, 20)).map(lambda t: t[0][: len(t[0]) - t[1]])
    return st.one_of(
        frames, cut, st.tuples(frames, st.binary(max_size=3)).map(b"".join), st.binary(max_size=40)
    )


def solo_frames() -> st.SearchStrategy[bytes]:
    """Return frames of the y-websocket dialect."""
    return UPDATES.map(lambda update: encode_sync(Update(update), b"\x00"))


def collab_frames() -> st.SearchStrategy[bytes]:
    """Return frames of the Hocuspocus dialect."""
    bodies = UPDATES.flatmap(lambda update: st.sampled_from([Sync(Update(update)), Sync(SyncStep2(update))]))
    addresses = st.sampled_from(ADDRESSES)
    return st.tuples(addresses, bodies).map(lambda frame: encode(*frame, is_server=False))


@given(changed(solo_frames()))
def test_solo(data: bytes) -> None:
    """An update that is read at once is the one event of its frame."""
    update = read_update(data)
    if update is not None:
        assert read_events(data) == [UpdateReceived(update)]


@given(changed(collab_frames()), st.sets(st.sampled_from(ADDRESSES)))
def test_collab(data: bytes, admitted: set[str]) -> None:
    """So it is on a socket of many documents, for those that its client is in."""
    session = CollabSession()
    for address in admitted:
        session.admit(address, is_read_only=False)
    told = session.read_update(data)
    if told is not None:
        assert session.receive(data) == [Told(told[0], UpdateReceived(told[1]))]


def test_what_is_typed_takes_the_short_way() -> None:
    """A letter, and a page, of a document that the client is in, and not of one that it has left."""
    session = CollabSession()
    session.admit("c", is_read_only=False)
    for update in (b"letter", b"p" * 4000):
        frame = encode("c", Sync(Update(update)), is_server=False)
        assert session.read_update(frame) == ("c", update)
        assert read_update(encode_sync(Update(update), b"\x00")) == update
    session.deny("c", "no")
    assert session.read_update(frame) is None
    session.admit("c", is_read_only=False)
    session.forget("c")
    assert session.read_update(frame) is None
