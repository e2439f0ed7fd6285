"""What is in a log and not in an index."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from crdt_conv.store.unapplied import Unapplied


def test_a_conversation_lacks_what_was_not_taken_back() -> None:
    """It counts until the last thing is applied; then nothing is kept of it."""
    unapplied = Unapplied()
    unapplied.add([("c", 1), ("c", 2), ("d", 2)])
    unapplied.discard([("c", 1), ("e", 1)])
    assert ("c" in unapplied, "d" in unapplied, "e" in unapplied) == (True, True, False)
    unapplied.discard_everywhere(2)
    assert len(unapplied) == 0


def test_a_conversation_that_is_gone_lacks_nothing() -> None:
    """Forgotten, whatever was noted, and noted anew when it comes back."""
    unapplied = Unapplied()
    unapplied.add([("c", 1)])
    unapplied.forget("c")
    assert "c" not in unapplied
    unapplied.add([("c", 2)])
    assert "c" in unapplied


def test_one_thread_notes_while_another_applies() -> None:
    """However the two meet, what was noted and not applied is there."""
    unapplied = Unapplied()

    def append() -> None:
        for seq in range(20_000):
            unapplied.add([("c", seq)])
            assert "c" in unapplied

    def apply() -> None:
        for number in range(20_000):
            unapplied.add([("c", -1 - number)])
            unapplied.discard([("c", -1 - number)])

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(append), pool.submit(apply)]:
            done.result()
    unapplied.discard(("c", seq) for seq in range(20_000))
    assert "c" not in unapplied
