"""What people do with a conversation, on one device and on several."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from crdt_conv import (
    Change,
    Conversation,
    InvalidMessage,
    MalformedUpdate,
    Store,
    StoreError,
    StoreFull,
    Target,
    UnknownBranch,
    UnknownMessage,
)
from crdt_conv.engine import Row
from crdt_conv.store import MemoryEngine, SqliteEngine
from tests.replicas import copy_of, exchange, replica, texts


def test_messages_stand_on_each_other() -> None:
    """Each message is written on top of the one before, with everything that the contract names."""
    conversation = replica(name="ann")
    first = conversation.append("user", "Where?")
    second = conversation.append("assistant", "Rome.")
    assert (first.parents, second.parents) == ((), (first.id,))
    assert (first.branch, first.status, first.author.name) == ("main", "complete", "ann")
    assert (len(first.nonce), first.parts[0].type) == (16, "text")
    assert second.created > first.created


def test_two_devices_converge_with_the_next_message() -> None:
    """What was written apart reads the same on both, is called diverged, and the next message joins it."""
    one = replica()
    one.append("user", "together")
    other = copy_of(one)
    one.append("user", "here")
    other.append("user", "there")
    exchange(one, other)
    assert texts(one.log().messages) == texts(other.log().messages)
    # Written in the same millisecond, they stand in the order of their ids.
    assert sorted(texts(one.log().messages)) == ["here", "there", "together"]
    assert one.log().is_diverged
    assert one.log().digest == other.log().digest
    joined = other.append("user", "again")
    assert (len(joined.parents), other.log().is_diverged) == (2, False)


def test_opening_a_new_conversation_twice_duplicates_nothing() -> None:
    """Two devices that open the same new id and write hold one conversation."""
    one, other = replica("new"), replica("new")
    one.title = other.title = "Trip"
    one.append("user", "a")
    other.append("user", "b")
    exchange(one, other)
    assert (one.title, sorted(texts(one.log().messages))) == ("Trip", ["a", "b"])


def test_a_fork_sees_the_log_up_to_its_message() -> None:
    """A branch begins at its message, also before anything is written on it."""
    conversation = replica()
    first = conversation.append("user", "one")
    conversation.append("user", "two")
    conversation.fork("plan", first.id)
    assert texts(conversation.log("plan").messages) == ["one"]
    written = conversation.append("user", "three", branch="plan")
    assert (written.parents, written.branch) == ((first.id,), "plan")
    assert texts(conversation.log("plan").messages) == ["one", "three"]
    assert texts(conversation.log().messages) == ["one", "two"]
    assert conversation.branches == ["main", "plan"]


def test_a_first_message_with_parents_forks_too() -> None:
    """A new branch name on any message is a fork."""
    conversation = replica()
    first = conversation.append("user", "one")
    conversation.append("user", "two")
    conversation.append("user", "aside", branch="plan", parents=[first.id])
    assert texts(conversation.log("plan").messages) == ["one", "aside"]


def forked() -> Conversation:
    """Return a conversation with a branch that both sides wrote on."""
    conversation = replica()
    first = conversation.append("user", "one")
    conversation.fork("plan", first.id)
    conversation.append("user", "two")
    conversation.append("user", "three", branch="plan")
    return conversation


def test_a_merge_joins_both_logs() -> None:
    """A merge message has the heads of both branches as parents, and no parts."""
    conversation = forked()
    merged = conversation.merge("plan")
    assert merged is not None
    assert (merged.role, merged.branch, len(merged.parents), merged.parts) == ("merge", "main", 2, ())
    assert texts(conversation.log().messages) == ["one", "two", "three", ""]
    assert texts(conversation.log("plan").messages) == ["one", "three"]
    assert conversation.merge("plan") is None


def test_the_same_merge_on_two_devices_is_one_message() -> None:
    """Two devices that merge the same heads apart from each other write the same message, digest and all."""
    one = forked()
    other = copy_of(one)
    merges = [one.merge("plan"), other.merge("plan")]
    digests = [one.log().digest, other.log().digest]
    exchange(one, other)
    assert merges[0] == merges[1]
    assert len({*digests, one.log().digest, other.log().digest}) == 1
    assert not one.log().is_diverged


def test_a_streamed_message_is_one_text() -> None:
    """What was written piece by piece reads as one part, and other types begin parts of their own."""
    conversation = replica()
    conversation.append("user", "Hi")
    writer = conversation.stream(model="smol")
    for piece in ("Hel", "lo"):
        writer.write(piece)
    assert (writer.message.text, writer.message.status) == ("Hello", "streaming")
    writer.write("hm", "reasoning")
    writer.write("!")
    done = writer.finish(usage={"output_tokens": 3}, stop_reason="stop")
    assert [part.type for part in done.parts] == ["text", "reasoning", "text"]
    assert (done.text, done.status, done.usage, done.stop_reason) == (
        "Hello!",
        "complete",
        {"output_tokens": 3},
        "stop",
    )


def test_a_message_ends_in_a_status_that_there_is() -> None:
    """A slip of the pen is refused, and the message goes on streaming."""
    writer = replica().stream()
    with pytest.raises(InvalidMessage, match="'done'"):
        writer.finish("done")
    assert writer.message.status == "streaming"


def test_created_is_never_behind_what_was_seen() -> None:
    """A device whose clock is late still writes after what it has seen."""
    one = replica()
    one._clock.see(9_000_000_000_000)
    late = one.append("user", "from the future")
    other = copy_of(one)
    assert other.append("user", "now").created > late.created > 9_000_000_000_000


@pytest.mark.parametrize(
    ("role", "text", "branch", "error"),
    [
        ("merge", "x", "main", InvalidMessage),
        ("robot", "x", "main", InvalidMessage),
        ("user", "\ud800", "main", InvalidMessage),
        ("user", "x", "", InvalidMessage),
        ("user", "x", "a\nb", InvalidMessage),
        ("user", "x", "nowhere", UnknownBranch),
    ],
)
def test_a_message_that_can_t_be_is_refused(
    role: str, text: str, branch: str, error: type[Exception]
) -> None:
    """A clear error, and nothing is written."""
    conversation = replica()
    with pytest.raises(error):
        conversation.append(role, text, branch=branch)
    assert conversation.last_seq == 0


def test_unknown_messages_are_named() -> None:
    """A parent, a fork's or a reader's message that is not here is an error with its id."""
    conversation = forked()
    with pytest.raises(UnknownMessage, match="nobody"):
        conversation.append("user", "x", parents=["nobody"])
    with pytest.raises(UnknownMessage, match="nobody"):
        conversation.fork("other", "nobody")
    with pytest.raises(InvalidMessage, match="already"):
        conversation.fork("plan", conversation.log().messages[0].id)


class FullLog(SqliteEngine):
    """A log on a disk that is full when told so."""

    is_full = False

    def append(self, rows, *, at_ms):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
        """Refuse while full."""
        if self.is_full:
            raise StoreFull("the disk is full")
        return super().append(rows, at_ms=at_ms)


def test_what_the_log_can_t_take_did_not_happen() -> None:
    """After a failed write the conversation is as it was, and writes again when there is room."""
    store = Store(":memory:")
    log = store.engine = FullLog(":memory:")
    conversation = store.join("c")
    conversation.append("user", "one")
    log.is_full = True
    with pytest.raises(StoreError):
        conversation.append("user", "two")
    with pytest.raises(StoreError):
        conversation.receive(forked().encode())
    assert texts(conversation.log().messages) == ["one"]
    log.is_full = False
    assert len(conversation.append("user", "three").parents) == 1


class SpyEngine(MemoryEngine):
    """An engine that notes what the document held when each update came."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[int] = []
        self.conversation: Conversation

    def append(self, rows: Sequence[Row], *, at_ms: int) -> list[int]:
        self.held.append(len(self.conversation))
        return super().append(rows, at_ms=at_ms)


def test_what_comes_from_elsewhere_is_logged_before_it_is_applied() -> None:
    """When an update reaches the log, the document does not hold it yet."""
    engine = SpyEngine()
    conversation = engine.conversation = Store(engine=engine).join("c")
    engine.held.clear()
    assert conversation.receive(forked().encode())
    assert (engine.held, len(conversation)) == ([0], 3)


def test_an_update_that_can_t_be_applied_leaves_the_log_again() -> None:
    """An update that decodes and still can't be integrated is taken back, and the document read anew."""
    store = Store(engine=MemoryEngine())
    conversation = store.join("c")
    conversation.receive(forked().encode())
    (seq,) = store.append_many([Row(conversation.id, b"\xff")])
    with pytest.raises(MalformedUpdate):
        conversation.apply_logged(b"\xff", seq)
    assert (len(store.read(conversation.id)), len(conversation)) == (1, 3)


def test_subscribers_hear_of_what_is_durable() -> None:
    """A change names its messages, its place in the log and where it came from."""
    one, other = forked(), replica()
    heard: list[Change] = []
    other.subscribe(heard.append)
    other.receive(one.encode(), "peer")
    other.runs.request(Target("llamacpp"))
    assert [(len(c.messages), len(c.runs), c.seq, c.origin) for c in heard] == [
        (3, 0, 1, "peer"),
        (0, 1, 2, None),
    ]
